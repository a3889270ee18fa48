"""A later attempt replays what an earlier one finished, and repeats no effect."""

from __future__ import annotations

import asyncio

import pytest

from rota.domain.errors import UnavailableError
from rota.domain.runs.run import ResultStatus, Trigger
from rota.security.gate.policy import CallPolicy
from rota.store.runs.intake import claim_runs
from tests.services.harness import ANSWER
from tests.services.running import fetch_run, make_run, until

CALLS = [
    {"calls": [{"tool": "look", "args": {"query": "a"}}]},
    {"calls": [{"tool": "send", "args": {"to": "bob"}}]},
    {"calls": [{"tool": "wait"}]},
]
TOOLS = ["look", "send", "wait"]


async def begin(workshop, service):
    """Start a run and stop it inside `wait`, as a worker does that is told to stop."""
    workshop.toolbox.gate = asyncio.Event()
    schedule = await workshop.schedule()
    attempt = asyncio.create_task(service.execute(schedule))
    async with asyncio.timeout(10):
        while ("wait", None) not in workshop.toolbox.calls:
            await asyncio.sleep(0.01)
    return schedule, attempt


async def resume(workshop, service, schedule):
    workshop.toolbox.gate.set()
    async with workshop.database.connection() as conn:
        run = await fetch_run(conn, (await workshop.row("agent_runs"))["id"])
    return await service.execute(schedule, run)


async def test_second_attempt_repeats_no_finished_call(workshop):
    await workshop.declare("send", default_tier="auto")
    await workshop.agent(
        {"steps": CALLS, "answer": "{{ results | length }} results, {{ results[1] }}"}, tools=TOOLS
    )
    service = workshop.service()
    schedule, attempt = await begin(workshop, service)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt

    outcome = await resume(workshop, service, schedule)

    assert outcome.status is ResultStatus.SUCCESS
    assert outcome.content == "3 results, sent to bob"
    assert workshop.toolbox.calls == [
        ("look", "a"),
        ("send", "bob"),
        ("wait", None),
        ("wait", None),  # it never finished, and only reads
    ]
    assert outcome.metadata["attempt"] == 2
    assert outcome.metadata["replayed_steps"] == 5


async def test_held_call_is_asked_for_once(workshop):
    await workshop.agent({"steps": CALLS, "answer": "x"}, tools=TOOLS)
    service = workshop.service()
    schedule, attempt = await begin(workshop, service)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)

    outcome = await resume(workshop, service, schedule)

    assert outcome.pending_actions_created == 1
    assert len(await workshop.rows("pending_actions")) == 1


@pytest.mark.parametrize("idempotent", [False, True])
async def test_effect_that_never_finished_is_repeated_only_if_idempotent(workshop, idempotent):
    await workshop.declare("wait", read_only=False, idempotent=idempotent)
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "{{ results[0] }}"}, tools=["wait"]
    )
    service = workshop.service()
    schedule, attempt = await begin(workshop, service)
    # As kill -9 leaves it: started, durable, and nobody ever says how it ended.
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [s["status"] for s in steps if s["kind"] == "tool"] == ["started"]

    async with workshop.database.connection() as conn:
        run = await fetch_run(conn, (await workshop.row("agent_runs"))["id"])
    second = asyncio.create_task(service.execute(schedule, run))
    async with asyncio.timeout(10):
        while (await workshop.row("agent_runs"))["attempt"] < 2:
            await asyncio.sleep(0.01)
    workshop.toolbox.gate.set()  # the first goes on too, and has lost the run
    outcome = await second
    await asyncio.gather(attempt, return_exceptions=True)

    assert len(workshop.toolbox.calls) == (2 if idempotent else 1)
    if not idempotent:
        assert "unknown" in outcome.content
        assert "not repeated" in outcome.content


@pytest.mark.parametrize("has_begun", [False, True])
async def test_call_that_was_handed_over_before_it_began_is_made_by_the_next_attempt(
    workshop, monkeypatch, has_begun
):
    """Handed over while the gate judges it, it provably did not run; while it runs, it may have."""
    await workshop.declare("wait", read_only=False, idempotent=False)
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "{{ results[0] }}"}, tools=["wait"]
    )
    service, judged, decide = workshop.service(), asyncio.Event(), CallPolicy.decide

    async def hang(self, *_args, **_options):
        judged.set()
        await asyncio.Event().wait()

    if has_begun:
        schedule, attempt = await begin(workshop, service)
    else:
        monkeypatch.setattr(CallPolicy, "decide", hang)
        workshop.toolbox.gate = asyncio.Event()
        schedule = await workshop.schedule()
        attempt = asyncio.create_task(service.execute(schedule))
        await asyncio.wait_for(judged.wait(), 10)
        monkeypatch.setattr(CallPolicy, "decide", decide)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)

    outcome = await resume(workshop, service, schedule)

    assert workshop.toolbox.calls == [("wait", None)]
    assert ("unknown" in outcome.content) == has_begun
    assert has_begun or outcome.content == "waited"


async def test_run_goes_on_later_where_the_database_is_away_before_it_begins(workshop):
    async def prices():
        raise UnavailableError("The database did not answer in time.", service="database")

    await workshop.agent({"steps": [], "answer": "here"})
    schedule = await workshop.schedule()

    with pytest.raises(UnavailableError):
        await workshop.service(prices=prices).execute(schedule)

    assert await workshop.rows("agent_execution_results") == []
    workshop.toolbox.gate = asyncio.Event()
    outcome = await resume(workshop, workshop.service(), schedule)
    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "here")


async def test_disabled_tool_is_gone_for_the_next_attempt(workshop):
    await workshop.agent({"steps": CALLS, "answer": "{{ results[2] }}"}, tools=TOOLS)
    service = workshop.service()
    schedule, attempt = await begin(workshop, service)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    await workshop.owner.execute("UPDATE tools SET is_active = false WHERE name = 'wait'")

    outcome = await resume(workshop, service, schedule)

    assert workshop.toolbox.calls.count(("wait", None)) == 1
    assert outcome.content == "wait is not a tool of this agent; there are: look, send."


async def test_second_attempt_goes_on_with_the_first_ones_configuration(workshop):
    await workshop.agent({"steps": CALLS, "answer": "old"}, tools=TOOLS)
    service = workshop.service()
    schedule, attempt = await begin(workshop, service)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    await workshop.owner.execute(
        """UPDATE agent_configurations SET script = '{"steps": [], "answer": "new"}'"""
    )

    assert (await resume(workshop, service, schedule)).content == "old"


async def test_replay_that_asks_for_something_else_stops(workshop):
    await workshop.agent({"steps": CALLS, "answer": "x"}, tools=TOOLS)
    service = workshop.service()
    schedule, attempt = await begin(workshop, service)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    await workshop.owner.execute(
        'UPDATE agent_run_steps SET request = request || \'{"arguments_hash": "other"}\''
        " WHERE name = 'look'"
    )

    outcome = await resume(workshop, service, schedule)

    assert outcome.status is ResultStatus.ERROR
    assert "stops rather than do something else" in outcome.content


async def test_run_that_kills_its_workers_is_given_up(workshop):
    await workshop.agent(ANSWER)
    service = workshop.service()
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id, prompt="", trigger=Trigger.SCHEDULE)
    async with workshop.database.transaction() as conn:
        for _ in range(5):
            await claim_runs(conn, [run.id])

    outcome = await service.execute(schedule, run)

    assert outcome.status is ResultStatus.ERROR
    assert "Given up after 5 attempts" in outcome.content


async def test_run_that_stopping_workers_hand_over_is_never_given_up(workshop):
    """Seven deployments in a row, each while it runs."""
    await workshop.agent({"steps": CALLS[2:], "answer": "Done."}, tools=["wait"])
    service = workshop.service()
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id)
    for n in range(7):
        workshop.toolbox.gate = asyncio.Event()
        attempt = asyncio.create_task(service.execute(schedule, run))

        async def there(calls=n + 1):
            return len(workshop.toolbox.calls) == calls

        await until(there)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
    workshop.toolbox.gate.set()

    outcome = await service.execute(schedule, run)

    assert (outcome.status, outcome.metadata["attempt"]) == (ResultStatus.SUCCESS, 8)
    assert (await workshop.row("agent_runs"))["hand_overs"] == 7


async def test_identical_parallel_calls_are_journalled_apart(workshop):
    same = {"tool": "look", "args": {"query": "x"}}
    await workshop.agent({"steps": [{"calls": [same, same, same]}], "answer": "x"}, tools=["look"])

    await workshop.service().execute(await workshop.schedule())

    steps = [s for s in await workshop.rows("agent_run_steps") if s["kind"] == "tool"]
    assert sorted(s["call_index"] for s in steps) == [0, 1, 2]
