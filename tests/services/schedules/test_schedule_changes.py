"""Adding, editing, removing: two editors, a change as a fire is due, runs under way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import RunId
from rota.domain.runs.run import RunStatus, Trigger
from rota.domain.schedules.drafts import Draft
from rota.services.schedules.service import NewSchedule, ScheduleEdit, ScheduleService
from tests.services.harness import ANSWER, clock
from tests.services.running import fetch_run, make_run

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def schedules(workshop):
    return ScheduleService(workshop.database, clock=clock)


async def add(workshop, schedules, when="0 7 * * *", **fields):
    await workshop.agent(ANSWER)
    draft = fields.pop("draft", Draft(when=when))
    return await schedules.add(
        workshop.user, NewSchedule(name="morning", agent_name="watcher", draft=draft, **fields)
    )


async def test_every_field_survives_the_way_to_the_database_and_back(workshop, schedules):
    draft = Draft(
        when="0 7 * * mon; 30 8 * * fri",
        start="2030-01-01",
        end="2031-01-01 12:00",
        jitter="5m",
        active_hours="06:00-20:00",
        active_days="mon-fri",
        excluded_days="2030-12-24..2030-12-26",
        dst_gap="shift",
        dst_overlap="twice",
        overlap="buffer_one",
        catch_up="all",
        catch_up_window="2h",
        max_runs=9,
        pause_after_failures=3,
    )
    added = await add(workshop, schedules, draft=draft, time_zone="Europe/Berlin", prompt="Go.")

    assert added.timing == draft.timing("Europe/Berlin", now=clock())
    assert added.policy == draft.policy()
    assert (added.prompt, added.follows_owner_zone, added.revision) == ("Go.", False, 1)


async def test_interval_is_anchored_when_it_is_stored_and_stays_so(workshop, schedules):
    added = await add(workshop, schedules, draft=Draft(every="1h"))
    anchor = added.timing.anchor

    edited = await schedules.edit(workshop.user, "morning", ScheduleEdit(prompt="Other."))

    assert anchor is not None
    assert edited.timing == added.timing
    assert added.timing.rule().next_after(added.plan_from) == anchor + HOUR


async def test_schedule_whose_times_are_past_is_refused(workshop, schedules):
    with pytest.raises(InvalidInputError, match="never fires"):
        await add(workshop, schedules, draft=Draft(at=("2020-01-01 07:00",)))


async def test_two_editors_of_different_things_both_succeed(workshop, schedules):
    await add(workshop, schedules)

    await asyncio.gather(
        schedules.edit(workshop.user, "morning", ScheduleEdit(prompt="New.")),
        schedules.edit(workshop.user, "morning", ScheduleEdit(draft=Draft(when="0 8 * * *"))),
    )

    found = await schedules.get(workshop.user, "morning")
    assert (found.prompt, found.timing.cron, found.revision) == ("New.", "0 8 * * *", 3)


async def test_editor_who_saw_an_old_revision_changes_nothing(workshop, schedules):
    seen = await add(workshop, schedules)
    await schedules.edit(workshop.user, "morning", ScheduleEdit(prompt="First."))

    with pytest.raises(ConflictError, match="revision 2, not 1"):
        await schedules.edit(
            workshop.user, "morning", ScheduleEdit(prompt="Second.", revision=seen.revision)
        )

    assert (await schedules.get(workshop.user, "morning")).prompt == "First."


async def test_edit_to_a_taken_name_or_an_unknown_agent_is_refused(workshop, schedules):
    await add(workshop, schedules)
    await schedules.add(
        workshop.user, NewSchedule(name="other", agent_name="watcher", draft=Draft(every="1h"))
    )
    with pytest.raises(ConflictError, match="'other' already"):
        await schedules.edit(workshop.user, "morning", ScheduleEdit(name="other"))
    with pytest.raises(NotFoundError):
        await schedules.edit(workshop.user, "morning", ScheduleEdit(agent_name="nobody"))


async def test_a_taken_name_is_refused_with_whose_it_is(workshop, schedules):
    await add(workshop, schedules)
    await workshop.agent(ANSWER, name="other")
    other = NewSchedule(name="morning", agent_name="other", draft=Draft(when="@daily"))
    with pytest.raises(ConflictError, match="'morning' already, of the agent watcher; choose"):
        await schedules.add(workshop.user, other)
    await schedules.add(workshop.user, replace(other, name="noon"))
    with pytest.raises(ConflictError, match="'morning' already, of the agent watcher; choose"):
        await schedules.edit(workshop.user, "noon", ScheduleEdit(name="morning"))


async def test_strangers_schedule_is_not_found(workshop, schedules, bob):
    await add(workshop, schedules)
    for attempt in (
        schedules.edit(bob, "morning", ScheduleEdit(prompt="Mine.")),
        schedules.remove(bob, "morning"),
        schedules.backfill(bob, "morning", "2026-01-01", "2026-01-02"),
    ):
        with pytest.raises(NotFoundError):
            await attempt


async def test_edit_before_a_late_scheduler_leaves_the_old_fire_missed(workshop):
    scheduler = workshop.scheduler()
    await workshop.due(MONDAY_7)  # long ago by the database's clock

    await workshop.owner.execute("UPDATE agent_schedules SET cron = '0 8 * * *'")
    await scheduler.tick(MONDAY_7 + HOUR / 2)

    row = await workshop.row("schedule_occurrences")
    assert (row["fire_time"], row["outcome"]) == (MONDAY_7, "missed")
    assert "changed before a scheduler took this fire" in row["reason"]
    assert await workshop.rows("agent_runs") == []


async def test_change_in_the_same_second_as_a_fire_keeps_the_fire_that_both_rules_have(workshop):
    scheduler = workshop.scheduler()
    due = clock().replace(microsecond=0) - timedelta(seconds=1)
    minute_rule = f"{due.second} {due.minute} {due.hour} * * *"
    await workshop.due(due, cron=minute_rule)

    await workshop.owner.execute(
        "UPDATE agent_schedules SET cron = %s", [f"{due.second} {due.minute} * * * *"]
    )
    tick = await scheduler.tick(clock())

    assert tick.fired == 1
    row = await workshop.row("schedule_occurrences")
    assert (row["fire_time"], row["outcome"]) == (due, "fired")


async def test_change_in_the_same_second_as_a_fire_drops_the_fire_that_the_new_rule_lacks(workshop):
    scheduler = workshop.scheduler()
    due = clock().replace(microsecond=0) - timedelta(seconds=1)
    await workshop.due(due, cron=f"{due.second} {due.minute} {due.hour} * * *")
    tomorrow = due + DAY + HOUR

    await workshop.owner.execute(
        "UPDATE agent_schedules SET cron = %s",
        [f"0 {tomorrow.minute} {tomorrow.hour} {tomorrow.day} {tomorrow.month} *"],
    )
    tick = await scheduler.tick(clock())

    assert tick.fired == 0
    row = await workshop.row("schedule_occurrences")
    assert (row["fire_time"], row["outcome"]) == (due, "missed")


async def delayed(workshop, **columns):
    """Insert a schedule whose fire time has come, and that its jitter delays."""
    came = clock().replace(microsecond=0) - timedelta(seconds=30)
    rule = f"{came.second} {came.minute} {came.hour} * * *"
    schedule = await workshop.due(
        came + timedelta(seconds=150),
        next_fire_time=came,
        cron=rule,
        jitter_seconds=300,
        **columns,
    )
    return schedule, came


async def outcomes(workshop):
    return [
        (row["fire_time"], row["outcome"])
        for row in await workshop.rows("schedule_occurrences", "fire_time")
    ]


async def test_change_during_a_jitter_delay_keeps_the_fire_that_both_rules_have(workshop):
    scheduler = workshop.scheduler()
    _, came = await delayed(workshop)

    await workshop.owner.execute(
        "UPDATE agent_schedules SET cron = %s", [f"{came.second} {came.minute} * * * *"]
    )
    await scheduler.tick(came + timedelta(seconds=1))  # its delay is worked out anew
    planned = await workshop.row("agent_schedules")
    before = await outcomes(workshop)
    await scheduler.tick(came + timedelta(seconds=301))

    assert (planned["next_fire_time"] or planned["next_fire_at"], before) == (came, [])
    assert await outcomes(workshop) == [(came, "fired")]
    assert (await workshop.row("agent_runs"))["fire_time"] == came


async def test_second_change_during_a_jitter_delay_keeps_the_fire_too(workshop):
    _, came = await delayed(workshop)
    for hour in ("*", "*/1"):
        await workshop.owner.execute(
            "UPDATE agent_schedules SET cron = %s", [f"{came.second} {came.minute} {hour} * * *"]
        )

    await workshop.scheduler().tick(came + timedelta(seconds=301))

    assert await outcomes(workshop) == [(came, "fired")]


async def test_change_during_a_jitter_delay_leaves_a_row_of_the_fire_that_the_new_rule_lacks(
    workshop,
):
    _, came = await delayed(workshop)
    later = came + HOUR / 2

    await workshop.owner.execute(
        "UPDATE agent_schedules SET cron = %s", [f"{later.second} {later.minute} * * * *"]
    )
    await workshop.scheduler().tick(came + timedelta(seconds=301))

    assert await outcomes(workshop) == [(came, "missed")]
    assert (await workshop.row("agent_schedules"))["next_fire_time"] == later


@pytest.mark.parametrize("looks_between", [True, False])
async def test_pause_and_resume_during_a_jitter_delay_leave_a_row(workshop, looks_between):
    scheduler = workshop.scheduler()
    _, came = await delayed(workshop)

    await workshop.owner.execute("UPDATE agent_schedules SET is_active = false")
    if looks_between:
        await scheduler.tick(came + timedelta(seconds=20))
    await workshop.owner.execute("UPDATE agent_schedules SET is_active = true")
    await scheduler.tick(came + timedelta(seconds=301))

    row = await workshop.row("schedule_occurrences")
    assert (row["fire_time"], row["outcome"]) == (came, "missed")
    assert "paused before a scheduler took this fire" in row["reason"]
    assert (await workshop.row("agent_schedules"))["next_fire_time"] == came + DAY


@pytest.mark.parametrize(("zone", "outcome"), [("Etc/UTC", "fired"), ("Asia/Kathmandu", "missed")])
async def test_new_zone_of_the_owner_during_a_jitter_delay_leaves_a_row(workshop, zone, outcome):
    _, came = await delayed(workshop)

    await workshop.owner.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, %s)", [workshop.user, zone]
    )
    await workshop.scheduler().tick(came + timedelta(seconds=301))

    assert await outcomes(workshop) == [(came, outcome)]


async def test_change_and_fire_at_once_fire_once_whoever_is_first(workshop):
    for number in range(10):
        due = clock().replace(microsecond=0) - timedelta(seconds=1)
        schedule = await workshop.due(
            due, name=f"s{number}", cron=f"{due.second} {due.minute} * * * *"
        )
        await asyncio.gather(
            workshop.owner.execute(
                "UPDATE agent_schedules SET cron = %s WHERE id = %s",
                [f"{due.second} {due.minute} {due.hour} * * *", schedule.id],
            ),
            workshop.scheduler().tick(clock()),
        )
        await workshop.scheduler().tick(clock())
        runs = [r for r in await workshop.rows("agent_runs") if r["schedule_id"] == schedule.id]
        assert len(runs) == 1


async def test_new_prompt_reaches_the_next_fire_and_moves_nothing(workshop):
    scheduler = workshop.scheduler()
    await workshop.due(MONDAY_7)
    await workshop.owner.execute("UPDATE agent_schedules SET prompt = 'New.'")

    await scheduler.tick(MONDAY_7)

    assert (await workshop.row("agent_runs"))["prompt"] == "New."


async def test_schedule_made_while_no_scheduler_runs_is_caught_up(workshop):
    """Made at 6:59 for 7:00, first seen at 7:05."""
    await workshop.schedule(plan_from=MONDAY_7 - timedelta(minutes=1))

    tick = await workshop.scheduler().tick(MONDAY_7 + timedelta(minutes=5))

    assert (tick.fired, tick.next_fire_at) == (1, MONDAY_7 + DAY)
    assert (await workshop.row("agent_runs"))["trigger"] == "catch_up"


async def test_removed_schedule_leaves_results_and_cancels_what_waits(workshop, schedules):
    schedule = await add(workshop, schedules, draft=Draft(when="0 7 * * *", overlap="buffer_all"))
    states = ["finished", "running", "queued", "waiting"]
    for status in states:
        await workshop.owner.execute(
            "INSERT INTO agent_runs (user_id, schedule_id, agent_name, trigger, status, prompt)"
            " VALUES (%s, %s, 'watcher', 'schedule', %s, %s)",
            [workshop.user, schedule.id, status, status],
        )

    await schedules.remove(workshop.user, "morning")

    runs = {run["prompt"]: run for run in await workshop.rows("agent_runs")}
    assert {name: run["status"] for name, run in runs.items()} == {
        "finished": "finished",
        "running": "running",
        "queued": "queued",
        "waiting": "cancelled",
    }
    assert runs["waiting"]["cancel_reason"] == "its schedule was removed"
    assert {run["schedule_id"] for run in runs.values()} == {None}


async def test_run_of_a_removed_schedule_ends_and_is_stored(workshop, schedules):
    schedule = await add(workshop, schedules)
    run = await make_run(workshop, schedule_id=schedule.id, prompt="", trigger=Trigger.SCHEDULE)
    await workshop.owner.execute("UPDATE agent_runs SET status = 'queued', queued_at = now()")
    await schedules.remove(workshop.user, "morning")

    outcome = await workshop.service().execute(schedule, run)

    assert outcome.as_dict()["success"]
    assert (await workshop.row("agent_execution_results"))["schedule_id"] is None


async def test_cancelled_run_ends_on_its_worker_and_says_why(workshop):
    workshop.toolbox.gate = asyncio.Event()
    await workshop.agent(
        {
            "steps": [{"calls": [{"tool": "wait", "args": {}}]}],
            "answer": "never",
        },
        tools=["wait"],
    )
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id, prompt="", trigger=Trigger.SCHEDULE)
    work = asyncio.create_task(workshop.service().execute(schedule, run))
    while not workshop.toolbox.calls:
        await asyncio.sleep(0.01)
    await workshop.owner.execute(
        "UPDATE agent_runs SET cancel_requested_at = now(), cancel_reason = 'enough'"
    )
    work.cancel()

    outcome = await work

    assert outcome.metadata["cancelled"] == "enough"
    async with workshop.database.connection() as conn:
        stored = await fetch_run(conn, RunId(run.id))
    assert stored.status is RunStatus.CANCELLED
    told = await workshop.row("notifications")
    assert told["title"] == "morning was cancelled"
    assert "Cancelled: enough." in told["body"]


async def test_run_cancelled_before_its_worker_took_it_ends_at_once(workshop):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id, prompt="", trigger=Trigger.SCHEDULE)
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'running', cancel_requested_at = now()"
    )

    outcome = await workshop.service().execute(schedule, run)

    assert outcome.metadata["cancelled"] == "it was cancelled"
    assert outcome.metadata["model_calls"] == 0
