"""Limits and policies of a schedule, as rows show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rota.domain.runs.run import Trigger
from tests.services.harness import ANSWER, PAST, Workshop
from tests.services.running import make_run

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def scheduler(workshop):
    return workshop.scheduler()


async def only(workshop):
    return await workshop.row("agent_schedules")


async def test_schedule_completes_after_its_number_of_runs(workshop, scheduler):
    await workshop.due(MONDAY_7, max_runs=2, overlap_policy="allow_all")

    for day in range(4):
        await scheduler.tick(MONDAY_7 + day * DAY)

    assert len(await workshop.rows("agent_runs")) == 2
    row = await only(workshop)
    assert (row["runs_started"], row["next_fire_at"], row["is_active"]) == (2, None, True)
    assert row["completed_at"] is not None


async def test_raised_limit_lets_a_completed_schedule_go_on(workshop, scheduler):
    await workshop.due(MONDAY_7, max_runs=1)
    await scheduler.tick(MONDAY_7)

    await workshop.owner.execute("UPDATE agent_schedules SET max_runs = 2")
    tick = await scheduler.tick(MONDAY_7 + HOUR)

    assert tick.next_fire_at == MONDAY_7 + DAY


async def test_single_times_fire_once_each_and_complete(workshop, scheduler):
    await workshop.schedule(
        instants=[MONDAY_7, MONDAY_7 + HOUR], plan_from=PAST, overlap_policy="allow_all"
    )

    ticks = [await scheduler.tick(MONDAY_7 + hour * HOUR) for hour in range(3)]

    assert [tick.fired for tick in ticks] == [1, 1, 0]
    assert (await only(workshop))["completed_at"] is not None


async def test_nothing_fires_before_the_start_or_after_the_end(workshop, scheduler):
    await workshop.schedule(
        starts_at=MONDAY_7 + DAY, ends_at=MONDAY_7 + 2 * DAY, plan_from=PAST, cron="0 7 * * *"
    )

    for day in range(5):
        await scheduler.tick(MONDAY_7 + day * DAY)

    rows = await workshop.rows("schedule_occurrences", "fire_time")
    assert [row["fire_time"] for row in rows] == [MONDAY_7 + DAY, MONDAY_7 + 2 * DAY]


async def test_jitter_delays_the_fire_and_not_its_name(workshop, scheduler):
    await workshop.schedule(jitter_seconds=600, plan_from=MONDAY_7 - HOUR)
    planned = await scheduler.tick(MONDAY_7 - HOUR)
    assert MONDAY_7 < planned.next_fire_at <= MONDAY_7 + 10 * MINUTE

    early = await scheduler.tick(planned.next_fire_at - timedelta(milliseconds=1))
    due = await scheduler.tick(planned.next_fire_at)

    assert (early.fired, due.fired) == (0, 1)
    run = await workshop.row("agent_runs")
    assert (run["fire_time"], run["trigger"]) == (MONDAY_7, "schedule")


async def test_suppressed_fire_leaves_a_row_and_no_run(workshop, scheduler):
    await workshop.due(MONDAY_7, excluded_days="2026-03-02", active_days="mon-fri")

    tick = await scheduler.tick(MONDAY_7)

    assert (tick.fired, tick.missed) == (0, 0)
    row = await workshop.row("schedule_occurrences")
    assert row["outcome"] == "suppressed"
    assert row["reason"] == "2026-03-02 is a day off by its own exclusions"


async def test_fires_of_a_pause_have_rows_with_its_note(workshop, scheduler):
    schedule = await workshop.due(MONDAY_7)
    await workshop.owner.execute(
        "UPDATE agent_schedules SET is_active = false, pause_note = 'on holiday'"
    )
    await workshop.owner.execute("UPDATE agent_schedules SET paused_at = %s", [MONDAY_7 + MINUTE])
    await workshop.owner.execute("DELETE FROM schedule_occurrences")
    await workshop.owner.execute("UPDATE agent_schedules SET is_active = true")
    await workshop.owner.execute(
        "UPDATE agent_schedules SET plan_from = %s", [MONDAY_7 + 2 * DAY + HOUR]
    )

    tick = await scheduler.tick(MONDAY_7 + 2 * DAY + HOUR)

    assert (tick.fired, tick.next_fire_at) == (0, MONDAY_7 + 3 * DAY)
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    assert [(r["fire_time"], r["outcome"], r["reason"]) for r in rows] == [
        (MONDAY_7 + DAY, "suppressed", "paused: on holiday"),
        (MONDAY_7 + 2 * DAY, "suppressed", "paused: on holiday"),
    ]
    row = await only(workshop)
    assert (row["paused_at"], row["pause_note"]) == (None, None)
    assert (await workshop.fetch(schedule.id)).state == "active"


async def fail(workshop: Workshop, schedule, times: int = 1, trigger: str = "schedule") -> None:
    for _ in range(times):
        run = await make_run(
            workshop,
            schedule.agent_name,
            schedule_id=schedule.id,
            prompt="",
            trigger=Trigger(trigger),
        )
        await workshop.service().execute(schedule, run)


async def test_failures_in_a_row_pause_the_schedule_and_say_so_once(workshop):
    schedule = await workshop.due(MONDAY_7, agent_name="nobody", pause_after_failures=3)

    await fail(workshop, schedule, 2)
    assert (await only(workshop))["is_active"]
    await fail(workshop, schedule, 2)

    row = await only(workshop)
    assert (row["is_active"], row["pause_note"]) == (False, "3 runs in a row failed.")
    told = [n for n in await workshop.rows("notifications") if n["title"] == "morning is paused"]
    assert told[0]["body"].endswith(
        " The schedule stays paused until you type `rota schedules resume morning`."
    )
    assert len(told) == 1


async def test_success_ends_the_row_of_failures_and_manual_runs_do_not_count(workshop):
    await workshop.agent(ANSWER)
    schedule = await workshop.due(MONDAY_7, agent_name="nobody", pause_after_failures=2)
    await fail(workshop, schedule)
    await fail(workshop, schedule, 3, trigger="manual")
    assert (await only(workshop))["failures_in_row"] == 1

    await workshop.owner.execute("UPDATE agent_schedules SET agent_name = 'watcher'")
    healed = await workshop.fetch(schedule.id)
    run = await make_run(workshop, schedule_id=healed.id, prompt="", trigger=Trigger.SCHEDULE)
    await workshop.service().execute(healed, run)

    row = await only(workshop)
    assert (row["failures_in_row"], row["is_active"]) == (0, True)


async def test_resuming_forgets_the_failures(workshop):
    schedule = await workshop.due(MONDAY_7, agent_name="nobody", pause_after_failures=1)
    await fail(workshop, schedule)
    assert not (await only(workshop))["is_active"]

    await workshop.owner.execute("UPDATE agent_schedules SET is_active = true")

    assert (await only(workshop))["failures_in_row"] == 0
