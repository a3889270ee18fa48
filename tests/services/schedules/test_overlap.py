"""What a fire does while an earlier run of its schedule is under way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from rota.domain.errors import ConflictError
from rota.domain.schedules.overlap import OverlapPolicy
from rota.services.runs.service import RunService

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def scheduler(workshop):
    return workshop.scheduler()


async def fire_thrice(workshop, scheduler, policy):
    """Fire at 7:00, 7:10 and 7:20, with the first run under way from 7:00 on."""
    schedule = await workshop.due(MONDAY_7, cron="*/10 * * * *", overlap_policy=policy)
    await scheduler.tick(MONDAY_7)
    await workshop.owner.execute("UPDATE agent_runs SET status = 'running', started_at = now()")
    await scheduler.tick(MONDAY_7 + 10 * MINUTE)
    await scheduler.tick(MONDAY_7 + 20 * MINUTE)
    return schedule


async def statuses(workshop):
    return [run["status"] for run in await workshop.rows("agent_runs", "fire_time")]


async def outcomes(workshop):
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    return [row["outcome"] for row in rows]


async def finish_first(workshop):
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'finished' WHERE fire_time = %s", [MONDAY_7]
    )


async def test_skip_leaves_a_row_that_says_what_was_under_way(workshop, scheduler):
    await fire_thrice(workshop, scheduler, "skip")

    assert await statuses(workshop) == ["running"]
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    assert [row["outcome"] for row in rows] == ["fired", "skipped", "skipped"]
    assert "2026-03-02 07:00:00 UTC was still under way" in rows[1]["reason"]
    assert rows[1]["run_id"] is None


async def test_buffer_one_keeps_one_run_waiting(workshop, scheduler):
    await fire_thrice(workshop, scheduler, "buffer_one")

    assert await statuses(workshop) == ["running", "waiting"]
    assert await outcomes(workshop) == ["fired", "fired", "skipped"]
    await finish_first(workshop)
    await scheduler.tick(MONDAY_7 + 21 * MINUTE)
    assert await statuses(workshop) == ["finished", "queued"]


async def test_buffer_all_runs_one_after_another_in_order(workshop, scheduler):
    await fire_thrice(workshop, scheduler, "buffer_all")

    assert await statuses(workshop) == ["running", "waiting", "waiting"]
    await finish_first(workshop)
    await scheduler.tick(MONDAY_7 + 21 * MINUTE)
    assert await statuses(workshop) == ["finished", "queued", "waiting"]


async def test_cancel_other_asks_the_run_under_way_to_stop_and_waits_for_it(workshop, scheduler):
    await fire_thrice(workshop, scheduler, "cancel_other")

    first, second, third = await workshop.rows("agent_runs", "fire_time")
    assert first["status"] == "running"
    assert first["cancel_requested_at"] is not None
    assert "07:10:00 UTC took its place" in first["cancel_reason"]
    assert second["status"] == "cancelled"  # it had not begun
    assert third["status"] == "waiting"
    await finish_first(workshop)
    await scheduler.tick(MONDAY_7 + 21 * MINUTE)
    assert (await statuses(workshop))[2] == "queued"


async def test_allow_all_runs_side_by_side(workshop, scheduler):
    await fire_thrice(workshop, scheduler, "allow_all")

    assert await statuses(workshop) == ["running", "queued", "queued"]


async def test_caught_up_fires_queue_up_where_all_are_wanted(workshop, scheduler):
    await workshop.due(MONDAY_7, cron="*/10 * * * *", catch_up="all", overlap_policy="skip")

    tick = await scheduler.tick(MONDAY_7 + 35 * MINUTE)

    assert (tick.fired, tick.missed) == (4, 0)
    assert await statuses(workshop) == ["queued", "waiting", "waiting", "waiting"]


async def test_scheduler_sleeps_while_runs_wait_for_their_own_schedule(workshop, scheduler):
    await fire_thrice(workshop, scheduler, "buffer_all")

    assert not (await scheduler.tick(MONDAY_7 + 21 * MINUTE)).runs_waiting


async def test_end_of_a_run_wakes_the_scheduler_for_the_next(workshop, scheduler):
    await fire_thrice(workshop, scheduler, "buffer_all")
    async with workshop.database.dedicated(listening=True) as conn:
        await conn.execute("LISTEN rota_wake")
        await finish_first(workshop)
        notice = await anext(conn.notifies(timeout=5))
    assert notice.payload == "runs"


async def test_run_executed_outside_the_queue_blocks_nobody(workshop, scheduler):
    schedule = await workshop.due(MONDAY_7)
    await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, schedule_id, agent_name, trigger, status, started_at)"
        " VALUES (%s, %s, 'watcher', 'manual', 'running', now())",
        [workshop.user, schedule.id],
    )

    await scheduler.tick(MONDAY_7)

    assert sorted(await statuses(workshop)) == ["queued", "running"]


@pytest.mark.parametrize("policy", ["skip", "buffer_one"])
async def test_run_now_is_refused_where_the_policy_lets_nothing_start(workshop, scheduler, policy):
    schedule = await fire_thrice(workshop, scheduler, policy)
    runs = RunService(workshop.database)

    with pytest.raises(ConflictError, match="under way"):
        await runs.request_schedule(workshop.user, schedule.id)
    chosen = await runs.request_schedule(
        workshop.user, schedule.id, "Now.", OverlapPolicy.ALLOW_ALL
    )

    assert chosen is not None
    await scheduler.tick(MONDAY_7 + 21 * MINUTE)
    run = next(r for r in await workshop.rows("agent_runs") if r["id"] == chosen)
    assert (run["status"], run["prompt"], run["trigger"]) == ("queued", "Now.", "manual")


async def test_run_now_can_take_the_place_of_what_is_under_way(workshop, scheduler):
    schedule = await fire_thrice(workshop, scheduler, "skip")

    await RunService(workshop.database).request_schedule(
        workshop.user, schedule.id, overlap=OverlapPolicy.CANCEL_OTHER
    )

    first = (await workshop.rows("agent_runs", "fire_time"))[0]
    assert first["cancel_reason"] == "a run was asked for in its place"


async def test_run_now_and_fire_at_once_never_both_start(workshop, scheduler):
    """The lock on the schedule's row puts them in line."""
    runs = RunService(workshop.database)
    for number in range(8):
        schedule = await workshop.due(MONDAY_7, name=f"s{number}")

        async def ask(schedule=schedule):
            try:
                return await runs.request_schedule(workshop.user, schedule.id)
            except ConflictError:
                return None

        asked, tick = await asyncio.gather(ask(), scheduler.tick(MONDAY_7))
        if tick.fired == 0 and asked is not None:
            await scheduler.tick(MONDAY_7)  # the row was locked: the next look takes it
        mine = [r for r in await workshop.rows("agent_runs") if r["schedule_id"] == schedule.id]
        assert len(mine) == 1
