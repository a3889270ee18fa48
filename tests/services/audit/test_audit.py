"""The audit log's chains: what is sealed when, and that whatever is changed afterwards is found."""

from __future__ import annotations

import asyncio
import hashlib
import json
from uuid import UUID

import psycopg
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.audit.chain import NOBODYS, canonical
from rota.domain.audit.heads import BareHead
from rota.domain.errors import InvalidInputError
from rota.domain.operations.retention import Period
from tests.services.auditing import DAY, LONG_AGO, Log, now


async def test_chain_of_what_was_written_is_in_order(log, alice, bob):
    await log.sealed(alice)
    await log.write(bob)
    await log.write(None)
    await log.seal()
    await log.write(alice)

    (own,) = (await log.verify(alice)).chains
    everybody = await log.verify(None)

    assert (own.blocks, own.entries, own.unsealed, own.problems) == (3, 6, 1, ())
    assert everybody.problems == ()
    assert sorted(chain.entries for chain in everybody.chains) == [1, 1, 6]


COLUMNS = {
    "run_id": "gen_random_uuid()",
    "action_id": "gen_random_uuid()",
    "agent_name": "'another'",
    "tool_name": "'look'",
    "tier": "'unknown'",
    "decision": "'held'",
    "outcome": "'failed'",
    "arguments": """'{"to": "x@y.z", "number": 2}'""",
    "arguments_hash": "'abd'",
    "detail": "'nothing of note'",
    "actor": "'rota'",
    "origin": "'cli'",
    "called_at": "called_at - interval '1 microsecond'",
    "created_at": "created_at + interval '1 day'",
    "written_in": "'3'",
    "entry_key": "gen_random_uuid()",
    "user_id": "%(bob)s",
}


async def test_edit_of_each_column_is_found_and_named(log, alice, bob):
    entries = await log.sealed(alice, blocks=len(COLUMNS), each=1)
    assert await log.problems(alice) == []

    for entry, (column, value) in zip(entries, COLUMNS.items(), strict=True):
        await log.owner.execute(
            f"UPDATE audit_logs SET {column} = {value} WHERE id = {entry}", {"bob": bob}
        )

    for user in (alice, None):
        problems = await log.problems(user)
        for place, entry in enumerate(entries, start=1):
            assert any(p.startswith(f"block {place} entry {entry} ") for p in problems), place


async def test_every_column_has_its_edit(owner):
    cursor = await owner.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'audit_logs'"
    )
    assert {name for (name,) in await cursor.fetchall()} == {*COLUMNS, "id"}


async def test_edits_that_no_clock_can_show_are_found(log, alice):
    first, second, *_ = await log.sealed(alice)
    await log.owner.execute("ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_times_check")
    await log.owner.execute(f"UPDATE audit_logs SET called_at = 'infinity' WHERE id = {first}")
    await log.owner.execute(
        f"UPDATE audit_logs SET created_at = '0044-03-15 BC' WHERE id = {second}"
    )

    assert len(await log.problems(alice)) == 2


ODD_TIMES = ["infinity", "-infinity", "0044-03-15 BC", "1999-12-31", "9999-12-31", "12000-01-01"]


@pytest.mark.parametrize("column", ["called_at", "created_at"])
@pytest.mark.parametrize("time", ODD_TIMES)
async def test_entry_of_another_age_is_not_taken(log, alice, column, time):
    entry = await log.write(alice)

    with pytest.raises(psycopg.errors.CheckViolation):
        await log.owner.execute(f"UPDATE audit_logs SET {column} = '{time}' WHERE id = {entry}")


@pytest.mark.parametrize("time", ODD_TIMES)
async def test_readers_go_on_where_an_entry_is_of_another_age(log, alice, time):
    """Whoever owns the table can drop what it checks."""
    entry = await log.write(alice)
    await log.owner.execute("ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_times_check")
    await log.owner.execute("UPDATE audit_logs SET called_at = %s, created_at = %s", [time, time])
    await log.seal()

    (own,) = (await log.verify(alice)).chains
    (listed,) = await log.service.entries(alice)

    assert (own.problems, own.late) == ((), (entry,))
    assert listed.called is None
    assert [line async for line in log.service.export(alice)]


@pytest.mark.parametrize("place", [0, 3, 5])
async def test_deleted_entry_is_found_and_named(log, alice, place):
    entry = (await log.sealed(alice))[place]

    await log.owner.execute("DELETE FROM audit_logs WHERE id = %s", [entry])

    (problem,) = await log.problems(alice)
    assert problem.startswith(f"block {place // 2 + 1} entry {entry} the entry was deleted")


async def test_entry_put_in_behind_the_seal_is_found(log, alice):
    first, *_ = await log.sealed(alice)
    (taken,) = await log.fetch("SELECT written_in::text FROM audit_logs WHERE id = %s", first)

    entry = await log.write(alice)
    await log.owner.execute(
        "UPDATE audit_logs SET written_in = %s::xid8 WHERE id = %s", [taken[0], entry]
    )

    (problem,) = await log.problems(alice)
    assert problem.startswith(f"entry {entry} it is in no block")


async def test_entry_that_says_that_it_is_still_to_come_is_found(log, alice):
    await log.sealed(alice)
    entry = await log.write(alice)
    await log.owner.execute(
        "UPDATE audit_logs SET written_in = '9000000000' WHERE id = %s", [entry]
    )
    await log.seal()

    (problem,) = await log.problems(alice)
    assert problem.startswith(f"entry {entry} it is in no block")


async def test_entry_with_a_time_long_past_is_pointed_out(log, alice):
    entry = await log.write(alice)
    await log.owner.execute("UPDATE audit_logs SET created_at = now() - interval '2 hours'")
    await log.seal()

    (own,) = (await log.verify(alice)).chains

    assert (own.late, own.problems) == ((entry,), ())


SWAP_TWO_ENTRIES = (
    "WITH a AS (SELECT * FROM audit_logs ORDER BY id LIMIT 2)"
    " UPDATE audit_logs AS l SET arguments = o.arguments, detail = o.detail"
    " FROM a, a AS o WHERE l.id = a.id AND o.id <> a.id"
)
SWAP_TWO_BLOCKS = (
    "UPDATE audit_blocks SET seq = seq + 10 WHERE seq IN (2, 3);"
    "UPDATE audit_blocks SET seq = 15 - seq WHERE seq > 10"
)


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("DELETE FROM audit_blocks WHERE seq = 1", "block 1 the block is missing"),
        ("DELETE FROM audit_blocks WHERE seq = 2", "block 2 the block is missing"),
        ("DELETE FROM audit_blocks WHERE seq = 4", "block 4 the block is missing"),
        ("DELETE FROM audit_blocks WHERE seq > 2", "block 3 blocks 3 to 4 are missing"),
        ("UPDATE audit_blocks SET seq = 9 WHERE seq = 4", "there are blocks past"),
        ("UPDATE audit_blocks SET sealed_at = 'infinity' WHERE seq = 2", "block 2 the block was"),
        ("UPDATE audit_blocks SET previous = hash WHERE seq = 3", "block 3 it does not follow"),
        ("UPDATE audit_blocks SET hash = previous WHERE seq = 3", "block 3 the block was changed"),
        ("UPDATE audit_blocks SET row_ids = row_ids[:1] WHERE seq = 2", "in no block"),
        ("UPDATE audit_blocks SET row_ids = row_ids || 9 WHERE seq = 2", "block 2 the block was"),
        ("UPDATE audit_blocks SET digests = contents WHERE seq = 2", "block 2 the block was"),
        ("UPDATE audit_blocks SET contents = digests WHERE seq = 2", "content was changed"),
        ("UPDATE audit_blocks SET contents = '' WHERE seq = 2", "content was changed"),
        ("UPDATE audit_chains SET salt = gen_random_uuid() WHERE length > 0", "somebody else"),
        ("UPDATE audit_chains SET person_hash = sha256('x') WHERE length > 0", "somebody else"),
        ("UPDATE audit_chains SET head = sha256('x') WHERE length > 0", "own account"),
        ("UPDATE audit_chains SET length = 3 WHERE length > 0", "blocks past the chain's end"),
        # Two entries, and then two blocks, change places.
        (SWAP_TWO_ENTRIES, "block 1 entry"),
        (
            "UPDATE audit_blocks SET row_ids = ARRAY[row_ids[2], row_ids[1]] WHERE seq = 2",
            "block 2 entry",
        ),
        (SWAP_TWO_BLOCKS, "block 2 it does not follow"),
    ],
)
async def test_tampering_with_the_chain_is_found(log, alice, tampering, found):
    await log.sealed(alice, blocks=4)
    assert await log.problems(None) == []

    for statement in tampering.split(";"):
        await log.owner.execute(statement)

    assert any(found in problem for problem in await log.problems(alice))
    assert any(found in problem for problem in await log.problems(None))


async def test_whole_chain_that_is_gone_is_found(log, alice):
    await log.sealed(alice)
    await log.owner.execute("DELETE FROM audit_blocks")
    await log.owner.execute("DELETE FROM audit_chains WHERE user_id IS NOT NULL")

    assert len(await log.problems(alice)) == 6
    assert len(await log.problems(None)) == 6


async def cut_the_tail(log: Log) -> None:
    """Cut as whoever owns the tables can, leaving nothing that contradicts it."""
    await log.owner.execute(
        "DELETE FROM audit_logs WHERE id IN"
        " (SELECT unnest(row_ids) FROM audit_blocks WHERE seq = 3)"
    )
    await log.owner.execute("DELETE FROM audit_blocks WHERE seq = 3")
    await log.owner.execute(
        "UPDATE audit_chains AS c SET length = 2, head = b.hash"
        " FROM audit_blocks AS b WHERE b.chain_id = c.id AND b.seq = 2"
    )


async def test_tail_that_was_cut_cleanly_is_seen_by_an_exported_head_alone(log, alice):
    await log.sealed(alice, blocks=2)
    (earlier,) = await log.service.heads(alice)
    await log.sealed(alice, blocks=1)
    (head,) = await log.service.heads(alice)
    anonymous = BareHead(head.hash)
    assert await log.problems(alice, head, anonymous, earlier) == []

    await cut_the_tail(log)

    assert await log.problems(alice) == []
    assert await log.problems(alice, earlier) == []
    for user in (alice, None):
        for kept in (head, anonymous):
            (problem,) = await log.problems(user, kept)
            assert problem.startswith(f"the head {head.hash.hex()} is not there")


async def test_head_of_a_chain_that_is_gone_is_missed(log, alice):
    await log.sealed(alice)
    (head,) = await log.service.heads(alice)
    await log.owner.execute("DELETE FROM audit_logs")
    await log.owner.execute("DELETE FROM audit_blocks")
    await log.owner.execute("DELETE FROM audit_chains WHERE id = %s", [head.chain_id])

    (problem,) = await log.problems(None, head)
    assert "is not there" in problem
    with pytest.raises(InvalidInputError, match="--all"):
        await log.verify(alice, head)


async def test_head_of_somebody_else_is_for_the_operator_to_check(log, alice, bob):
    await log.sealed(alice)
    await log.sealed(bob)
    heads = await log.service.heads(None)

    with pytest.raises(InvalidInputError, match="--all"):
        await log.verify(alice, *heads)
    found = await log.verify(None, *heads)
    assert (found.problems, found.heads_there) == ((), 2)


async def test_chain_goes_on_after_what_was_tampered_with_and_still_shows_it(log, alice):
    await log.sealed(alice)
    await log.owner.execute("DELETE FROM audit_blocks WHERE seq = 3")

    await log.sealed(alice, blocks=1)

    problems = await log.problems(alice)
    assert problems[0] == "block 3 the block is missing"
    assert [p.partition(" it is in no block")[0] for p in problems[1:]] == ["entry 5", "entry 6"]


async def test_deleted_person_leaves_an_intact_chain_and_nothing_personal(log, alice, bob):
    await log.write(alice, to="secret@example.com", actor=str(alice))
    await log.sealed(alice)
    await log.sealed(bob, blocks=1)
    await log.write(alice, to="unsealed@example.com")
    (head,) = await log.service.heads(alice)

    await log.owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])

    assert await log.problems(None, head) == []
    found = await log.verify(None, head)
    assert sum(chain.blanked for chain in found.chains) == 7
    await log.seal()
    assert await log.problems(None, head) == []
    left = json.dumps(
        [
            await log.fetch(f"SELECT to_jsonb(t) FROM {table} AS t WHERE {where}")
            for table, where in {
                "audit_logs": "user_id IS NULL",
                "audit_chains": "user_id IS NULL",
                "audit_blocks": "true",
            }.items()
        ]
    )
    for personal in (str(alice), "example.com", "a@b.c", "watcher"):
        assert personal not in left
    assert await log.problems(bob) == []


async def test_deleted_persons_entry_is_guarded_still(log, alice):
    entry, *_ = await log.sealed(alice)
    await log.owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])

    await log.owner.execute("UPDATE audit_logs SET outcome = 'failed' WHERE id = %s", [entry])
    assert f"entry {entry} " in (await log.problems(None))[0]
    await log.owner.execute("UPDATE audit_logs SET outcome = 'succeeded' WHERE id = %s", [entry])
    await log.owner.execute("UPDATE audit_logs SET detail = 'x' WHERE id = %s", [entry])
    assert f"entry {entry} " in (await log.problems(None))[0]


async def test_blanking_the_entry_of_somebody_who_is_there_is_found(log, alice):
    entry, *_ = await log.sealed(alice)

    await log.owner.execute("UPDATE audit_logs SET user_id = NULL WHERE id = %s", [entry])

    assert f"entry {entry} " in (await log.problems(None))[0]


async def forget(log: Log, person) -> None:
    """Take a chain from its person as whoever owns the tables can, and blank it by that."""
    await log.owner.execute("UPDATE audit_chains SET user_id = NULL WHERE user_id = %s", [person])
    await log.owner.execute("UPDATE audit_logs SET user_id = NULL WHERE user_id = %s", [person])


async def test_chain_that_loses_its_person_is_told_of_in_nobodys_log(log, alice, bob):
    await log.sealed(alice)
    await log.sealed(bob)
    await log.owner.execute("DELETE FROM auth.users WHERE id = %s", [bob])
    await forget(log, alice)  # who is there
    await log.seal()

    found = await log.verify(None)

    assert found.problems == ()  # so far it looks as it does when somebody is deleted
    assert sum(chain.is_forgotten for chain in found.chains) == 2  # but one was deleted
    told = await log.fetch(
        "SELECT c.id::text = a.arguments ->> 'chain', position(c.id::text IN a.detail) > 0,"
        " a.outcome, a.actor, a.origin, a.called_at > now() - interval '1 minute'"
        " FROM audit_logs AS a JOIN audit_chains AS c ON c.id::text = a.arguments ->> 'chain'"
        " WHERE a.user_id IS NULL AND a.decision = 'forgotten'"
    )
    assert told == [(True, True, "not_run", "rota", "database", True)] * 2


async def test_chain_that_was_taken_from_its_person_behind_the_trigger_is_found(log, alice, bob):
    await log.sealed(alice)
    await log.sealed(bob)
    await log.owner.execute("DELETE FROM auth.users WHERE id = %s", [bob])
    await log.seal()
    await log.owner.execute("ALTER TABLE audit_chains DISABLE TRIGGER forget_person")
    await forget(log, alice)

    (problem,) = (await log.verify(None)).problems

    assert problem.text.startswith("the chain was taken from its person")


async def test_deleting_what_tells_of_a_lost_person_is_found(log, alice):
    await log.sealed(alice)
    await forget(log, alice)
    await log.seal()
    await log.owner.execute("DELETE FROM audit_logs WHERE decision = 'forgotten'")

    problems = await log.problems(None)

    assert any("the chain was taken from its person" in problem for problem in problems)
    assert any("the entry was deleted" in problem for problem in problems)


async def test_deletion_and_sealing_at_once_leave_an_intact_chain(log, database, alice, bob):
    """Whoever comes second waits; then entries are in the one chain or in the other."""
    await log.sealed(alice, blocks=1)
    for _ in range(3):
        await log.write(alice)
    async with database.connection() as conn, conn.transaction():
        await conn.execute("SELECT FROM audit_chains FOR NO KEY UPDATE")
        deletion = asyncio.create_task(
            log.owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])
        )
        while not await waiting(conn):
            await asyncio.sleep(0.01)
        sealing = asyncio.create_task(log.seal())
        while await waiting(conn) < 2:
            await asyncio.sleep(0.01)
    await deletion
    await sealing
    await log.seal()

    assert await log.problems(None) == []


async def waiting(conn) -> int:
    cursor = await conn.execute(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
        " OR NOT granted AND locktype = 'transactionid'"
    )
    return (await cursor.fetchone())[0]


def check_export(lines: list[dict]) -> str:
    """Check an exported chain with nothing of rota's, by docs/explanation/audit.md; its head."""

    def sha(value: object) -> str:
        return hashlib.sha256(rfc8785.dumps(value)).hexdigest()

    chain = lines[0]
    previous = sha({"chain": chain["chain"], "person": chain["person"]})
    rows: list[str] = []
    for line in lines[1:]:
        if line["type"] == "checkpoint":
            previous = line["hash"]
        if line["type"] == "entry":
            entry = {name: line[name] for name in line if name not in {"type", "of"}}
            assert chain["user_id"] is None or sha(line["of"]) == entry["content"]
            rows.append(sha(entry))
        if line["type"] == "block":
            assert line["rows"] == rows
            assert line["previous"] == previous
            names = ("chain", "previous", "rows", "sealed_at", "seq")
            previous = sha({name: line[name] for name in names})
            assert line["hash"] == previous
            rows = []
    assert lines[-1]["hash"] == previous
    return previous


async def test_export_is_checked_without_rota(log, retention, alice, bob):
    await log.sealed(alice, at=LONG_AGO)
    await log.write(alice, text='Ünï"\\\n\x7f\u2028 \U0001f600', big=2**70, small=1.10)
    await log.seal()
    await log.sealed(bob, blocks=1)
    (head,) = await log.service.heads(alice)

    async def exported(user):
        return [json.loads(json.dumps(line)) async for line in log.service.export(user)]

    assert check_export(await exported(alice)) == head.hash.hex()
    await retention.set({Period.AUDIT: 365})
    await retention.prune(now())
    assert check_export(await exported(alice)) == head.hash.hex()
    everybody = await exported(None)
    starts = [n for n, line in enumerate(everybody) if line["type"] == "chain"]
    exports = [
        everybody[start:end]
        for start, end in zip(starts, [*starts[1:], len(everybody)], strict=True)
    ]
    heads = {check_export(lines) for lines in exports if len(lines) > 1}
    assert {h.hash.hex() for h in await log.service.heads(None)} == heads
    assert [lines[0]["chain"] for lines in exports if len(lines) == 1] == [str(NOBODYS)]
    await log.owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])
    chains = [line["chain"] for line in await exported(None) if line["type"] == "head"]
    assert str(head.chain_id) in chains


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.dictionaries(
        st.sampled_from(["arguments", "detail", "entry_key", "id"]),
        st.one_of(texts, st.none(), st.integers(-(2**53) + 1, 2**53 - 1), st.lists(texts)),
    )
)
def test_what_is_hashed_is_canonical_json(value):
    assert canonical(value) == rfc8785.dumps(value)


async def test_own_entries_are_listed_newest_first(log, database, alice, bob):
    await log.write(alice, "look")
    second = await log.write(alice, "send")
    await log.write(bob, "send")

    listed = await log.service.entries(alice)
    assert [entry.tool_name for entry in listed] == ["send", "look"]
    assert [e.id for e in await log.service.entries(alice, tool="send")] == [second]
    assert [e.id for e in await log.service.entries(alice, limit=1)] == [second]
    run = listed[0].run_id
    assert [e.id for e in await log.service.entries(alice, run=run[:8].upper())] == [second]
    assert await log.service.entries(alice, since=now() + DAY) == ()
    assert len(await log.service.entries(alice, since=now() - DAY)) == 2
    assert UUID(run)
    assert listed[0].called <= now()
