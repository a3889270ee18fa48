"""What a session holds locked, and that nobody else waits for it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from rota.domain.runs.run import ResultStatus
from rota.engine.admission import admit
from rota.services.approvals.expiry import ApprovalExpiry
from rota.services.audit.checkpoints import Checkpoints
from rota.services.notifications.service import NotificationService
from rota.services.operations.retention import RetentionService
from rota.store.audit.rows import lock_sealing
from rota.store.database import act_as
from rota.store.operations.processes import untimed_roles
from tests.services.harness import ANSWER, CIPHER, Workshop
from tests.services.running import make_run, queue_runs, results, until, working

MONDAY_7 = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def retention(database) -> RetentionService:
    return RetentionService(database, Checkpoints(CIPHER))


@asynccontextmanager
async def holding(url, person, query, *parameters):
    """A session of a person's that has executed a statement, and stays in its transaction."""
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await act_as(conn, person)
        await conn.execute(query, parameters)
        yield conn
        await conn.rollback()


async def watched(workshop, person, name, **columns):
    """A schedule of a person's with an agent of its own that answers."""
    theirs = Workshop(workshop.database, workshop.owner, person, workshop.toolbox)
    await theirs.agent(ANSWER, name=name)
    return await theirs.schedule(name, name=name, **columns)


LOCKS = [
    "SELECT FROM agent_schedules WHERE id = %s FOR UPDATE",
    "UPDATE agent_schedules SET prompt = 'held' WHERE id = %s",
    "DELETE FROM agent_schedules WHERE id = %s",
]


@pytest.mark.parametrize("lock", LOCKS)
async def test_result_of_another_person_is_stored_while_a_schedule_is_locked(
    workshop, database_url, alice, bob, lock
):
    mine = await watched(workshop, alice, "mine", pause_after_failures=3)
    theirs = await watched(workshop, bob, "theirs")
    await workshop.owner.execute("UPDATE agent_schedules SET failures_in_row = 1")
    runs = [
        await make_run(workshop, s.agent_name, user=s.user_id, schedule_id=s.id, trigger="schedule")
        for s in (mine, theirs)
    ]
    service = workshop.service()
    async with holding(database_url, alice, lock, mine.id):
        locked, free = [
            asyncio.create_task(service.execute(s, run))
            for s, run in zip((mine, theirs), runs, strict=True)
        ]
        async with asyncio.timeout(20):
            assert (await free).status is ResultStatus.SUCCESS
        assert not locked.done()
    async with asyncio.timeout(20):
        assert (await locked).status is ResultStatus.SUCCESS

    assert len(await workshop.rows("agent_execution_results")) == 2
    assert len(await workshop.rows("notifications")) == 2
    assert (await workshop.fetch(mine.id)).failures_in_row == 0


async def test_failure_is_counted_when_the_lock_is_gone(workshop, database_url, alice):
    await workshop.agent(name="mine")  # a scripted model without a script
    mine = await workshop.schedule("mine", pause_after_failures=1)
    run = await make_run(workshop, "mine", schedule_id=mine.id, trigger="schedule")
    async with holding(database_url, alice, LOCKS[0], mine.id):
        task = asyncio.create_task(workshop.service().execute(mine, run))
        await until_aside(workshop, run)
    async with asyncio.timeout(20):
        assert (await task).status is ResultStatus.ERROR

    schedule = await workshop.fetch(mine.id)
    assert schedule.failures_in_row == 1
    assert schedule.pause_note == "A run failed."


async def test_run_kept_back_makes_room_and_is_stored_by_a_later_attempt(
    workshop, database_url, alice, bob, monkeypatch
):
    monkeypatch.setattr("rota.services.runs.result_writer.PATIENCE", 0.1)
    monkeypatch.setattr("rota.services.operations.background_tasks.LOCKED_FOR", timedelta(0))
    mine = await watched(workshop, alice, "mine")
    await make_run(workshop, "mine", schedule_id=mine.id)
    await queue_runs(workshop.database)
    async with holding(database_url, alice, LOCKS[0], mine.id), working(workshop, database_url):

        async def handed_over():
            return (await workshop.row("agent_runs"))["hand_overs"] > 1

        await until(handed_over)
        assert await workshop.rows("agent_execution_results") == []
    async with working(workshop, database_url):
        (result,) = await results(workshop)
    assert result["result_content"] == "All quiet."
    assert [s["attempt"] for s in await workshop.rows("agent_run_steps")] == [1]


async def until_aside(workshop, run):
    """Wait until the run is under way, and then as long as a look at its end takes."""

    async def running():
        found = await workshop.rows("agent_runs")
        return any(row["id"] == run.id and row["status"] == "running" for row in found)

    await until(running)
    await asyncio.sleep(0.5)


async def test_runs_of_others_begin_and_are_admitted_while_one_is_being_cancelled(
    workshop, database_url, alice, bob
):
    await workshop.owner.execute("UPDATE rota.limits SET max_concurrency = 1")
    mine = await watched(workshop, alice, "mine")
    theirs = await watched(workshop, bob, "theirs")
    held = await make_run(workshop, "mine", schedule_id=mine.id)
    free = await make_run(workshop, "theirs", user=bob, schedule_id=theirs.id)
    async with holding(database_url, alice, "SELECT request_cancel(%s)", held.id):
        async with asyncio.timeout(20):
            assert await queue_runs(workshop.database) == 1
        statuses = {row["id"]: row["status"] for row in await workshop.rows("agent_runs")}
        assert statuses == {held.id: "waiting", free.id: "queued"}
        service = workshop.service()
        taking = asyncio.create_task(service.take(held.id))
        async with asyncio.timeout(20):
            assert await service.take(free.id) is not None
        taking.cancel()


async def test_journal_of_others_is_written_while_a_run_is_being_cancelled(
    workshop, database_url, alice, bob
):
    wait = {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "Done."}
    for person, name in ((alice, "mine"), (bob, "theirs")):
        await Workshop(workshop.database, workshop.owner, person).agent(
            wait, name=name, tools=["wait"]
        )
    workshop.toolbox.gate = asyncio.Event()
    held = await make_run(workshop, "mine")
    free = await make_run(workshop, "theirs", user=bob)
    service = workshop.service()
    first = asyncio.create_task(service.execute_run(held))

    async def waits():
        return len(workshop.toolbox.calls)

    await until(waits)
    async with holding(database_url, alice, "SELECT request_cancel(%s)", held.id):
        second = asyncio.create_task(service.execute_run(free))
        workshop.toolbox.gate.set()
        async with asyncio.timeout(20):
            assert (await second).status is ResultStatus.SUCCESS
        assert not first.done()
    async with asyncio.timeout(20):
        assert (await first).status is ResultStatus.SUCCESS


async def test_schedules_of_others_fire_while_a_run_to_be_cancelled_is_locked(
    workshop, database_url, alice, bob
):
    mine = await workshop.due(MONDAY_7, overlap_policy="cancel_other")
    theirs = await workshop.due(MONDAY_7, user=bob)
    held = await make_run(workshop, "watcher", schedule_id=mine.id)
    later = MONDAY_7 + timedelta(seconds=1)
    async with holding(database_url, alice, "SELECT request_cancel(%s)", held.id):
        async with asyncio.timeout(20):
            tick = await workshop.scheduler().tick(later)
        assert tick.fired == 1
        fired = await workshop.rows("schedule_occurrences")
        assert [row["schedule_id"] for row in fired] == [theirs.id]
    assert (await workshop.scheduler().tick(later)).fired == 1
    statuses = {row["id"]: row["status"] for row in await workshop.rows("agent_runs")}
    assert statuses[held.id] == "cancelled"


async def test_advisory_locks_of_strangers_stop_neither_admission_nor_sealing(
    workshop, database_url, alice, bob
):
    await make_run(workshop)
    ids = "(1919906913, 1), (hashtext('rota'), hashtext('audit_sealing'))"
    taken = f"SELECT pg_advisory_lock(a, b) FROM (VALUES {ids}) AS ids (a, b)"
    async with holding(database_url, bob, taken):
        assert await queue_runs(workshop.database) == 1
        async with workshop.database.transaction() as conn:
            assert await lock_sealing(conn)


async def test_person_cannot_touch_the_rows_of_locks(database, alice):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.acting_as(alice) as conn:
            await conn.execute("SELECT FROM rota.locks FOR UPDATE")


async def test_admission_is_free_once_its_holder_is_gone(workshop, database_url):
    await make_run(workshop)
    holder = await psycopg.AsyncConnection.connect(database_url)
    await holder.execute("SELECT FROM rota.locks WHERE name = 'admission' FOR NO KEY UPDATE")
    async with workshop.database.transaction() as conn:
        assert (await admit(conn)).locked
    await workshop.owner.execute("SELECT pg_terminate_backend(%s, 5000)", [holder.info.backend_pid])
    assert await queue_runs(workshop.database) == 1
    await holder.close()


async def test_schedules_deleted_as_their_results_are_stored_meet_no_deadlock(
    workshop, database_url, owner, alice
):
    async def deadlocks():
        cursor = await owner.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return (await cursor.fetchone())[0]

    before = await deadlocks()
    await workshop.agent(ANSWER)
    for _ in range(3):
        schedules = [await workshop.schedule(name=f"s{n}") for n in range(20)]
        runs = [await make_run(workshop, schedule_id=s.id) for s in schedules]

        async def delete(some):
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
                for schedule in some:
                    await conn.execute("DELETE FROM agent_schedules WHERE id = %s", [schedule.id])

        service = workshop.service(batch_size=5)
        taken = [await service.take(run.id) for run in runs]
        outcomes = await asyncio.gather(
            *(service.execute_run(t.run, taken=t) for t in taken),
            delete(schedules[::2]),
            delete(schedules[1::2]),
        )
        assert {o.status for o in outcomes if o is not None} == {ResultStatus.SUCCESS}
    assert len(await workshop.rows("agent_execution_results")) == 60
    await asyncio.sleep(1.1)  # sessions tell the statistics once a second
    assert await deadlocks() == before


async def test_actions_of_others_expire_while_one_is_being_decided(
    workshop, database_url, alice, bob
):
    async def late(person):
        run = await make_run(workshop, user=person)
        cursor = await workshop.owner.execute(
            "INSERT INTO pending_actions (user_id, run_id, agent_name, tool_name, arguments,"
            " arguments_hash, expires_at) VALUES (%s, %s, 'a', 'send', '{}', repeat('0', 64),"
            " now() + interval '4 seconds') RETURNING id",
            [person, run.id],
        )
        return (await cursor.fetchone())[0]

    mine, theirs = await late(alice), await late(bob)
    expiry = ApprovalExpiry(workshop.database, NotificationService(workshop.database))

    async def status(action):
        rows = await workshop.rows("pending_actions")
        return next(row["status"] for row in rows if row["id"] == action)

    async def expired():
        await expiry.look()
        return await status(theirs) == "expired"

    decide = "SELECT decide_action(%s, 'refuse')"
    async with holding(database_url, alice, decide, mine):
        await until(expired, seconds=20)
        assert await status(mine) == "pending"


async def test_runs_of_others_are_pruned_while_a_notification_is_locked(
    workshop, retention, database_url, alice, bob
):
    for person in (alice, bob):
        run = await make_run(workshop, user=person)
        await workshop.owner.execute(
            "INSERT INTO notifications (user_id, category, title, run_id)"
            " VALUES (%s, 'info', 't', %s)",
            [person, run.id],
        )
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'cancelled', finished_at = now() - interval '366 days'"
    )
    lock = "SELECT FROM notifications FOR UPDATE"
    async with holding(database_url, alice, lock), asyncio.timeout(20):
        await retention.prune(datetime.now(UTC))
        assert [row["user_id"] for row in await workshop.rows("agent_runs")] == [alice]
    await retention.prune(datetime.now(UTC))
    assert await workshop.rows("agent_runs") == []


async def test_role_that_may_keep_locks_for_ever_is_named_until_it_may_not(workshop, database):
    await workshop.owner.execute("CREATE ROLE sql_person LOGIN IN ROLE authenticated")
    try:
        async with database.connection() as conn:
            assert await untimed_roles(conn) == ("sql_person",)
            await workshop.owner.execute(
                "ALTER ROLE sql_person SET idle_in_transaction_session_timeout = '60s'"
            )
            assert await untimed_roles(conn) == ()
    finally:
        await workshop.owner.execute("DROP ROLE sql_person")
