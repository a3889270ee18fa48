"""What is sealed when: once, whoever else seals, and whatever becomes of one chain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import psycopg
import pytest
import structlog
from psycopg.conninfo import make_conninfo

from rota.domain.audit.chain import NOBODYS
from rota.domain.errors import LostTransactionError, RotaError
from rota.services.audit.sealing import AuditSealer
from rota.store.database import Database
from rota.store.statements import statement
from tests.services.auditing import INSERT, Log, now


async def fail_at(log: Log, condition: str, statement: str) -> None:
    """Have the insertion of some blocks fail, or worse."""
    await log.owner.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {condition} THEN {statement}; END IF; RETURN NEW; END $$;"
        "GRANT EXECUTE ON FUNCTION fail() TO PUBLIC;"
        "CREATE TRIGGER fail BEFORE INSERT ON audit_blocks FOR EACH ROW EXECUTE FUNCTION fail()"
    )


async def test_nothing_to_seal_writes_nothing(log, database_url, alice):
    await log.sealed(alice, blocks=1)
    read_only = make_conninfo(database_url, options="-c default_transaction_read_only=on")

    async with Database(read_only).opened() as database:
        assert await AuditSealer(database).seal(now()) == 0
        await log.write(alice)
        with pytest.raises((RotaError, psycopg.Error), match="read-only"):
            await AuditSealer(database).seal(now())

    assert await log.fetch("SELECT count(*) FROM audit_blocks") == [(1,)]


async def test_entry_that_commits_late_is_sealed_all_the_same(log, database, alice):
    """Its id is smaller than that of one that was committed, and sealed, long before it."""
    async with database.connection() as other, database.connection() as first:
        async with first.transaction():
            early = await log.write(alice, conn=first)  # takes its id, and does not commit
            async with other.transaction():
                late = await log.write(alice, conn=other)
            assert early < late
            await log.seal()
            assert await log.problems(alice) == []
        await log.seal()

    assert await log.problems(alice) == []
    covered = await log.fetch("SELECT row_ids FROM audit_blocks ORDER BY seq")
    assert covered == [([late],), ([early],)]


async def test_entry_of_a_savepoint_belongs_to_the_transaction_around_it(log, database, alice):
    async with database.connection() as conn, conn.transaction():
        async with conn.transaction():
            await log.write(alice, conn=conn)
        await log.seal()
        assert await log.fetch("SELECT count(*) FROM audit_blocks") == [(0,)]
    assert await log.seal() == 1


async def test_many_sealers_seal_each_entry_once(log, database, alice, bob):
    for number in range(60):
        await log.write((alice, bob, None)[number % 3])
    sealers = [AuditSealer(database, batch=7) for _ in range(4)]

    counts = await asyncio.gather(*(sealer.seal(now()) for sealer in sealers))
    counts.append(await log.seal())

    assert sum(counts) == 60
    assert await log.problems(None) == []


async def test_each_entry_of_many_transactions_at_once_is_sealed_once(log, database, alice):
    """Transactions begin, write, roll back and commit in any order between the looks."""
    async with AsyncExitStack() as stack:
        open_ones = [await stack.enter_async_context(database.connection()) for _ in range(6)]
        for conn in open_ones:
            await conn.execute("BEGIN")
        kept = 0
        for step in range(40):
            conn = open_ones[(step * 5) % 6]
            await log.write(alice, conn=conn)
            if step % 3 == 0:
                commits = step % 2 == 0
                await conn.execute("COMMIT" if commits else "ROLLBACK")
                await conn.execute("BEGIN")
            if step % 4 == 1:
                await log.seal()
                assert await log.problems(alice) == []
        for conn in open_ones:
            await conn.execute("COMMIT")
        await log.seal()
        ((kept,),) = await log.fetch("SELECT count(*) FROM audit_logs")

    (own,) = (await log.verify(alice)).chains
    assert (own.entries, own.unsealed, own.problems) == (kept, 0, ())
    assert kept > 10


async def test_interrupted_sealing_is_gone_on_with(log, database, alice):
    for _ in range(7):
        await log.write(alice)
    small = AuditSealer(database, batch=2)
    await fail_at(log, "NEW.seq = 3", "PERFORM pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(LostTransactionError):
        await small.seal(now())
    await log.owner.execute("DROP TRIGGER fail ON audit_blocks")

    assert await small.seal(now()) == 3
    assert await log.problems(alice) == []


async def test_sealing_on_another_server_begins_anew_and_seals_nothing_twice(log, alice):
    """As after a dump was restored: transactions there have smaller numbers."""
    await log.sealed(alice)
    await log.owner.execute(
        "UPDATE rota.audit_cursor SET server = 1, sealed = '9000000000:9000000000:'"
    )
    new = await log.write(alice)
    old = await log.write(alice)  # not sealed before the dump was made
    await log.owner.execute("UPDATE audit_logs SET written_in = '8000000000' WHERE id = %s", [old])
    assert await log.problems(alice) == []

    assert await log.seal() == 2

    assert await log.problems(alice) == []
    assert await log.fetch("SELECT row_ids FROM audit_blocks ORDER BY seq DESC LIMIT 1") == [
        ([new, old],)
    ]
    assert await log.seal() == 0


async def test_chain_that_cannot_be_sealed_holds_up_no_other(log, alice, bob):
    await log.sealed(alice)
    await log.owner.execute("UPDATE audit_chains SET length = 2 WHERE user_id = %s", [alice])
    waiting = [await log.write(alice) for _ in range(3)]
    await log.write(bob)
    await log.write(None)

    with structlog.testing.capture_logs() as logs:
        assert await log.seal() == 2
        assert await log.seal() == 0

    (told,) = [line for line in logs if line["event"] == "audit_chain_not_sealed"]
    assert told["user"] == str(alice)
    assert await log.problems(bob) == []
    for user in (alice, None):
        assert any(
            "cannot be sealed; entries that wait for it: 3" in p for p in await log.problems(user)
        )

    await log.owner.execute("UPDATE audit_chains SET length = 3 WHERE user_id = %s", [alice])
    assert await log.seal() == 3
    assert await log.problems(None) == []
    assert await log.fetch("SELECT row_ids FROM audit_blocks ORDER BY sealed_at DESC LIMIT 1") == [
        (waiting,)
    ]


async def test_chain_on_a_damaged_page_holds_up_no_other(log, alice, bob):
    await log.sealed(alice)
    await log.write(alice)
    await log.write(bob)
    await fail_at(log, "NEW.seq > 1", "RAISE 'invalid page' USING ERRCODE = 'data_corrupted'")

    with structlog.testing.capture_logs() as logs:
        assert await log.seal() == 1

    (told,) = [line for line in logs if line["event"] == "audit_chain_not_sealed"]
    assert (told["user"], "invalid page" in told["error"]) == (str(alice), True)
    assert await log.problems(bob) == []


async def test_small_batches_seal_past_a_chain_that_cannot_be(log, database, alice, bob):
    await log.sealed(alice)
    await log.owner.execute("UPDATE audit_chains SET length = 2 WHERE user_id = %s", [alice])
    for _ in range(5):
        await log.write(alice)
        await log.write(bob)
    small = AuditSealer(database, batch=2)

    assert await small.seal(now()) == 5
    assert await small.seal(now()) == 0
    assert await log.problems(bob) == []


async def test_nobodys_chain_is_made_again_and_its_loss_still_shows(log, alice):
    entry = await log.write(None)
    await log.sealed(alice, blocks=1)
    await log.owner.execute("DELETE FROM audit_blocks WHERE chain_id = %s", [NOBODYS])
    await log.owner.execute("DELETE FROM audit_chains WHERE id = %s", [NOBODYS])

    problems = await log.problems(None)
    assert "the chain of what is nobody's was deleted" in problems
    assert any(p.startswith(f"entry {entry} it is in no block") for p in problems)

    await log.write(None)
    assert await log.seal() == 1
    (problem,) = await log.problems(None)
    assert problem.startswith(f"entry {entry} it is in no block")


async def test_sealing_beside_an_open_deletion_leaves_the_entries_for_later(
    log, owner_url, alice, bob
):
    """She has no chain yet: it cannot be made while she may be gone."""
    await log.write(alice)
    await log.write(bob)
    async with await psycopg.AsyncConnection.connect(owner_url) as other:
        await other.execute("DELETE FROM auth.users WHERE id = %s", [alice])
        sealing = asyncio.create_task(log.seal())
        with structlog.testing.capture_logs() as logs:
            while not await waits(log):
                await asyncio.sleep(0.01)
            await other.commit()
            assert await sealing == 1  # bob's

    assert logs == []
    assert await log.problems(None) == []
    assert await log.seal() == 1
    assert await log.problems(None) == []


async def waits(log: Log) -> bool:
    ((found,),) = await log.fetch(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return found > 0


async def test_entries_that_wait_long_are_noted_and_no_problem(log, alice):
    await log.sealed(alice, blocks=1)
    await log.write(alice)

    async def notes(later: timedelta) -> tuple[str, ...]:
        found = await log.service.verify(alice, now=now() + later)
        assert found.problems == ()
        return found.notes

    assert await notes(timedelta(minutes=4)) == ()
    (note,) = await notes(timedelta(minutes=6))
    assert note.endswith("does a scheduler run?")
    await log.seal()
    assert await notes(timedelta(minutes=6)) == ()


async def test_looks_read_little_however_many_entries_one_transaction_wrote(
    log, database, owner, alice
):
    """As the migration leaves an existing log. Each look is made once a second."""
    many = INSERT.replace("VALUES (", "SELECT ").replace(") RETURNING id", "")
    values = [alice, None, "send", "{}", "", "agent"]
    await owner.execute(f"{many} FROM generate_series(1, 20000)", values)
    await owner.execute("INSERT INTO rota.audit_sealed SELECT id FROM audit_logs")
    await owner.execute("ANALYZE audit_logs")
    await log.seal()
    async with database.connection() as slow, slow.transaction():
        await log.write(alice, conn=slow)
        await log.write(alice)
        await log.seal()  # what is under way in `slow` is in the snapshot's list
        await log.write(alice)
        ((sealed,),) = await log.fetch("SELECT sealed::text FROM rota.audit_cursor")
        asked = {"sealed": sealed, "written_in": "0", "audit_id": 0, "limit": 2_000}
        async with database.connection() as conn:
            for name, parameters in (
                ("audit/fetch_audit_cursor", None),
                ("audit/find_unsealed_audit", asked),
            ):
                for _ in range(6):  # by then planned for any parameters
                    await conn.execute(statement(name), parameters)
                explain = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement(name)
                ((([found],)),) = await (await conn.execute(explain, parameters)).fetchall()
                read = found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]
                assert read < 60, found  # pages; the log has hundreds
