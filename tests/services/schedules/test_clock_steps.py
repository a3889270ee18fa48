"""The clock steps forward and back, and the machine sleeps: every fire time is there once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from rota.services.operations.scheduler_loop import LONGEST_SLEEP, SchedulerLoop

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
