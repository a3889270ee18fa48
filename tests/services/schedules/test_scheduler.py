"""What a look at the clock leads to. Every test passes the time in; none waits for it."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.rig.server import lift_quotas
from tests.services.harness import ANSWER

MONDAY_7 = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def scheduler(workshop):
    return workshop.scheduler()


async def test_new_schedule_is_planned_from_now_and_fires_nothing(workshop, scheduler):
    await workshop.schedule()

    tick = await scheduler.tick(MONDAY_7 - HOUR)

    assert (tick.planned, tick.fired) == (1, 0)
    assert tick.next_fire_at == MONDAY_7
    assert (await workshop.row("agent_schedules"))["next_fire_at"] == MONDAY_7


async def test_due_schedule_fires_once_and_moves_on(workshop, scheduler):
    schedule = await workshop.due(MONDAY_7)

    ticks = [await scheduler.tick(MONDAY_7), await scheduler.tick(MONDAY_7 + MINUTE)]

    assert [t.fired for t in ticks] == [1, 0]
    occurrence = await workshop.row("schedule_occurrences")
    assert (occurrence["outcome"], occurrence["fire_time"]) == ("fired", MONDAY_7)
    run = await workshop.row("agent_runs")
    assert (run["status"], run["trigger"]) == ("queued", "schedule")
    assert run["schedule_id"] == schedule.id
    assert (await workshop.row("agent_schedules"))["next_fire_at"] == MONDAY_7 + DAY


async def test_fire_within_the_catch_up_window_runs_late_and_says_so(workshop, scheduler):
    await workshop.due(MONDAY_7)

    await scheduler.tick(MONDAY_7 + timedelta(minutes=59))

    occurrence = await workshop.row("schedule_occurrences")
    assert occurrence["outcome"] == "fired"
    assert "catch-up" in occurrence["reason"]
    assert (await workshop.row("agent_runs"))["trigger"] == "catch_up"


async def test_fire_older_than_the_window_is_missed_and_runs_nothing(workshop, scheduler):
    await workshop.due(MONDAY_7)

    tick = await scheduler.tick(MONDAY_7 + timedelta(minutes=61))

    assert (tick.fired, tick.missed) == (0, 1)
    occurrence = await workshop.row("schedule_occurrences")
    assert (occurrence["outcome"], occurrence["run_id"]) == ("missed", None)
    assert "catch-up window" in occurrence["reason"]
    assert await workshop.rows("agent_runs") == []
    assert (await workshop.row("agent_schedules"))["next_fire_at"] == MONDAY_7 + DAY


async def test_only_the_latest_of_many_missed_fires_runs(workshop, scheduler):
    await workshop.due(MONDAY_7, cron="*/10 * * * *")

    tick = await scheduler.tick(MONDAY_7 + timedelta(minutes=35))

    assert (tick.fired, tick.missed) == (1, 3)
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    assert [(r["outcome"], r["fire_time"]) for r in rows] == [
        ("missed", MONDAY_7),
        ("missed", MONDAY_7 + 10 * MINUTE),
        ("missed", MONDAY_7 + 20 * MINUTE),
        ("fired", MONDAY_7 + 30 * MINUTE),
    ]


async def test_over_a_thousand_missed_fires_become_one_range_row(workshop, scheduler):
    await workshop.due(MONDAY_7, cron="* * * * *")

    await scheduler.tick(MONDAY_7 + 365 * DAY)

    missed, fired = await workshop.rows("schedule_occurrences", "fire_time")
    assert (missed["outcome"], missed["fire_time"]) == ("missed", MONDAY_7)
    assert missed["fire_count"] is None
    assert missed["last_fire_time"] == MONDAY_7 + 365 * DAY - MINUTE
    assert (fired["outcome"], fired["fire_time"]) == ("fired", MONDAY_7 + 365 * DAY)


async def test_window_of_zero_runs_only_what_is_on_time(workshop, scheduler):
    await workshop.due(MONDAY_7, catch_up_window_seconds=0)

    tick = await scheduler.tick(MONDAY_7 + timedelta(seconds=6))

    assert (tick.fired, tick.missed) == (0, 1)


async def test_clock_that_steps_back_fires_nothing_twice(workshop, scheduler):
    await workshop.due(MONDAY_7)
    await scheduler.tick(MONDAY_7)
    await workshop.owner.execute("UPDATE agent_schedules SET next_fire_at = %s", [MONDAY_7])

    await scheduler.tick(MONDAY_7)  # the very fire time again

    assert len(await workshop.rows("agent_runs")) == 1
    assert len(await workshop.rows("schedule_occurrences")) == 1


async def test_paused_schedule_does_not_fire_and_resumes_in_the_future(workshop, scheduler):
    await workshop.due(MONDAY_7)
    await workshop.owner.execute("UPDATE agent_schedules SET is_active = false")
    assert (await scheduler.tick(MONDAY_7 + MINUTE)).fired == 0

    await workshop.owner.execute("UPDATE agent_schedules SET is_active = true")
    tick = await scheduler.tick(MONDAY_7 + HOUR)

    assert (tick.planned, tick.fired) == (1, 0)
    assert tick.next_fire_at == MONDAY_7 + DAY


async def test_changed_rule_never_fires_a_past_time(workshop, scheduler):
    await workshop.due(MONDAY_7 + HOUR)
    await workshop.owner.execute("UPDATE agent_schedules SET cron = '0 5 * * *'")

    tick = await scheduler.tick(MONDAY_7)

    assert tick.fired == 0
    assert tick.next_fire_at == MONDAY_7 + DAY - 2 * HOUR


async def test_schedule_follows_its_owners_time_zone(workshop, scheduler):
    await workshop.schedule()
    await scheduler.tick(MONDAY_7 - HOUR)

    await workshop.owner.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, 'America/New_York')",
        [workshop.user],
    )
    tick = await scheduler.tick(MONDAY_7 - HOUR)

    assert tick.next_fire_at == MONDAY_7 + 5 * HOUR


async def test_rule_that_cannot_be_read_pauses_and_tells_its_owner(workshop, scheduler):
    await workshop.schedule()
    await workshop.owner.execute("UPDATE agent_schedules SET cron = 'every morning'")

    await scheduler.tick(MONDAY_7)

    stored = await workshop.row("agent_schedules")
    assert stored["is_active"] is False
    assert stored["pause_note"]
    notification = await workshop.row("notifications")
    assert notification["category"] == "error"
    assert stored["pause_note"] in notification["body"]


async def test_many_schedulers_at_once_fire_each_time_once(workshop, scheduler):
    await workshop.agent(ANSWER)
    for number in range(60):
        await workshop.schedule(name=f"s{number}")
    await workshop.owner.execute("UPDATE agent_schedules SET next_fire_at = %s", [MONDAY_7])
    rivals = [workshop.scheduler() for _ in range(5)]

    ticks = await asyncio.gather(*(rival.tick(MONDAY_7) for rival in rivals))

    assert sum(t.fired for t in ticks) == 60
    assert len(await workshop.rows("agent_runs")) == 60
    assert len({r["schedule_id"] for r in await workshop.rows("schedule_occurrences")}) == 60


async def test_admission_is_round_robin_by_user(workshop, bob):
    scheduler = workshop.scheduler(ahead=4)
    for user, count in ((workshop.user, 10), (bob, 2)):
        for _ in range(count):
            await workshop.owner.execute(
                "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, 'a', 'manual')",
                [user],
            )

    tick = await scheduler.tick(MONDAY_7)

    assert tick.admitted == 4
    assert tick.runs_waiting
    queued = [r["user_id"] for r in await workshop.rows("agent_runs") if r["status"] == "queued"]
    assert sorted(queued.count(user) for user in (workshop.user, bob)) == [2, 2]
    jobs = await workshop.rows("rota.pgqueuer", "id")
    assert len(jobs) == 4
    by_run = {r["id"]: r["user_id"] for r in await workshop.rows("agent_runs")}
    order = [str(by_run[_run_of(job)]) for job in jobs]
    assert all(a != b for a, b in itertools.pairwise(order))


def _run_of(job):
    import uuid

    return uuid.UUID(bytes(job["payload"]).decode())


async def test_queued_run_whose_job_was_lost_is_queued_again(workshop, scheduler):
    from rota.engine.admission import requeue_lost

    await workshop.due(MONDAY_7)
    await scheduler.tick(MONDAY_7)
    await workshop.owner.execute("DELETE FROM rota.pgqueuer")
    await workshop.owner.execute("UPDATE agent_runs SET queued_at = now() - interval '5 minutes'")

    async with workshop.database.transaction() as conn:
        first = await requeue_lost(conn, older_than_seconds=60)
        second = await requeue_lost(conn, older_than_seconds=60)

    assert (first, second) == (1, 0)
    assert len(await workshop.rows("rota.pgqueuer")) == 1


async def test_one_schedule_that_cannot_be_worked_out_stops_no_other(
    workshop, scheduler, monkeypatch
):
    """Whatever goes wrong in the arithmetic of one rule."""
    from rota.domain.schedules.timing import Timing

    await workshop.due(MONDAY_7, name="bad", active_days="mon")
    await workshop.due(MONDAY_7, name="good")
    monkeypatch.setattr(Timing, "rule", _raising_for_bad(Timing.rule))

    tick = await scheduler.tick(MONDAY_7)

    assert tick.fired == 1
    bad, good = await workshop.rows("agent_schedules", "name")
    assert (bad["is_active"], good["is_active"]) == (False, True)
    assert "cannot be worked out (OverflowError)" in bad["pause_note"]


def _raising_for_bad(original):
    def rule(timing):
        if timing.active_days == "mon":
            raise OverflowError
        return original(timing)

    return rule


async def test_schedule_that_somebody_has_locked_is_not_asked_for_without_pause(workshop):
    from rota.services.operations.scheduler_loop import LOCKED_SLEEP, SchedulerLoop

    await workshop.due(MONDAY_7)
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=lambda: MONDAY_7)
    async with workshop.owner.transaction():
        await workshop.owner.execute("SELECT FROM agent_schedules FOR UPDATE")
        assert await loop.tick(15.0) == LOCKED_SLEEP
    assert await loop.tick(15.0) == 15.0
    assert len(await workshop.rows("agent_runs")) == 1


async def test_more_fires_than_one_look_takes_all_run_where_all_are_wanted(
    workshop, owner_url, scheduler
):
    lift_quotas(owner_url)
    await workshop.due(
        MONDAY_7, cron="*/20 * * * * *", catch_up="all", catch_up_window_seconds=86_400 * 5
    )
    now = MONDAY_7 + 3 * DAY

    while (tick := await scheduler.tick(now)).next_fire_at <= now:
        assert tick.fired

    runs = await workshop.rows("agent_runs")
    assert len(runs) == len({run["fire_time"] for run in runs}) == 3 * 86_400 // 20 + 1
    assert {row["outcome"] for row in await workshop.rows("schedule_occurrences")} == {"fired"}
