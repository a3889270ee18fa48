"""Scheduler and worker outlive whatever the database does, and everything fires: late, and told."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
import pytest
import structlog
from psycopg import errors

from benchmarks.rig.server import open_to_all
from rota.domain.errors import LostTransactionError, StatementError
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.store.database import Database
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.errors import domain_error, is_outage
from rota.store.migrations import migrate
from rota.store.statements import execute
from rota.store.users import ensure_user
from tests.services.harness import ANSWER, Workshop, clock
from tests.services.running import until, working

pytestmark = pytest.mark.long

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def loops(workshop, url):
    """Run both loops of a process; whatever ends one of them ends the test."""
    stop = asyncio.Event()
    scheduler = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)
    task = asyncio.create_task(scheduler.run(stop))
    try:
        async with working(workshop, url):
            yield task
    finally:
        stop.set()
        await task


async def finished(workshop, count):
    async def enough():
        runs = await workshop.rows("agent_runs")
        return len([run for run in runs if run["status"] == "finished"]) >= count

    await until(enough, seconds=90)


async def fires_each_second(workshop, script=ANSWER, **agent):
    await workshop.agent(script, **agent)
    await workshop.schedule(
        every_seconds=1, anchor_at=EPOCH, catch_up="all", overlap_policy="allow_all"
    )


async def every_fire_has_a_result(workshop):
    """Each second has its row, each row its run, and each run ends in one result."""
    await workshop.owner.execute("UPDATE agent_schedules SET is_active = false")
    fires = await workshop.rows("schedule_occurrences", "fire_time")
    fired = [row for row in fires if row["outcome"] == "fired"]
    await finished(workshop, len(fired))
    times = [row["fire_time"].timestamp() for row in fires]
    assert times == [times[0] + n for n in range(len(times))]
    assert len(fires) - len(fired) <= 1  # the one that the pause came upon
    results = await workshop.rows("agent_execution_results")
    assert sorted(row["run_id"] for row in fired) == sorted(row["run_id"] for row in results)


async def count_logged(logs, event):
    return len([line for line in logs if line["event"] == event])


async def set_default(workshop, setting):
    """Change a default of the database, for all sessions that are there too."""
    name = psycopg.sql.Identifier(workshop.owner.info.dbname)
    await workshop.owner.execute(
        psycopg.sql.SQL("ALTER DATABASE {} ").format(name) + psycopg.sql.SQL(setting)
    )
    await cut_off(workshop)


async def cut_off(workshop):
    await workshop.owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_loops_outlive_a_database_that_is_read_only_for_a_while(workshop, database_url):
    await fires_each_second(workshop)
    with structlog.testing.capture_logs() as logs:
        async with loops(workshop, database_url) as scheduler:
            await finished(workshop, 2)
            await set_default(workshop, "SET default_transaction_read_only = on")
            await until(lambda: count_logged(logs, "scheduler_lost_database"))
            await until(lambda: count_logged(logs, "worker_lost_database"))
            await asyncio.sleep(4)
            assert not scheduler.done()
            await workshop.owner.execute("SET default_transaction_read_only = off")
            before = len(await workshop.rows("agent_runs"))
            await set_default(workshop, "RESET default_transaction_read_only")
            await finished(workshop, before + 3)
            await every_fire_has_a_result(workshop)

    lost = [line for line in logs if line["event"] == "scheduler_lost_database"]
    assert "read-only" in lost[0]["error"] or "read-only" in lost[1]["error"]
    assert any("over_after" in line for line in lost)
    assert len(lost) < 8  # not each second the same


@pytest.mark.parametrize(
    "setting",
    [
        "SET idle_session_timeout = 300",
        "SET idle_in_transaction_session_timeout = 1",
        "SET statement_timeout = 1",
        "CONNECTION LIMIT 1",
    ],
)
async def test_loops_outlive_a_setting_that_breaks_them_off(workshop, database_url, setting):
    await fires_each_second(workshop)
    async with loops(workshop, database_url) as scheduler:
        await finished(workshop, 2)
        await set_default(workshop, setting)
        await asyncio.sleep(4)
        assert not scheduler.done()
        await workshop.owner.execute("SET statement_timeout = 0")
        undone = setting.split(" = ")[0].replace("SET", "RESET").replace("LIMIT 1", "LIMIT -1")
        before = len(await workshop.rows("agent_runs"))
        await set_default(workshop, undone)
        await finished(workshop, before + 3)
        await every_fire_has_a_result(workshop)


async def test_loops_outlive_that_all_their_connections_are_cut_again_and_again(
    workshop, database_url
):
    await fires_each_second(workshop)
    async with loops(workshop, database_url):
        await finished(workshop, 2)
        for _ in range(4):
            await cut_off(workshop)
            await asyncio.sleep(0.7)
        await finished(workshop, len(await workshop.rows("agent_runs")) + 2)
        await every_fire_has_a_result(workshop)


async def test_scheduler_outlives_a_statement_that_is_refused_and_says_so(workshop):
    """A fault of rota's own statements is an error in the log, and no end."""
    await workshop.owner.execute("ALTER TABLE incidents RENAME TO mislaid")
    await workshop.schedule(every_seconds=1, anchor_at=EPOCH)
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)
    with structlog.testing.capture_logs() as logs:
        delay = await loop.tick(15)
        again = await loop.tick(15)
        await workshop.owner.execute("ALTER TABLE mislaid RENAME TO incidents")
        await loop.tick(15)

    assert (delay, again) == (1.0, 2.0)
    assert [line["log_level"] for line in logs if "error" in line] == ["error", "error"]
    assert len(await workshop.rows("agent_schedules")) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("25006", "read-only"),
        ("53100", "disk of the database is full"),
        ("53300", "no connection left"),
        ("57014", "cancelled a statement"),
        ("57P05", "went away"),
        ("25P03", "idle"),
        ("55P03", "too long for a lock"),
        ("40001", "broke a transaction off"),
        ("58030", "went away"),
        ("XX000", "went away"),
        ("08P01", "went away"),
        ("28P01", "went away"),
    ],
)
def test_error_of_the_server_is_an_outage(code, said):
    error = domain_error(errors.lookup(code)("said the server"), {})

    assert isinstance(error, LostTransactionError)
    assert said in error.message


@pytest.mark.parametrize(
    "code",
    [
        "22003",
        "23502",
        "25P02",
        "42601",
        "42P01",
        "54001",
        "P0001",
        "2F002",
        "38000",
        "XX001",
        "XX002",
    ],
)
def test_error_of_a_statement_is_no_outage(code):
    error = errors.lookup(code)("said the server")

    assert not is_outage(error)
    assert isinstance(domain_error(error, {}), StatementError)


async def test_commit_that_is_refused_is_an_error_of_the_domain(database, owner):
    """A constraint that is checked at the end of a transaction."""
    await owner.execute(
        "CREATE TABLE public.late (id uuid PRIMARY KEY, other uuid REFERENCES public.late (id)"
        " DEFERRABLE INITIALLY DEFERRED); GRANT INSERT ON public.late TO service_role"
    )
    with pytest.raises(StatementError, match="ForeignKeyViolation"):
        async with database.transaction() as conn:
            await conn.execute("INSERT INTO late VALUES (%s, %s)", [uuid.uuid4(), uuid.uuid4()])


async def test_plan_of_before_a_migration_is_an_outage_once(workshop):
    """PostgreSQL refuses it for as long as the connection lives."""
    async with Database(workshop.database.url, max_size=1).opened() as database:

        async def read_limits():
            async with database.connection() as conn:
                await execute(conn, "runs/fetch_limit_in_all")

        for _ in range(10):
            await read_limits()
        await workshop.owner.execute("ALTER TABLE rota.limits ALTER max_concurrency TYPE bigint")

        with pytest.raises(LostTransactionError, match="schema changed"):
            await read_limits()
        await read_limits()


@pytest.mark.kill
@pytest.mark.timeout(240)
async def test_loops_outlive_a_server_that_dies_and_is_started_again(tmp_path):
    """As at a failover: connections break, nobody answers for a while, and then somebody does."""
    server = EmbeddedPostgres.open(tmp_path / "data")
    try:
        await migrate(server.owner_url)
        open_to_all(server.owner_url)
        async with Database(server.app_url).opened() as database:
            workshop = Workshop(database, await connect(server), await owner_of(database))
            await workshop.declare_tools()
            await fires_each_second(workshop)
            async with loops(workshop, server.app_url) as scheduler:
                await finished(workshop, 2)
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.sleep(4)
                await asyncio.to_thread(server.ensure_alive)
                assert not scheduler.done()
                await workshop.owner.close()
                workshop.owner = await connect(server)
                await finished(workshop, len(await workshop.rows("agent_runs")) + 3)
                await every_fire_has_a_result(workshop)
            await workshop.owner.close()
    finally:
        server.destroy()


async def connect(server):
    return await psycopg.AsyncConnection.connect(server.owner_url, autocommit=True)


async def owner_of(database):
    async with database.connection() as conn:
        return await ensure_user(conn, "owner@localhost")
