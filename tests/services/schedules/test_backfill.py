"""Backfill: past fire times that have not run, run in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.overlap import OverlapPolicy
from rota.services.schedules.service import ScheduleService
from tests.services.harness import clock

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def schedules(workshop):
    return ScheduleService(workshop.database, clock=clock)


async def occurrence(workshop, schedule, time, outcome, **columns):
    await workshop.owner.execute(
        "INSERT INTO schedule_occurrences (schedule_id, fire_time, user_id, outcome, reason,"
        " last_fire_time, fire_count) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [
            schedule.id,
            time,
            workshop.user,
            outcome,
            columns.get("reason", ""),
            columns.get("last"),
            columns.get("count", 1),
        ],
    )


async def backfill(workshop, schedules, start="2026-03-02", end="2026-03-05 12:00", **options):
    found = await schedules.backfill(workshop.user, "morning", start, end, **options)
    return found.fire_times, found.runs


async def test_backfill_runs_what_has_not_run_and_says_what_it_was(workshop, schedules):
    schedule = await workshop.schedule()
    await occurrence(workshop, schedule, MONDAY_7, "fired")
    await occurrence(workshop, schedule, MONDAY_7 + DAY, "missed", reason="nobody was there")

    times, runs = await backfill(workshop, schedules)

    assert (len(times), len(runs)) == (4, 3)
    rows = await workshop.rows("agent_runs", "fire_time")
    assert [row["fire_time"] for row in rows] == [MONDAY_7 + day * DAY for day in (1, 2, 3)]
    assert {row["trigger"] for row in rows} == {"backfill"}
    assert {row["is_serial"] for row in rows} == {True}
    occurrences = await workshop.rows("schedule_occurrences", "fire_time")
    assert [row["reason"] for row in occurrences] == [
        "",
        "backfilled; it was missed before: nobody was there",
        "backfilled",
        "backfilled",
    ]
    assert {row["outcome"] for row in occurrences} == {"fired"}


async def test_second_backfill_of_the_same_range_runs_nothing(workshop, schedules):
    await workshop.schedule()
    await backfill(workshop, schedules)

    _, runs = await backfill(workshop, schedules)

    assert runs == ()
    assert len(await workshop.rows("agent_runs")) == 4


async def test_backfilled_runs_wait_for_each_other_and_behind_others(workshop, schedules):
    await workshop.schedule()
    await backfill(workshop, schedules)

    await workshop.scheduler().tick(clock())

    rows = await workshop.rows("agent_runs", "fire_time")
    assert [row["status"] for row in rows] == ["queued", "waiting", "waiting", "waiting"]
    assert {row["priority"] for row in rows} == {-10}


async def test_backfill_may_run_side_by_side(workshop, schedules):
    await workshop.schedule()
    await backfill(workshop, schedules, overlap=OverlapPolicy.ALLOW_ALL)

    await workshop.scheduler().tick(clock())

    assert {row["status"] for row in await workshop.rows("agent_runs")} == {"queued"}


async def test_backfill_leaves_days_off_out(workshop, schedules):
    await workshop.schedule(excluded_days="2026-03-03..2026-03-04")

    times, _ = await backfill(workshop, schedules)

    assert times == (MONDAY_7, MONDAY_7 + 3 * DAY)


async def test_backfill_into_a_range_of_missed_fires_keeps_the_rest_of_the_range(
    workshop, schedules
):
    schedule = await workshop.schedule()
    await occurrence(
        workshop, schedule, MONDAY_7, "missed", last=MONDAY_7 + 3_000 * DAY, count=None
    )

    _, runs = await backfill(workshop, schedules, end="2026-03-02 12:00")

    assert len(runs) == 1
    fired, missed = await workshop.rows("schedule_occurrences", "fire_time")
    assert (fired["outcome"], fired["fire_time"]) == ("fired", MONDAY_7)
    assert missed["outcome"] == "missed"
    assert missed["last_fire_time"] == MONDAY_7 + 3_000 * DAY


@pytest.mark.parametrize(
    ("start", "end"), [("2026-03-05", "2026-03-02"), ("2026-03-02", "2099-01-01")]
)
async def test_range_that_cannot_be_meant_is_refused(workshop, schedules, start, end):
    await workshop.schedule()
    with pytest.raises(InvalidInputError, match="ends in the past"):
        await backfill(workshop, schedules, start, end)


async def test_more_than_a_thousand_are_refused(workshop, schedules):
    await workshop.schedule(cron="* * * * *")
    with pytest.raises(InvalidInputError, match="more than 1000"):
        await backfill(workshop, schedules)


async def test_person_past_our_service_cannot_backfill_the_future(workshop):
    schedule = await workshop.schedule()
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        async with workshop.database.acting_as(workshop.user) as conn:
            await conn.execute(
                "SELECT request_backfill(%s, ARRAY[now() + interval '1 hour'])", [schedule.id]
            )


async def test_backfill_under_way_does_not_skip_the_present(workshop, schedules):
    await workshop.schedule()
    await backfill(workshop, schedules)
    scheduler = workshop.scheduler()
    await scheduler.tick(clock())
    await workshop.owner.execute("UPDATE agent_runs SET status = 'running' WHERE status = 'queued'")
    today = clock().replace(microsecond=0)
    await workshop.owner.execute("UPDATE agent_schedules SET next_fire_at = %s", [today])

    assert (await scheduler.tick(today)).fired == 1
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'finished' WHERE status = 'running'"
    )
    await scheduler.tick(today)

    queued = [run for run in await workshop.rows("agent_runs") if run["status"] == "queued"]
    assert [run["fire_time"] for run in queued] == [today]  # before the rest of the backfill


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("2026-03-02", "2026-03-03", 2),
        ("2026-03-02", "2026-03-02", 1),
        ("2026-03-02", "2026-03-03 06:59", 1),
        ("yesterday", "yesterday", 1),
    ],
)
async def test_a_last_day_is_meant_as_a_whole(workshop, schedules, start, end, count):
    await workshop.schedule()
    times, _ = await backfill(workshop, schedules, start=start, end=end)
    assert len(times) == count


async def test_today_is_meant_as_far_as_it_is_over_and_tomorrow_is_refused(workshop):
    await workshop.schedule()
    now = datetime(2026, 3, 3, 7, 30, tzinfo=UTC)
    schedules = ScheduleService(workshop.database, clock=lambda: now)
    for end in ("today", "2026-03-03"):
        times, _ = await backfill(workshop, schedules, end=end, dry_run=True)
        assert times == (MONDAY_7, MONDAY_7 + DAY)
    with pytest.raises(InvalidInputError, match="ends in the past"):
        await backfill(workshop, schedules, end="tomorrow")
