"""Pruning of the audit log: only what is in order goes, and a signed checkpoint stands for it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
import structlog

from rota.domain.audit.chain import NOBODYS, Head
from rota.domain.audit.heads import BareHead
from rota.domain.errors import SetupRequiredError
from rota.domain.operations.retention import Period, Pruned
from rota.security.secrets.encryption import Cipher
from rota.services.audit.checkpoints import Checkpoints
from rota.services.audit.service import AuditService
from rota.services.operations.retention import RetentionService
from tests.services.auditing import DAY, LONG_AGO, Log, now
from tests.services.harness import CIPHER


async def test_pruned_chain_begins_at_a_signed_checkpoint(log, retention, alice, bob):
    old = await log.sealed(alice, at=LONG_AGO)
    (old_head,) = await log.service.heads(alice)
    young = await log.sealed(alice, blocks=1)
    await log.sealed(bob, blocks=1)
    (head,) = await log.service.heads(alice)
    assert (await retention.prune(now())).audit == 0
    await retention.set({Period.AUDIT: 365})
    assert (await retention.count_prunable(now())).audit == len(old)

    assert (await retention.prune(now())).audit == len(old)

    found = await log.verify(alice, head, old_head)
    assert found.problems == ()
    assert (found.chains[0].pruned, found.chains[0].entries) == (6, 2)
    left = await log.fetch("SELECT id FROM audit_logs WHERE user_id = %s ORDER BY id", alice)
    assert [row[0] for row in left] == young
    assert await log.problems(None) == []
    assert (await retention.prune(now())).audit == 0


async def test_second_pruning_goes_on_from_the_first(log, database, alice):
    await log.sealed(alice, blocks=5, at=LONG_AGO)
    small = RetentionService(database, Checkpoints(CIPHER), runs_batch=2)
    await small.set({Period.AUDIT: 365})

    assert (await small.prune(now())).audit == 10

    assert await log.problems(alice) == []
    assert await log.fetch("SELECT through_seq, row_count FROM audit_checkpoints") == [(5, 10)]
    await log.sealed(alice, blocks=1)
    assert await log.problems(alice) == []


async def test_head_that_was_pruned_does_not_count_as_there(log, retention, alice):
    await log.sealed(alice, blocks=2, at=LONG_AGO)
    (early,) = await log.service.heads(alice)
    await log.sealed(alice, blocks=1, at=LONG_AGO)
    (last_pruned,) = await log.service.heads(alice)
    await log.sealed(alice, blocks=1)
    (young,) = await log.service.heads(alice)
    await retention.set({Period.AUDIT: 365})
    await retention.prune(now())
    made_up = Head(early.chain_id, 3, b"x" * 32)

    for user in (alice, None):
        found = await log.verify(user, early, last_pruned, young)

        assert (found.problems, found.heads_there) == ((), 2)
        assert found.notes == (
            f"the head {early.hash.hex()} was pruned; it cannot be checked any more",
        )
        (problem,) = await log.problems(user, made_up)  # of the block that the checkpoint names
        assert "is not there" in problem


async def test_bare_hash_that_may_have_been_pruned_is_not_called_cut_off(log, retention, alice):
    await log.sealed(alice, blocks=1, at=LONG_AGO)
    (early,) = await log.service.heads(alice)
    await log.sealed(alice, blocks=1, at=LONG_AGO)
    await retention.set({Period.AUDIT: 365})
    await retention.prune(now())

    (problem,) = await log.problems(alice, BareHead(early.hash))

    assert problem.endswith("was not found; it may have been pruned")


@pytest.mark.parametrize(
    "change",
    [
        "row_count = row_count + 1",
        "hash = sha256('x')",
        "through_seq = 2",
        "pruned_at = now()",
        "sealed_at = now()",
        "key_id = 'another'",
        "signature = sha256('x')",
    ],
)
async def test_forged_checkpoint_is_found(log, retention, alice, change):
    await log.sealed(alice, at=LONG_AGO)
    await log.sealed(alice, blocks=1)
    await retention.set({Period.AUDIT: 365})
    await retention.prune(now())
    assert await log.problems(alice) == []

    await log.owner.execute(f"UPDATE audit_checkpoints SET {change}")

    assert "signature of the checkpoint" in (await log.problems(alice))[0]


async def test_checkpoint_of_another_key_is_not_taken_for_ones_own(log, retention, alice):
    await log.sealed(alice, at=LONG_AGO)
    await retention.set({Period.AUDIT: 365})
    await retention.prune(now())
    other = AuditService(log.database, Checkpoints(Cipher(b"o" * 32)))

    assert "signature" in (await other.verify(alice, now=now())).problems[0].text


async def test_audit_log_is_not_pruned_without_a_key(log, database, alice):
    await log.sealed(alice, at=LONG_AGO)
    keyless = RetentionService(database, Checkpoints(None))
    await keyless.set({Period.AUDIT: 365})

    with pytest.raises(SetupRequiredError, match="ROTA_SECRET_KEY"):
        await keyless.prune(now())

    assert await log.fetch("SELECT count(*) FROM audit_logs") == [(6,)]


async def test_backend_cannot_prune_what_is_kept(log, retention, database, alice):
    await log.sealed(alice, at=LONG_AGO)
    await log.sealed(alice, blocks=1)
    prune = "SELECT rota.prune_audit(chain_id, seq, %s, now(), 'k', sha256('x')) FROM audit_blocks"
    async with database.connection() as conn:
        with pytest.raises(psycopg.errors.ObjectInUse):  # no policy
            await conn.execute(prune + " WHERE seq = 3", [6])
        await retention.set({Period.AUDIT: 365})
        with pytest.raises(psycopg.errors.ObjectInUse):  # too young
            await conn.execute(prune + " WHERE seq = 4", [8])
        with pytest.raises(psycopg.errors.DataException):  # a wrong count
            await conn.execute(prune + " WHERE seq = 3", [5])
        with pytest.raises(psycopg.errors.ObjectInUse):
            await conn.execute(
                "SELECT rota.prune_audit(%s, 99, 0, now(), 'k', sha256('x'))", [NOBODYS]
            )
    assert await log.problems(alice) == []


async def backdate(log: Log) -> None:
    """Make blocks look old enough to go, as whoever owns the tables can."""
    await log.owner.execute("UPDATE audit_blocks SET sealed_at = '2001-01-01' WHERE seq <= 2")


async def cut_and_correct(log: Log) -> None:
    """Replace what was sealed by blocks that cover nothing."""
    await log.owner.execute(
        "UPDATE audit_blocks SET sealed_at = '2001-01-01', hash = sha256('another')"
    )
    await log.owner.execute(
        "INSERT INTO audit_blocks SELECT chain_id, 4, previous, sha256('x'), '{}', '', '',"
        " sealed_at FROM audit_blocks WHERE seq = 3"
    )
    await log.owner.execute(
        "UPDATE audit_chains SET length = 4, head = sha256('x') WHERE length > 0"
    )


async def edit_an_entry(log: Log) -> None:
    await log.owner.execute("UPDATE audit_logs SET outcome = 'failed' WHERE id % 4 = 0")


async def delete_an_entry(log: Log) -> None:
    await log.owner.execute("DELETE FROM audit_logs WHERE id % 4 = 0")


async def delete_a_block(log: Log) -> None:
    await log.owner.execute("DELETE FROM audit_blocks WHERE seq = 2")


async def put_a_block_past_the_end(log: Log) -> None:
    await log.owner.execute(
        "UPDATE audit_chains AS c SET length = 2, head = b.hash FROM audit_blocks AS b"
        " WHERE b.chain_id = c.id AND b.seq = 2"
    )


async def delete_the_chain(log: Log) -> None:
    await log.owner.execute("ALTER TABLE audit_blocks DROP CONSTRAINT audit_blocks_chain_id_fkey")
    await log.owner.execute("DELETE FROM audit_chains WHERE length > 0")


@pytest.mark.parametrize(
    ("tamper", "sealed_at", "said"),
    [
        (backdate, None, "block 1: the block was changed"),
        (cut_and_correct, None, "block 1: the block was changed"),
        (edit_an_entry, LONG_AGO, "the entry was changed"),
        (delete_an_entry, LONG_AGO, "the entry was deleted"),
        (delete_a_block, LONG_AGO, "block 2: the block is missing"),
        (put_a_block_past_the_end, LONG_AGO, "past the chain's end"),
        (delete_the_chain, LONG_AGO, "the chain was deleted"),
    ],
)
async def test_chain_that_is_not_what_was_sealed_is_not_pruned(
    log, retention, alice, bob, tamper, sealed_at, said
):
    await log.sealed(alice, at=sealed_at)
    (chain,) = await log.fetch("SELECT id::text FROM audit_chains WHERE user_id = %s", alice)
    await tamper(log)
    await log.sealed(bob, blocks=1, at=LONG_AGO)
    await retention.set({Period.AUDIT: 365})
    before = await log.fetch("SELECT * FROM audit_blocks WHERE seq > 1 ORDER BY seq")

    with structlog.testing.capture_logs() as logs:
        pruned = await retention.prune(now())

    assert pruned == Pruned(audit=2, audit_refused=1)  # bob's went
    assert await log.fetch("SELECT * FROM audit_blocks WHERE seq > 1 ORDER BY seq") == before
    assert await log.fetch("SELECT row_count FROM audit_checkpoints") == [(2,)]
    (warning,) = [line for line in logs if line["event"] == "audit_chain_not_pruned"]
    assert said in warning["problem"]
    assert warning["chain"] == chain[0]


async def test_chain_is_not_pruned_on_from_a_checkpoint_that_is_forged(log, retention, alice):
    await log.sealed(alice, at=LONG_AGO)
    await retention.set({Period.AUDIT: 365})
    await retention.prune(now())
    await log.sealed(alice, at=LONG_AGO)
    await log.owner.execute("UPDATE audit_checkpoints SET row_count = row_count - 1")

    assert await retention.prune(now()) == Pruned(audit_refused=1)

    assert await log.fetch("SELECT count(*) FROM audit_blocks") == [(3,)]


async def test_deleted_persons_chain_is_pruned(log, retention, alice):
    await log.sealed(alice, at=LONG_AGO)
    await log.owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])
    await retention.set({Period.AUDIT: 365})

    assert await retention.prune(now()) == Pruned(audit=6)


async def test_pruning_of_what_tells_of_a_deleted_person_raises_no_alarm(
    log, retention, alice, bob
):
    await log.sealed(alice, at=LONG_AGO)
    await log.owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])
    await log.seal(LONG_AGO + DAY)
    await log.sealed(bob, at=LONG_AGO + 2 * DAY)
    await retention.set({Period.AUDIT: 365})

    await retention.prune(now())

    assert await log.fetch("SELECT count(*) FROM audit_logs") == [(0,)]
    assert await log.problems(None) == []
    # One that was taken from somebody since is found still.
    await log.sealed(bob)
    await log.owner.execute("ALTER TABLE audit_chains DISABLE TRIGGER forget_person")
    await log.owner.execute("UPDATE audit_chains SET user_id = NULL")
    await log.owner.execute("UPDATE audit_logs SET user_id = NULL")
    (problem,) = await log.problems(None)
    assert problem.startswith("the chain was taken from its person")


async def test_prunings_at_once_take_turns(log, database, retention, alice, bob):
    for person in (alice, bob):
        await log.sealed(person, blocks=20, each=1, at=LONG_AGO)
    await retention.set({Period.AUDIT: 365})
    prunings = [
        RetentionService(database, Checkpoints(CIPHER), runs_batch=n).prune(now())
        for n in (3, 5, 7, 11)
    ]

    pruned = await asyncio.gather(*prunings)

    assert sum(one.audit for one in pruned) == 40
    assert await log.problems(None) == []


async def test_chain_that_must_wait_takes_no_place_of_what_can_go(log, database, alice, bob):
    """Its first block is young, those after it look old: the clock was set back."""
    await log.sealed(alice, blocks=1, each=1)
    await log.sealed(alice, blocks=8, each=1, at=LONG_AGO)
    await log.sealed(bob, blocks=5, each=1, at=LONG_AGO + DAY)
    small = RetentionService(database, Checkpoints(CIPHER), runs_batch=4)
    await small.set({Period.AUDIT: 365})
    assert (await small.count_prunable(now())).audit == 5

    assert (await small.prune(now())).audit == 5
    assert await log.problems(None) == []
