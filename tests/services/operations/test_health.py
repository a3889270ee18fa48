"""A dead scheduler is an alarm; a healthy one pings."""

from __future__ import annotations

import asyncio
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations.health import DeadMansSwitch, SchedulerWatch
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.store.operations import processes
from tests.services.harness import clock


class Pinged(ThreadingHTTPServer):
    """Counts what is fetched, and answers with `status`."""

    def __init__(self):
        self.fetched: list[str] = []
        self.status = 200
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.fetched.append(self.path)
                self.send_response(server.status)
                self.end_headers()

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/ping/secret-id"


@pytest.fixture
def pinged():
    server = Pinged()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def report(workshop, kind, ticked_ago=None):
    async with workshop.database.connection() as conn:
        await processes.report(
            conn, uuid.uuid4(), kind=kind, host="h", pid=1, version="0", ticked_ago=ticked_ago
        )


def watch_of(workshop, *operators):
    notifications = NotificationService(workshop.database)
    return SchedulerWatch(
        workshop.database, IncidentService(workshop.database, notifications), operators=operators
    )


async def titles(workshop):
    return [row["title"] for row in await workshop.rows("notifications", "created_at")]


async def test_scheduler_that_is_alive_and_looks_at_nothing_is_an_alarm_once(workshop):
    await report(workshop, "scheduler", ticked_ago=300)
    watch = watch_of(workshop, workshop.user)

    for _ in range(5):
        await watch.check()

    assert await titles(workshop) == ["No scheduler is running"]
    assert "5 minutes" in (await workshop.row("notifications"))["body"]


async def test_many_workers_raise_one_alarm_and_one_all_clear(workshop):
    await report(workshop, "scheduler", ticked_ago=300)
    watches = [watch_of(workshop, workshop.user) for _ in range(4)]
    for _ in range(2):
        await asyncio.gather(*(watch.check() for watch in watches))

    await report(workshop, "scheduler", ticked_ago=1)
    for _ in range(2):
        await asyncio.gather(*(watch.check() for watch in watches))

    assert await titles(workshop) == ["No scheduler is running", "A scheduler is running again"]


async def test_each_of_several_operators_is_told_once(workshop, bob):
    await report(workshop, "scheduler", ticked_ago=300)
    watch = watch_of(workshop, workshop.user, bob)
    for _ in range(4):
        await watch.check()

    told = [row["user_id"] for row in await workshop.rows("notifications", "user_id")]
    assert told == sorted([workshop.user, bob])


async def test_machine_that_wakes_from_sleep_is_no_alarm(workshop):
    """Everybody has been silent for hours; the scheduler reports a moment after the worker."""
    await report(workshop, "scheduler", ticked_ago=3_600)
    watch = watch_of(workshop, workshop.user)
    await watch.check()
    await report(workshop, "scheduler", ticked_ago=0)
    await watch.check()

    assert await titles(workshop) == []


async def test_scheduler_that_never_was_is_an_alarm_after_a_minute(workshop):
    watch = watch_of(workshop, workshop.user)
    for _ in range(5):
        await watch.check()
    assert await titles(workshop) == []
    for _ in range(3):
        await watch.check()
    assert await titles(workshop) == ["No scheduler is running"]


async def test_overdue_fires_are_counted_in_the_alarm(workshop):
    await report(workshop, "scheduler", ticked_ago=300)
    await workshop.schedule()
    await workshop.owner.execute(
        "UPDATE agent_schedules SET next_fire_at = now() - interval '5 minutes'"
    )
    watch = watch_of(workshop, workshop.user)
    for _ in range(2):
        await watch.check()
    assert "1 fire is overdue." in (await workshop.row("notifications"))["body"]


async def test_running_scheduler_reports_that_it_looks_at_the_clock(workshop):
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)
    stop = asyncio.Event()
    running = asyncio.create_task(loop.run(stop))
    await report(workshop, "worker")
    async with asyncio.timeout(15):
        while not (
            (row := (await workshop.rows("rota.processes", "kind"))[0])["kind"] == "scheduler"
            and row["ticked_at"] is not None
        ):
            await asyncio.sleep(0.1)
    stop.set()
    await running
    assert [row["kind"] for row in await workshop.rows("rota.processes")] == ["worker"]


async def test_of_many_schedulers_one_pings_each_minute(workshop, pinged):
    await report(workshop, "worker")
    switches = [DeadMansSwitch(workshop.database, url=pinged.url) for _ in range(4)]

    answers = await asyncio.gather(*(switch.ping() for switch in switches))
    await asyncio.gather(*(switch.ping() for switch in switches))

    assert sorted(answers) == [False, False, False, True]
    assert pinged.fetched == ["/ping/secret-id"]
    await workshop.owner.execute("UPDATE rota.marks SET marked_at = now() - interval '1 minute'")
    await switches[0].ping()
    assert len(pinged.fetched) == 2


async def test_no_worker_no_ping(workshop, pinged):
    assert await DeadMansSwitch(workshop.database, url=pinged.url).ping() is False
    assert pinged.fetched == []


async def test_ping_that_fails_is_logged_once_without_its_secret(workshop, pinged, capsys):
    await report(workshop, "worker")
    pinged.status = 500
    switch = DeadMansSwitch(workshop.database, url=pinged.url)
    for _ in range(3):
        assert await switch.ping() is False
        await workshop.owner.execute("DELETE FROM rota.marks")
    logged = capsys.readouterr().out
    assert logged.count("dead_mans_switch_failed") == 1
    assert "secret-id" not in logged
    assert "127.0.0.1 answered 500" in logged


async def test_scheduler_that_has_not_looked_at_the_clock_does_not_ping(workshop, pinged):
    await report(workshop, "worker")
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)
    switch = DeadMansSwitch(workshop.database, url=pinged.url, is_awake=lambda: loop.is_awake)
    assert await switch.ping() is False
    assert pinged.fetched == []

    await loop.tick(1.0)

    assert await switch.ping() is True
    assert len(pinged.fetched) == 1
