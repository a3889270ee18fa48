"""What a fire does while an earlier run of its schedule is under way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from rota.domain.errors import ConflictError
from rota.domain.schedules.overlap import OverlapPolicy
from rota.services.runs.service import RunService
from tests.services.deciding import SUSPEND, desk_of, send

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


# What of a schedule is unfinished, by each policy: the same for a fire and for "run now"

UNFINISHED = {
    # status, trigger, in the queue, seconds until its time: does it count?
    "waiting": ("waiting", "schedule", False, None, True),
    "asked for by a person": ("waiting", "manual", False, None, True),
    "queued": ("queued", "schedule", True, None, True),
    "running": ("running", "schedule", True, None, True),
    "parked": ("suspended", "schedule", True, None, True),
    "running outside the queue": ("running", "manual", False, None, False),
    "backfill": ("running", "backfill", True, None, False),
    "retry whose time has come": ("waiting", "retry", False, -60, True),
    "retry that waits for its time": ("waiting", "retry", False, 3_600, False),
    "finished": ("finished", "schedule", True, None, False),
    "cancelled": ("cancelled", "schedule", False, None, False),
}
STARTS = {
    # policy: what it does beside no, one and two unfinished runs
    "skip": ("run", "skip", "skip"),
    "buffer_one": ("run", "run", "skip"),
    "buffer_all": ("run", "run", "run"),
    "cancel_other": ("run", "cancel_and_run", "cancel_and_run"),
    "allow_all": ("run", "run", "run"),
}


async def insert_runs(workshop, schedule, state, count):
    status, trigger, in_queue, seconds, _ = UNFINISHED[state]
    for _ in range(count):
        await workshop.owner.execute(
            "INSERT INTO agent_runs"
            " (user_id, schedule_id, agent_name, trigger, status, queued_at, not_before)"
            " VALUES (%s, %s, 'watcher', %s, %s, CASE WHEN %s THEN now() END,"
            " now() + %s * interval '1 second')",
            [workshop.user, schedule.id, trigger, status, in_queue, seconds],
        )


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("state", UNFINISHED)
@pytest.mark.parametrize("policy", OverlapPolicy)
async def test_fire_and_run_now_do_the_same_beside_what_is_unfinished(
    workshop, scheduler, policy, state, count
):
    by_fire = await workshop.due(MONDAY_7, name="fire", overlap_policy=policy)
    by_hand = await workshop.schedule(name="hand", overlap_policy=policy)
    for schedule in (by_fire, by_hand):
        await insert_runs(workshop, schedule, state, count)
    before = {run["id"] for run in await workshop.rows("agent_runs")}

    await scheduler.tick(MONDAY_7)
    with suppress(ConflictError):
        await RunService(workshop.database).request_schedule(workshop.user, by_hand.id)

    runs = await workshop.rows("agent_runs")
    expected = STARTS[policy][count if UNFINISHED[state][-1] else 0]
    for schedule in (by_fire, by_hand):
        mine = [run for run in runs if run["schedule_id"] == schedule.id]
        started = [run for run in mine if run["id"] not in before]
        asked = [run for run in mine if run["cancel_requested_at"] is not None]
        assert len(started) == (expected != "skip")
        if UNFINISHED[state][-1]:
            assert len(asked) == (count if expected == "cancel_and_run" else 0)


async def park(workshop, **columns):
    """Return a schedule that is due, whose earlier run is parked, and a desk to decide at."""
    desk = desk_of(workshop)
    schedule = await workshop.due(MONDAY_7, **columns)
    run_id = await desk.run(
        send("bob"), mode="suspend", schedule_id=schedule.id, is_serial=True, options=SUSPEND
    )
    assert await desk.status(run_id) == "suspended"
    return schedule, desk, run_id


async def test_skipped_fire_says_that_the_earlier_run_waited_for_its_owner(workshop, scheduler):
    await park(workshop, overlap_policy="skip")

    await scheduler.tick(MONDAY_7)

    row = await workshop.row("schedule_occurrences")
    assert row["outcome"] == "skipped"
    assert "waited for its owner's decision (overlap policy skip)" in row["reason"]


@pytest.mark.parametrize("policy", ["buffer_one", "buffer_all"])
async def test_run_waits_behind_a_parked_one_until_that_has_ended(workshop, scheduler, policy):
    schedule, desk, parked = await park(workshop, overlap_policy=policy)

    await scheduler.tick(MONDAY_7)
    await RunService(workshop.database).request_schedule(
        workshop.user, schedule.id, overlap=OverlapPolicy.BUFFER_ALL
    )
    later = [run["id"] for run in await workshop.rows("agent_runs") if run["id"] != parked]
    assert [await desk.status(run) for run in later] == ["waiting", "waiting"]

    await desk.approve()
    await scheduler.tick(MONDAY_7 + MINUTE)
    assert await desk.status(parked) == "queued"
    assert [await desk.status(run) for run in later] == ["waiting", "waiting"]

    await workshop.owner.execute("UPDATE agent_runs SET status = 'running' WHERE id = %s", [parked])
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'finished' WHERE id = %s", [parked]
    )
    await scheduler.tick(MONDAY_7 + 2 * MINUTE)
    assert sorted([await desk.status(run) for run in later]) == ["queued", "waiting"]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_parked_run_whose_place_is_taken_ends_and_asks_no_more(workshop, scheduler, by_hand):
    schedule, desk, parked = await park(workshop, overlap_policy="cancel_other")

    if by_hand:
        await RunService(workshop.database).request_schedule(workshop.user, schedule.id)
    else:
        await scheduler.tick(MONDAY_7)

    assert (await desk.action())["status"] == "withdrawn"
    new = next(run["id"] for run in await workshop.rows("agent_runs") if run["id"] != parked)
    assert await desk.status(new) == "waiting", "the parked one ends first"
    await desk.service.execute_run(await desk.fetch(parked))
    assert "its place" in str((await desk.result(parked))["metadata"]["cancelled"])
    assert await desk.status(parked) == "cancelled"
    assert desk.sent == []


async def test_allow_all_goes_beside_a_parked_run(workshop, scheduler):
    schedule, desk, parked = await park(workshop, overlap_policy="allow_all")

    await scheduler.tick(MONDAY_7)
    asked = await RunService(workshop.database).request_schedule(workshop.user, schedule.id)
    await scheduler.tick(MONDAY_7)

    assert await desk.status(parked) == "suspended"
    assert await desk.status(asked) == "queued"
    assert sorted(await statuses(workshop)) == ["queued", "queued", "suspended"]
