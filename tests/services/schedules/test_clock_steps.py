"""The clock steps forward and back, and the machine sleeps: every fire time is there once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from rota.services.operations.scheduler_loop import LONGEST_SLEEP, SchedulerLoop

pytestmark = pytest.mark.long

START = datetime(2026, 3, 27, 22, tzinfo=UTC)  # two days before Berlin's clock jumps
RULES = [
    {"cron": "*/5 * * * *"},
    {"cron": "0 * * * *", "time_zone": "Europe/Berlin"},
    {"cron": "30 2 * * *", "time_zone": "Europe/Berlin"},
    {"every_seconds": 1_000, "anchor_at": START},
    {"cron": "*/20 * * * * *", "active_hours": "08:00-08:30"},
    {"cron": "*/10 * * * *", "jitter_seconds": 500},
    {"cron": "0 7 * * *", "time_zone": "America/New_York", "excluded_days": "2026-03-28"},
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("catch_up", ["latest", "all"])
async def test_every_fire_time_has_one_row_whatever_the_clock_does(workshop, seed, catch_up):
    steps = random.Random(seed)
    made = [
        await workshop.schedule(
            name=f"s{n}", plan_from=START, catch_up=catch_up, overlap_policy="allow_all", **rule
        )
        for n, rule in enumerate(RULES)
    ]
    scheduler = workshop.scheduler(ahead=0)
    now = latest = START
    await scheduler.tick(now)
    while latest < START + timedelta(days=2):
        match steps.randrange(6):
            case 0:
                now += timedelta(hours=steps.uniform(1, 9))  # the laptop was asleep
            case 1:
                now -= timedelta(minutes=steps.uniform(0, 90))  # the clock was set back
            case _:
                now += timedelta(seconds=steps.uniform(1, 900))
        latest = max(latest, now)
        await scheduler.tick(now)
    await scheduler.tick(latest)

    rows = await workshop.rows("schedule_occurrences", "fire_time")
    runs = await workshop.rows("agent_runs")
    total = 0
    for schedule in made:
        current = await workshop.fetch(schedule.id)
        times = [
            time
            for time in schedule.timing.rule().fires_between(START, latest, limit=100_000)
            if time < current.next_fire_time
        ]
        seen: list[datetime] = []
        for row in (row for row in rows if row["schedule_id"] == schedule.id):
            last = row["last_fire_time"] or row["fire_time"]
            inside = [time for time in times if row["fire_time"] <= time <= last]
            assert row["fire_count"] in {None, len(inside)}
            seen += inside
        assert sorted(seen) == times
        fired = {
            row["fire_time"]
            for row in rows
            if row["schedule_id"] == schedule.id and row["outcome"] == "fired"
        }
        assert sorted(fired) == sorted(
            run["fire_time"] for run in runs if run["schedule_id"] == schedule.id
        )
        total += len(times)
    assert total > 2_000


async def test_scheduler_looks_at_the_wall_clock_again_however_far_the_next_fire_is(workshop):
    clock = [START]
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=lambda: clock[0])
    await workshop.schedule(cron="0 7 * * *", plan_from=START)
    assert await loop.tick(LONGEST_SLEEP) == LONGEST_SLEEP

    clock[0] = START + timedelta(hours=9, minutes=20)  # it slept through the fire
    await loop.tick(LONGEST_SLEEP)

    assert (await workshop.row("agent_runs"))["trigger"] == "catch_up"


AHEAD = timedelta(days=400)
PLAIN = [
    {"cron": "*/5 * * * *"},
    {"cron": "0 7 * * *", "time_zone": "Europe/Berlin"},
    {"every_seconds": 1_000, "anchor_at": START},
    {"cron": "*/10 * * * *", "jitter_seconds": 500},
    {"cron": "0 9 1 1 *"},
    {"cron": "0 * * * *", "ends_at": START + timedelta(days=30)},
    {"instants": [START + timedelta(hours=5), START + timedelta(days=3)]},
]


@pytest.mark.parametrize("catch_up", ["latest", "all"])
async def test_clock_that_was_far_ahead_for_one_look_leaves_the_right_fire_times(
    workshop, catch_up
):
    """400 days ahead at 22:12, for forty seconds; also of one scheduler among several."""
    made = [
        await workshop.schedule(
            name=f"s{n}", plan_from=START, catch_up=catch_up, overlap_policy="allow_all", **rule
        )
        for n, rule in enumerate(PLAIN)
    ]
    right, wrong = workshop.scheduler(ahead=0), workshop.scheduler(ahead=0)
    await right.tick(START)
    for minutes in range(1, 13):
        await right.tick(START + timedelta(minutes=minutes))
    at = START + timedelta(minutes=12)

    await wrong.tick(at + AHEAD)
    await right.tick(at + timedelta(seconds=40))

    for schedule in made:
        current = await workshop.fetch(schedule.id)
        if not schedule.timing.jitter:  # the one at 22:10 may be delayed yet
            following = schedule.timing.rule().next_after(at + timedelta(seconds=40))
            assert current.next_fire_time == following
        assert current.state == "active"
    now = at
    while now < START + timedelta(days=1):
        now += timedelta(minutes=1)
        await right.tick(now)
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    for schedule in made:
        own = [r for r in rows if r["schedule_id"] == schedule.id and r["fire_time"] <= now]
        current = await workshop.fetch(schedule.id)
        times = [
            time
            for time in schedule.timing.rule().fires_between(START, now, limit=100_000)
            if current.next_fire_time is None or time < current.next_fire_time
        ]
        assert [(row["fire_time"], row["outcome"]) for row in own] == [(t, "fired") for t in times]
    runs = [(run["schedule_id"], run["fire_time"]) for run in await workshop.rows("agent_runs")]
    assert len(runs) == len(set(runs))


async def test_fire_that_came_while_the_clock_was_wrong_fires_late(workshop):
    schedule = await workshop.schedule(
        cron="*/5 * * * *", plan_from=START, overlap_policy="allow_all"
    )
    scheduler = workshop.scheduler()
    await scheduler.tick(START)

    await scheduler.tick(START + timedelta(minutes=4, seconds=50) + AHEAD)
    await scheduler.tick(START + timedelta(minutes=5, seconds=30))

    fired = START + timedelta(minutes=5)
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    assert [(r["fire_time"], r["outcome"]) for r in rows if r["fire_time"] < START + AHEAD] == [
        (fired, "fired")
    ]
    assert (await workshop.fetch(schedule.id)).next_fire_time == fired + timedelta(minutes=5)


async def test_clock_that_steps_back_by_less_than_a_minute_plans_nothing_anew(workshop):
    await workshop.schedule(cron="*/5 * * * *", plan_from=START)
    scheduler = workshop.scheduler()
    await scheduler.tick(START + timedelta(seconds=59))

    assert (await scheduler.tick(START)).planned == 0
