"""Faults of other schedulers that concern firing, by their issues; rota is to be immune to each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rota.engine.admission import requeue_lost
from rota.engine.queue import QueueWorker
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations.health import SchedulerWatch
from tests.services.harness import ANSWER
from tests.services.running import fetch_run

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


async def fired(workshop):
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    return [row["fire_time"] for row in rows if row["outcome"] == "fired"]


async def finish(workshop):
    """Execute whatever is queued, as a worker would."""
    for row in await workshop.rows("agent_runs", "created_at"):
        if row["status"] != "finished":
            async with workshop.database.connection() as conn:
                run = await fetch_run(conn, row["id"])
            schedule = await workshop.fetch(row["schedule_id"])
            await workshop.service().execute(schedule, run)


async def test_restart_does_not_run_finished_jobs_again(workshop):
    """openclaw#42640."""
    await workshop.agent(ANSWER)
    await workshop.due(MONDAY_7)
    await workshop.scheduler().tick(MONDAY_7)
    await finish(workshop)

    for _ in range(3):  # each a process that has just started
        await workshop.scheduler().tick(MONDAY_7 + SECOND)
        async with workshop.database.transaction() as conn:
            assert await requeue_lost(conn, older_than_seconds=0) == 0

    assert len(await workshop.rows("agent_execution_results")) == 1
    assert await fired(workshop) == [MONDAY_7]


async def test_short_restart_over_the_fire_time_runs_it_late_and_leaves_a_trace(workshop):
    """openclaw#33092: the 8:30 brief is skipped without a trace."""
    await workshop.due(MONDAY_7)
    await workshop.scheduler().tick(MONDAY_7 - 10 * SECOND)

    await workshop.scheduler().tick(MONDAY_7 + 40 * SECOND)  # back from the restart

    row = await workshop.row("schedule_occurrences")
    assert (row["outcome"], row["fire_time"]) == ("fired", MONDAY_7)
    assert row["reason"].startswith("late")


async def test_interval_keeps_its_anchor_over_restarts(workshop):
    """openclaw#6924: the interval begins anew with each restart."""
    await workshop.schedule(
        every_seconds=3_600, anchor_at=MONDAY_7, plan_from=MONDAY_7, overlap_policy="allow_all"
    )
    now = MONDAY_7
    while now <= MONDAY_7 + 3 * HOUR:
        await workshop.scheduler().tick(now)  # restarted every 25 minutes
        now += 25 * MINUTE

    assert await fired(workshop) == [MONDAY_7 + HOUR, MONDAY_7 + 2 * HOUR]


async def test_ticker_that_is_dead_in_a_process_that_lives_is_noticed(workshop):
    """hermes#60703: the gateway says "running"."""
    await workshop.owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version, seen_at, ticked_at) VALUES"
        " (gen_random_uuid(), 'scheduler', 'h', 1, '0', now(), now() - interval '5 minutes')"
    )
    incidents = IncidentService(workshop.database, NotificationService(workshop.database))
    watch = SchedulerWatch(workshop.database, incidents, operators=[workshop.user])

    await watch.check()
    await watch.check()

    assert (await workshop.row("notifications"))["title"] == "No scheduler is running"


async def test_two_nodes_fire_once(workshop):
    """n8n#7045."""
    for number in range(30):
        await workshop.due(MONDAY_7, name=f"s{number}", cron="*/10 * * * *")
    nodes = [workshop.scheduler() for _ in range(2)]

    for minute in range(0, 40, 10):
        now = MONDAY_7 + minute * MINUTE
        await asyncio.gather(*(node.tick(now) for node in nodes))
        await workshop.owner.execute("UPDATE agent_runs SET status = 'running' WHERE attempt = 0")
        await workshop.owner.execute("UPDATE agent_runs SET status = 'finished', attempt = 1")
    for node in nodes:  # rows that were locked in the last round
        await node.tick(MONDAY_7 + 30 * MINUTE)

    runs = await workshop.rows("agent_runs")
    assert len({(run["schedule_id"], run["fire_time"]) for run in runs}) == len(runs) == 120


async def test_daily_job_fires_once_a_day_after_its_first_run(workshop):
    """dify#30217: it fires every minute after its first run."""
    await workshop.due(MONDAY_7, overlap_policy="allow_all")
    scheduler = workshop.scheduler()

    for minute in range(-10, 60 * 26, 5):
        await scheduler.tick(MONDAY_7 + minute * MINUTE)

    assert await fired(workshop) == [MONDAY_7, MONDAY_7 + DAY]


@pytest.mark.parametrize(
    ("cron", "change", "expected"),
    [
        ("30 2 * * *", datetime(2026, 3, 29), ["28 02:30", "29 03:00", "30 02:30"]),
        ("30 2 * * *", datetime(2026, 10, 25), ["24 02:30", "25 02:30", "26 02:30"]),
        ("0 3 * * *", datetime(2026, 3, 29), ["28 03:00", "29 03:00", "30 03:00"]),
        ("0 9 * * *", datetime(2026, 10, 25), ["24 09:00", "25 09:00", "26 09:00"]),
    ],
)
async def test_change_of_the_clock_neither_doubles_nor_skips_a_day(
    workshop, cron, change, expected
):
    """agent-os#2472, celery#6438."""
    start = (change - DAY).replace(tzinfo=BERLIN)
    await workshop.schedule(
        cron=cron, time_zone="Europe/Berlin", plan_from=start, overlap_policy="allow_all"
    )
    scheduler = workshop.scheduler()

    now = start.astimezone(UTC)
    while now < start + 3 * DAY:
        await scheduler.tick(now)
        now += 10 * MINUTE

    local = [f"{time.astimezone(BERLIN):%d %H:%M}" for time in await fired(workshop)]
    assert local == expected


@pytest.mark.parametrize("late", [0.2, 1.5, 4.9])
async def test_fire_that_is_late_by_seconds_is_not_dropped(workshop, late):
    """apscheduler#296: a grace of one second."""
    await workshop.due(MONDAY_7, catch_up_window_seconds=0)

    await workshop.scheduler().tick(MONDAY_7 + timedelta(seconds=late))

    run = await workshop.row("agent_runs")
    assert (run["fire_time"], run["trigger"]) == (MONDAY_7, "schedule")


async def test_any_number_of_missed_starts_lets_the_schedule_go_on(workshop):
    """kubernetes#42649: more than a hundred missed starts halt the job."""
    await workshop.due(MONDAY_7, cron="* * * * *")

    tick = await workshop.scheduler().tick(MONDAY_7 + 100 * DAY)

    assert tick.fired == 1
    assert tick.next_fire_at == MONDAY_7 + 100 * DAY + MINUTE


async def test_run_whose_worker_vanished_does_not_block_its_schedule_for_ever(workshop):
    """openclaw#68157: "already running" until somebody edits a file."""
    await workshop.agent(ANSWER)
    await workshop.due(MONDAY_7)
    scheduler = workshop.scheduler()
    await scheduler.tick(MONDAY_7)
    await workshop.owner.execute("UPDATE agent_runs SET status = 'running', started_at = now()")
    await workshop.owner.execute("DELETE FROM rota.pgqueuer")  # and its job with it
    await workshop.owner.execute("UPDATE agent_runs SET queued_at = now() - interval '2 minutes'")

    async with workshop.database.transaction() as conn:
        assert await requeue_lost(conn, older_than_seconds=60) == 1
    await finish(workshop)
    await scheduler.tick(MONDAY_7 + DAY)

    assert await fired(workshop) == [MONDAY_7, MONDAY_7 + DAY]


async def test_long_run_is_not_claimed_again_while_its_worker_lives(workshop):
    """Agno: the lock goes stale in a run longer than its timeout, and it is claimed again."""
    await workshop.due(MONDAY_7)
    await workshop.scheduler().tick(MONDAY_7)
    taken: list[str] = []
    stop = asyncio.Event()

    async def handle(run_id):
        taken.append(run_id)
        await asyncio.sleep(5)

    lease = SECOND
    workers = [QueueWorker(workshop.database, concurrency=2, lease=lease) for _ in range(2)]
    tasks = [asyncio.create_task(worker.run(handle, stop)) for worker in workers]
    await asyncio.sleep(6)
    stop.set()
    await asyncio.gather(*tasks)

    assert len(taken) == 1


async def test_suppressed_night_sends_no_failure_notice(workshop):
    """openclaw#73556: false failure notices."""
    evening = MONDAY_7 + 11 * HOUR
    await workshop.due(evening, cron="*/5 * * * *", active_hours="08:00-18:00")

    await workshop.scheduler().tick(evening + 13 * HOUR)  # the laptop slept

    assert await workshop.rows("notifications") == []
    assert {row["outcome"] for row in await workshop.rows("schedule_occurrences")} == {"suppressed"}
