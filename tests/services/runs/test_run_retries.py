"""Runs that failed for a passing reason are run again later, by themselves."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from rota.agents.models.building import ChatModels
from rota.domain.runs.run import ResultStatus, Trigger
from rota.engine.admission import admit
from tests.loopback.model_server import Drops, Fails, Hangs, Says
from tests.loopback.openai import OpenAIServer
from tests.services.harness import clock
from tests.services.running import fetch_run, make_run, until

BUSY = Fails(503, "overloaded_error")
DONE = Says("Done.")


async def setting(workshop, *, retries=None, **columns):
    await workshop.agent(
        model="openai:gpt-4o-mini", model_settings={"endpoint": "local", "max_retries": 0}
    )
    options = {} if retries is None else {"retries": retries}
    return await workshop.schedule(options=json.dumps(options), **columns)


def on(server):
    return ChatModels(endpoints={"local": server.url})


async def fired(workshop, schedule, *, trigger=Trigger.SCHEDULE, **columns):
    return await make_run(
        workshop,
        schedule_id=schedule.id,
        trigger=trigger,
        fire_time=datetime(2026, 1, 1, 7, tzinfo=UTC),
        is_serial=True,
        **columns,
    )


async def waiting(workshop):
    return [row for row in await workshop.rows("agent_runs") if row["status"] == "waiting"]


async def the_retry(workshop):

    (row,) = await waiting(workshop)
    async with workshop.database.connection() as conn:
        return await fetch_run(conn, row["id"])


@pytest.mark.parametrize(
    ("reply", "passing"),
    [
        (BUSY, True),
        (Fails(429, "rate_limit_error"), True),
        (Drops(), True),
        (Fails(400, "invalid_request_error"), False),
        (Fails(401, "authentication_error"), False),
        (Says("Half an ans", cut=True), False),
    ],
)
async def test_only_what_may_pass_is_tried_again(workshop, reply, passing):
    schedule = await setting(workshop, retries=1)
    with OpenAIServer(reply) as server:
        outcome = await workshop.service(models=on(server)).execute(
            schedule, await fired(workshop, schedule)
        )

    assert ("retry_at" in outcome.metadata) == passing
    assert len(await waiting(workshop)) == (1 if passing else 0)


async def test_limits_and_cancelling_are_no_reason_to_try_again(workshop):
    schedule = await setting(workshop, retries=3)
    await workshop.owner.execute("UPDATE agent_configurations SET limits = '{\"idle_seconds\": 1}'")
    with OpenAIServer(Hangs()) as server:
        outcome = await workshop.service(models=on(server)).execute(
            schedule, await fired(workshop, schedule)
        )
        server.closing.set()

    assert outcome.metadata["limit"] == "idle"
    assert await waiting(workshop) == []


@pytest.mark.parametrize("where", ["schedule", "run"])
async def test_each_retry_waits_twice_as_long_and_the_last_is_the_last(workshop, where):
    schedule = await setting(workshop, retries=3 if where == "schedule" else None)
    run = await fired(
        workshop, schedule, options={"retries": 3} if where == "run" else {"limits": {"steps": 9}}
    )
    delays = []
    with OpenAIServer(*[BUSY] * 4) as server:
        service = workshop.service(models=on(server))
        for _ in range(3):
            outcome = await service.execute(schedule, run)
            assert outcome.status is ResultStatus.ERROR
            retry = await the_retry(workshop)
            assert (retry.retry_of, retry.fire_time) == (run.id, run.fire_time)
            assert outcome.metadata["retry_run_id"] == str(retry.id)
            at = datetime.fromisoformat(outcome.metadata["retry_at"])
            delays.append((at - clock()).total_seconds())
            run = retry
        last = await service.execute(schedule, run)

    assert "retry_at" not in last.metadata
    assert await waiting(workshop) == []
    for minutes, seconds in zip((1, 2, 4), delays, strict=True):
        assert 60 * minutes - 15 < seconds <= 60 * minutes * 1.2


async def test_owner_hears_of_it_once_at_the_last(workshop):
    schedule = await setting(workshop, retries=2)
    run = await fired(workshop, schedule)
    with OpenAIServer(*[BUSY] * 3) as server:
        service = workshop.service(models=on(server))
        for _ in range(2):
            await service.execute(schedule, run)
            assert await workshop.rows("notifications") == []
            run = await the_retry(workshop)
        await service.execute(schedule, run)

    assert (await workshop.row("notifications"))["category"] == "error"
    assert await service.write_missing_notifications() == 0


async def test_run_that_a_person_asks_for_again_is_tried_as_often_as_the_first(workshop):
    schedule = await setting(workshop)
    run = await fired(workshop, schedule, options={"retries": 1})
    with OpenAIServer(*[BUSY] * 3) as server:
        service = workshop.service(models=on(server))
        await service.execute(schedule, run)
        last = await the_retry(workshop)
        await service.execute(schedule, last)
        assert await waiting(workshop) == []
        async with workshop.database.acting_as(workshop.user) as conn:
            await conn.execute("SELECT public.request_retry(%s)", [last.id])
        outcome = await service.execute(schedule, await the_retry(workshop))

    assert "retry_at" in outcome.metadata


async def test_fire_counts_once_however_often_it_was_tried(workshop):
    schedule = await setting(workshop, retries=1, pause_after_failures=2)
    with OpenAIServer(*[BUSY] * 4) as server:
        service = workshop.service(models=on(server))
        for failures in (1, 2):
            await service.execute(schedule, await fired(workshop, schedule))
            assert (await workshop.row("agent_schedules"))["failures_in_row"] == failures - 1
            await service.execute(schedule, await the_retry(workshop))
            assert (await workshop.row("agent_schedules"))["failures_in_row"] == failures

    row = await workshop.row("agent_schedules")
    assert not row["is_active"]
    assert row["pause_note"] == "2 runs in a row failed."


async def test_retry_that_succeeds_ends_the_row_of_failures(workshop):
    schedule = await setting(workshop, retries=1, pause_after_failures=3)
    with OpenAIServer(BUSY, BUSY, BUSY, DONE) as server:
        service = workshop.service(models=on(server))
        for failures in (1, 0):
            await service.execute(schedule, await fired(workshop, schedule))
            await service.execute(schedule, await the_retry(workshop))
            assert (await workshop.row("agent_schedules"))["failures_in_row"] == failures


@pytest.mark.parametrize("trigger", [Trigger.MANUAL, Trigger.BACKFILL])
async def test_retry_of_what_does_not_count_does_not_count(workshop, trigger):
    schedule = await setting(workshop, retries=1, pause_after_failures=1)
    fire_time = {} if trigger is Trigger.MANUAL else {"fire_time": datetime(2026, 1, 1, tzinfo=UTC)}
    run = await make_run(workshop, schedule_id=schedule.id, trigger=trigger, **fire_time)
    with OpenAIServer(BUSY, BUSY) as server:
        service = workshop.service(models=on(server))
        await service.execute(schedule, run)
        await service.execute(schedule, await the_retry(workshop))

    assert (await workshop.row("agent_schedules"))["is_active"]
    assert (await workshop.row("agent_schedules"))["failures_in_row"] == 0


async def failed_once(workshop, schedule, **columns):
    with OpenAIServer(BUSY) as server:
        await workshop.service(models=on(server)).execute(
            schedule, await fired(workshop, schedule, **columns)
        )
    return await the_retry(workshop)


async def come(workshop, run):
    """Let the time of a retry come."""
    await workshop.owner.execute(
        "UPDATE agent_runs SET not_before = now() - interval '1 second' WHERE id = %s", [run.id]
    )


@pytest.mark.parametrize("policy", ["skip", "buffer_one"])
async def test_fire_is_not_skipped_because_a_retry_waits(workshop, policy):
    await workshop.agent(
        model="openai:gpt-4o-mini", model_settings={"endpoint": "local", "max_retries": 0}
    )
    now = clock()
    schedule = await workshop.due(
        now, options=json.dumps({"retries": 2}), overlap_policy=policy, next_fire_time=now
    )
    await failed_once(workshop, schedule)

    tick = await workshop.scheduler().tick(now + timedelta(seconds=1))

    assert tick.fired == 1
    outcomes = [row["outcome"] for row in await workshop.rows("schedule_occurrences")]
    assert outcomes == ["fired"]


async def test_retry_whose_time_has_come_is_under_way(workshop):
    """Then one more run beside it would be one too many, as with any other run."""
    await workshop.agent(
        model="openai:gpt-4o-mini", model_settings={"endpoint": "local", "max_retries": 0}
    )
    now = clock()
    schedule = await workshop.due(
        now, options=json.dumps({"retries": 2}), overlap_policy="skip", next_fire_time=now
    )
    await come(workshop, await failed_once(workshop, schedule))

    await workshop.scheduler().tick(now + timedelta(seconds=1))

    outcomes = [row["outcome"] for row in await workshop.rows("schedule_occurrences")]
    assert outcomes == ["skipped"]


async def test_run_can_be_asked_for_while_a_retry_waits(workshop):
    schedule = await setting(workshop, retries=1)
    await failed_once(workshop, schedule)
    async with workshop.database.acting_as(workshop.user) as conn:
        await conn.execute("SELECT public.request_schedule_run(%s)", [schedule.id])
    assert len(await waiting(workshop)) == 2


async def admitted(workshop):
    async with workshop.database.transaction() as conn:
        await admit(conn)
    return {row["id"] for row in await workshop.rows("agent_runs") if row["status"] == "queued"}


async def test_retry_waits_for_its_time_and_holds_nobody_up(workshop):
    schedule = await setting(workshop, retries=1)
    retry = await failed_once(workshop, schedule)
    assert await admitted(workshop) == set()

    later = await fired(workshop, schedule)
    assert await admitted(workshop) == {later.id}

    # Its time has come; it goes one by one with the schedule's other runs all the same.
    await come(workshop, retry)
    assert await admitted(workshop) == {later.id}
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'running' WHERE id = %s", [later.id]
    )
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'finished' WHERE id = %s", [later.id]
    )
    assert await admitted(workshop) == {retry.id}


async def test_of_two_whose_time_has_come_the_older_goes_first(workshop):
    schedule = await setting(workshop, retries=1)
    retry = await failed_once(workshop, schedule)
    await come(workshop, retry)
    await fired(workshop, schedule)
    assert await admitted(workshop) == {retry.id}


async def test_schedule_deleted_in_mid_run_loses_no_result_and_is_not_tried_again(workshop):
    await workshop.agent(
        model="openai:gpt-4o-mini",
        model_settings={"endpoint": "local", "max_retries": 0},
        tools=["wait"],
    )
    schedule = await workshop.schedule(options=json.dumps({"retries": 3}))
    run = await fired(workshop, schedule)
    workshop.toolbox.gate = asyncio.Event()
    with OpenAIServer(Says("", (("wait", {}),)), BUSY) as server:
        task = asyncio.create_task(workshop.service(models=on(server)).execute(schedule, run))

        async def there():
            return workshop.toolbox.calls

        await until(there)
        await workshop.owner.execute("DELETE FROM agent_schedules")
        workshop.toolbox.gate.set()
        outcome = await task

    assert outcome.status is ResultStatus.ERROR
    assert "retry_at" not in outcome.metadata
    assert await waiting(workshop) == []
    assert (await workshop.row("notifications"))["category"] == "error"


async def test_waiting_retry_goes_with_its_schedule(workshop):
    schedule = await setting(workshop, retries=1)
    await failed_once(workshop, schedule)
    await workshop.owner.execute("DELETE FROM agent_schedules")
    assert await waiting(workshop) == []


async def test_waiting_retry_gives_way_to_the_fire_that_takes_its_place(workshop):
    await workshop.agent(
        model="openai:gpt-4o-mini", model_settings={"endpoint": "local", "max_retries": 0}
    )
    now = clock()
    schedule = await workshop.due(
        now, options=json.dumps({"retries": 2}), overlap_policy="cancel_other", next_fire_time=now
    )
    retry = await failed_once(workshop, schedule)
    await come(workshop, retry)

    await workshop.scheduler().tick(now + timedelta(seconds=1))

    by_id = {row["id"]: row for row in await workshop.rows("agent_runs")}
    assert by_id[retry.id]["status"] == "cancelled"
