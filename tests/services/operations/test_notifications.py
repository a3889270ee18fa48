"""What strangers say on rota's channels: filtered, counted, answered at a bounded rate."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from rota.engine.notifications import NotificationFilter
from rota.services.operations.scheduler_loop import SHORTEST_SLEEP, SchedulerLoop
from rota.services.schedules.firing import Tick
from rota.store.database import Database
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate
from rota.store.operations.processes import notification_queue_problem
from tests.postgres import TestServer
from tests.services.harness import clock
from tests.services.running import make_run, queue_runs, results, until, working

OURS = json.dumps({"type": "table_changed_event"})


async def test_flood_of_wakeups_passes_one_of_our_own():
    passed: list[str] = []
    heard = NotificationFilter("rota_queue", passed.append, tuple)
    for _ in range(1000):
        heard(OURS)

    async def woken():
        return passed

    await until(woken)
    assert [json.loads(event)["table"] for event in passed] == ["pgqueuer"]


async def test_junk_and_cancellations_are_counted_and_told_of_once_escaped():
    passed: list[str] = []
    heard = NotificationFilter("rota_queue", passed.append, tuple)
    with capture_logs() as logs:
        for _ in range(1000):
            heard("\x1b[2J\nforged line" + "x" * 5000)
            heard(json.dumps({"type": "cancellation_event", "ids": [1]}))
    assert passed == []
    (line,) = logs
    assert line["event"] == "notifications_ignored"
    assert line["the_last"].startswith("'\\x1b[2J\\nforged line")
    assert len(line["the_last"]) < 100


async def test_probe_under_way_is_heard_and_another_workers_is_not():
    passed: list[str] = []
    mine = uuid4()
    heard = NotificationFilter("rota_queue", passed.append, lambda: [mine])
    for probe in (mine, uuid4()):
        heard(json.dumps({"type": "health_check_event", "id": str(probe)}))
    assert len(passed) == 1
    assert str(mine) in passed[0]


async def test_worker_goes_on_among_junk(workshop, database_url):
    await workshop.agent({"steps": [], "answer": "All quiet."})
    await make_run(workshop)
    async with working(workshop, database_url):
        for junk in ("junk", '{"type": "cancellation_event"}', "\x1b[31m", "x" * 7000):
            await workshop.owner.execute("SELECT pg_notify('rota_queue', %s)", [junk])
        await queue_runs(workshop.database)
        assert len(await results(workshop)) == 1


async def test_scheduler_that_is_woken_all_the_time_pauses_between_looks(database):
    looks: list[float] = []
    stop = asyncio.Event()

    class Looked:
        async def tick(self, now):
            looks.append(time.monotonic())
            if len(looks) == 20:
                stop.set()
            return Tick(0, 0, 0, 0, None)

    async def flood(wake):
        while True:
            wake.set()
            await asyncio.sleep(0)

    loop = SchedulerLoop(database, Looked(), clock=clock)
    loop._listen = flood
    await loop.run(stop)
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert min(gaps) >= SHORTEST_SLEEP * 0.9


@pytest.fixture
def small_queue(tmp_path) -> Iterator[TestServer]:
    """A server whose queue of notifications holds half a megabyte."""
    for opening in range(2):
        server = EmbeddedPostgres.open(tmp_path / "small", durable=False)
        if opening == 0:
            with psycopg.connect(server.owner_url, autocommit=True) as conn:
                if conn.info.server_version < 170000:
                    pytest.skip("the queue of notifications has no setting before PostgreSQL 17")
                conn.execute("ALTER SYSTEM SET max_notify_queue_pages = 64")
            server.close()
    yield TestServer(server.owner_url, server.app_url)
    server.destroy()


async def test_full_queue_of_notifications_fails_no_insert_and_is_told_of(small_queue):
    with small_queue.database() as name:
        await migrate(small_queue.owner_of(name))
        connect = psycopg.AsyncConnection.connect
        async with (
            Database(small_queue.owner_of(name)).opened() as database,
            await connect(small_queue.owner_of("postgres"), autocommit=True) as listener,
            await connect(small_queue.owner_of(name), autocommit=True) as owner,
        ):
            async with database.connection() as conn:
                assert await notification_queue_problem(conn) is None
            await listener.execute("LISTEN anything")
            await listener.execute("BEGIN")
            await listener.execute("SELECT 1")
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                for _ in range(200):
                    await owner.execute("SELECT pg_notify('x', repeat('x', 7900))")
            assert not await database.hears_notifications()
            async with database.connection() as conn:
                problem = await notification_queue_problem(conn)
            assert problem is not None
            assert problem.startswith("The queue of notifications is")
            person = await (
                await owner.execute("INSERT INTO auth.users (email) VALUES ('a') RETURNING id")
            ).fetchone()
            await owner.execute(
                "INSERT INTO agent_schedules (user_id, name, agent_name, every_seconds)"
                " VALUES (%s, 's', 'a', 60)",
                person,
            )
            await owner.execute(
                "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, 'a', 'manual')",
                person,
            )
            await owner.execute("UPDATE rota.limits SET open_to_all = true")
            assert await queue_runs(database) == 1
