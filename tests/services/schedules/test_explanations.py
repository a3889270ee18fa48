"""`why`: what became of a time, or why nothing did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rota.services.schedules.explanations import ExplanationService
from rota.services.schedules.service import ScheduleService
from tests.services.harness import PAST

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def ask(workshop):
    def clock():
        return NOW

    service = ExplanationService(
        workshop.database, ScheduleService(workshop.database, clock=clock), clock=clock
    )

    async def why(at, name="morning"):
        return await service.why(workshop.user, name, at)

    return why


async def old(workshop, **columns):
    """A schedule that is as old as the calendar of these tests."""
    return await workshop.schedule(created_at=PAST, plan_from=PAST, **columns)


async def test_fired_time_names_its_run_and_how_it_ended(workshop, ask):
    await old(workshop, next_fire_at=MONDAY_7)
    await workshop.scheduler().tick(MONDAY_7)

    found = await ask("2026-03-02 07:00")

    run = await workshop.row("agent_runs")
    assert found.verdict == "fired"
    assert found.occurrence.run_id == run["id"]
    assert found.why == ("Its run is queued: no worker has taken it yet.",)
    assert (found.previous_fire, found.next_fire) == (MONDAY_7 - DAY, MONDAY_7 + DAY)


@pytest.mark.parametrize(
    ("columns", "verdict", "reason"),
    [
        ({"excluded_days": "2026-03-02"}, "suppressed", "2026-03-02 is a day off"),
        ({"active_hours": "08:00-09:00"}, "suppressed", "07:00 is outside the active hours"),
        ({"catch_up_window_seconds": 60}, "missed", "Missed while no scheduler was running"),
    ],
)
async def test_time_without_a_run_gives_the_reason_of_its_row(
    workshop, ask, columns, verdict, reason
):
    await old(workshop, next_fire_at=MONDAY_7, **columns)
    await workshop.scheduler().tick(MONDAY_7 + timedelta(minutes=5))

    found = await ask("2026-03-02 07:00")

    assert found.verdict == verdict
    assert found.why[0].startswith(reason)


async def test_skipped_time_names_what_was_under_way(workshop, ask):
    await old(workshop, next_fire_at=MONDAY_7)
    await workshop.scheduler().tick(MONDAY_7)
    await workshop.scheduler().tick(MONDAY_7 + DAY)

    found = await ask("2026-03-03 07:00")

    assert found.verdict == "skipped"
    assert "2026-03-02 07:00:00 UTC was still under way" in found.why[0]


async def test_time_within_a_range_row_is_found(workshop, ask):
    await old(workshop, next_fire_at=datetime(2026, 2, 1, tzinfo=UTC), cron="* * * * *")
    await workshop.scheduler().tick(NOW)

    found = await ask("2026-02-10 10:17")

    assert found.verdict == "missed"
    assert found.why[0].startswith("One of more than a thousand fire times from 2026-02-01")


async def test_time_that_the_rule_does_not_name(workshop, ask):
    await old(workshop)
    found = await ask("2026-03-02 07:30")
    assert found.verdict == "not_a_fire_time"
    assert "At 07:00" in found.why[0]
    assert (found.previous_fire, found.next_fire) == (MONDAY_7, MONDAY_7 + DAY)


async def test_time_before_the_schedule_was_made(workshop, ask):
    await workshop.schedule(created_at=MONDAY_7 + DAY, plan_from=MONDAY_7 + DAY)
    assert (await ask("2026-03-02 07:00")).verdict == "did_not_exist"


async def test_time_to_come_and_time_to_come_on_a_day_off(workshop, ask):
    await old(workshop, excluded_days="2026-03-08", next_fire_at=MONDAY_7 + 4 * DAY)
    coming = await ask("2026-03-06 07:00")
    assert (coming.verdict, coming.why) == ("upcoming", ("It will fire in 19 hours.",))
    assert (await ask("2026-03-08 07:00")).verdict == "suppressed"


async def test_due_time_that_nobody_took_says_what_to_start(workshop, ask):
    await old(workshop, next_fire_at=MONDAY_7 + 3 * DAY)
    found = await ask("07:00")
    assert found.verdict == "overdue"
    assert "rota scheduler" in found.why[1]


async def test_paused_schedule_says_since_when_and_why(workshop, ask):
    await old(workshop)
    await workshop.owner.execute(
        "UPDATE agent_schedules SET is_active = false, pause_note = 'on holiday'"
    )
    await workshop.owner.execute("DELETE FROM schedule_changes")  # paused all along

    found = await ask("2026-03-02 07:00")

    assert found.verdict == "paused"
    assert found.why[0].endswith(": on holiday.")


async def test_rule_that_held_then_is_the_one_that_counts(workshop, ask):
    await old(workshop)
    await workshop.owner.execute("UPDATE agent_schedules SET cron = '0 9 * * *'")

    then = await ask("2026-03-02 07:00")

    assert then.verdict == "overdue"  # by the rule of that day it was a fire time
    assert "The schedule was changed since" in then.why[-1]
    assert (await ask("2026-03-02 09:00")).verdict == "not_a_fire_time"


async def test_completed_schedule_says_why_it_ended(workshop, ask):
    await old(workshop, next_fire_at=MONDAY_7, max_runs=1)
    await workshop.scheduler().tick(MONDAY_7)
    await workshop.owner.execute("UPDATE agent_schedules SET completed_at = %s", [MONDAY_7])

    found = await ask("2026-03-03 07:00")

    assert found.verdict == "ended"
    assert found.why == ("It had run once, which is its limit.",)


async def test_time_is_read_in_the_schedules_zone(workshop, ask):
    await old(workshop, time_zone="America/New_York", next_fire_at=MONDAY_7 + timedelta(hours=5))
    await workshop.scheduler().tick(MONDAY_7 + timedelta(hours=5))
    assert (await ask("2026-03-02 07:00")).verdict == "fired"


async def test_fire_times_around_that_have_no_run_say_why(workshop, ask):
    await old(workshop, excluded_days="2026-03-02,2026-03-07", next_fire_at=MONDAY_7)
    await workshop.scheduler().tick(MONDAY_7)

    found = await ask("2026-03-03 07:00")
    assert found.previous_fire == MONDAY_7
    assert found.previous_without_run == "2026-03-02 is a day off by its own exclusions."
    assert found.next_without_run is None

    ahead = await ask("2026-03-06 07:00")
    assert ahead.next_fire == MONDAY_7 + 5 * DAY
    assert (
        ahead.next_without_run == "It will not fire: 2026-03-07 is a day off by its own exclusions."
    )
    assert ahead.previous_without_run is None


async def test_fire_times_around_in_a_pause_of_everything_say_so(workshop, ask):
    await old(workshop, next_fire_at=NOW + DAY)
    await workshop.owner.execute(
        "INSERT INTO pauses (user_id, starts_at, ends_at, note) VALUES (%s, %s, %s, 'fair')",
        [workshop.user, NOW - DAY, NOW + 3 * DAY],
    )

    found = await ask("2026-03-09 07:00")

    assert found.verdict == "upcoming"
    assert "fair" in found.previous_without_run
    assert found.next_without_run is None
