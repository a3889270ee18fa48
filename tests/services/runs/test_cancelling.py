"""A run that somebody cancels ends within seconds, wherever it is, with what it has said so far."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from langchain_core.tools import tool

from rota.agents.models.building import ChatModels
from rota.agents.own_code.registered import AsyncFunction
from rota.domain.runs.run import ResultStatus
from rota.services.operations.background_tasks import CANCEL_CHECK_EVERY, CANCELLED_WITHIN
from rota.services.runs.service import RunService
from rota.store.runs.intake import claim_runs
from tests.loopback.model_server import Fails, Hangs, Says
from tests.loopback.openai import OpenAIServer
from tests.services.running import make_run, queue_runs, results, until, working

LOOK = Says("Looking.", (("look", {}),))


async def openai_agent(workshop, *tools, retries=0):
    await workshop.agent(
        model="openai:gpt-4o-mini",
        model_settings={"endpoint": "local", "max_retries": retries},
        tools=tools,
    )


def on(server):
    return ChatModels(endpoints={"local": server.url})


async def cancel(workshop, run, note="enough"):
    view = await RunService(workshop.database).cancel(workshop.user, str(run.id), note=note)
    return view.status


@pytest.fixture
def patient(monkeypatch):
    """A worker that leaves nobody behind: what does not stop when it is asked to never ends."""
    monkeypatch.setattr("rota.services.operations.background_tasks.CANCELLED_WITHIN", 600.0)


def test_run_is_asked_to_stop_and_left_behind_within_two_seconds():
    assert CANCEL_CHECK_EVERY + CANCELLED_WITHIN < 2.0


async def cancelled_in(workshop, url, there, **options):
    """Execute a run, cancel it once it is `there`, and return its result."""
    run = await make_run(workshop)
    async with working(workshop, url, **options):
        await queue_runs(workshop.database)
        await until(there)
        await cancel(workshop, run)
        (result,) = await results(workshop)
    assert result["metadata"]["attempt"] == 1  # it ended itself
    assert (await workshop.row("agent_runs"))["status"] == "cancelled"
    assert result["metadata"]["cancelled"] == "enough"
    return result


@pytest.mark.usefixtures("patient")
async def test_run_in_a_model_call(workshop, database_url):
    await openai_agent(workshop, "look")
    with OpenAIServer(LOOK, Hangs()) as server:

        async def there():
            return len(server.requests) == 2

        result = await cancelled_in(workshop, database_url, there, models=on(server))
        server.closing.set()
    assert (result["status"], result["result_content"]) == ("partial", "Looking.")


@pytest.mark.usefixtures("patient")
async def test_run_in_an_asynchronous_tool(workshop, database_url):
    await openai_agent(workshop, "wait")
    workshop.toolbox.gate = asyncio.Event()
    with OpenAIServer(Says("Waiting.", (("wait", {}),))) as server:

        async def there():
            return workshop.toolbox.calls

        result = await cancelled_in(workshop, database_url, there, models=on(server))
    assert (result["status"], result["result_content"]) == ("partial", "Waiting.")
    (step,) = [s for s in await workshop.rows("agent_run_steps") if s["kind"] == "tool"]
    assert step["status"] == "unknown"


@pytest.mark.usefixtures("patient")
async def test_late_answer_of_a_tool_in_a_thread_is_discarded(workshop, database_url):
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    @tool
    def hang() -> str:
        """Hang in a thread that nobody can stop."""
        begun.set()
        go_on.wait(60)
        ended.set()
        return "too late"

    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, default_tier, brings_outside_text)"
        " VALUES ('hang', false, 'auto', false)"
    )
    await openai_agent(workshop, "hang")
    registry = workshop.toolbox.registry()
    registry.register("hang", lambda _context: hang)

    async def there():
        return begun.is_set()

    with OpenAIServer(Says("Hanging.", (("hang", {}),))) as server:
        result = await cancelled_in(
            workshop, database_url, there, models=on(server), registry=registry
        )
    assert (result["status"], result["result_content"]) == ("partial", "Hanging.")
    before = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [s["status"] for s in before if s["kind"] == "tool"] == ["unknown"]
    audit = [row["outcome"] for row in await workshop.rows("audit_logs", "id")]
    assert audit == ["started", "unknown"]

    go_on.set()
    await asyncio.to_thread(ended.wait, 5)
    await asyncio.sleep(0.3)

    assert await workshop.rows("agent_run_steps", "model_step, call_index") == before
    assert (await workshop.row("agent_execution_results"))["result_content"] == "Hanging."


@pytest.mark.usefixtures("patient")
async def test_run_that_waits_to_ask_its_model_again(workshop, database_url):
    await openai_agent(workshop, "look", retries=5)
    busy = Fails(429, "rate_limit_error", headers={"retry-after": "50"})
    with OpenAIServer(LOOK, busy) as server:

        async def there():
            steps = await workshop.rows("agent_run_steps")
            return any(step["attempts"] for step in steps)

        result = await cancelled_in(workshop, database_url, there, models=on(server))
    assert (result["status"], result["result_content"]) == ("partial", "Looking.")


@pytest.mark.usefixtures("patient")
async def test_run_in_a_precheck(workshop, database_url):
    await openai_agent(workshop, "wait")
    workshop.toolbox.gate = asyncio.Event()
    run = await make_run(workshop, options={"precheck": {"tool": "wait"}})
    with OpenAIServer() as server:
        async with working(workshop, database_url, models=on(server)):
            await queue_runs(workshop.database)

            async def there():
                return workshop.toolbox.calls

            await until(there)
            await cancel(workshop, run)
            (result,) = await results(workshop)
        assert server.requests == []
    assert result["metadata"]["attempt"] == 1
    assert result["status"] == "error"
    assert result["metadata"]["cancelled"] == "enough"
    assert (await workshop.row("notifications"))["title"] == "watcher was cancelled"


async def test_callable_that_will_not_be_cancelled_is_left_behind(workshop, database_url):
    """The next attempt ends the run; what the first one does after that is fenced."""
    go_on = threading.Event()
    begun = []

    async def stubborn(_context, _prompt):
        begun.append(1)
        while not go_on.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return "I did it all the same."

    await workshop.agent(model="callable:stubborn")
    run = await make_run(workshop)
    callables = {"stubborn": AsyncFunction("stubborn", stubborn)}
    async with working(workshop, database_url, callables=callables):
        await queue_runs(workshop.database)

        async def there():
            return begun

        await until(there)
        await cancel(workshop, run)
        (result,) = await results(workshop)
        go_on.set()
        await asyncio.sleep(0.5)
    assert begun == [1]
    assert "cancelled" in result["metadata"]
    assert (await workshop.row("agent_execution_results"))["id"] == result["id"]
    assert len(await workshop.rows("notifications")) == 1


async def interrupted(workshop, service, schedule, run):
    """Hand a run over while it waits in its tool; returns when its first attempt has ended."""
    workshop.toolbox.gate = asyncio.Event()
    attempt = asyncio.create_task(service.execute(schedule, run))

    async def there():
        return workshop.toolbox.calls.count(("wait", None))

    await until(there)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)


async def test_cancel_during_the_hand_over_keeps_what_was_said(workshop):
    await openai_agent(workshop, "look", "wait")
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id)
    with OpenAIServer(LOOK, Says("Waiting.", (("wait", {}),))) as server:
        service = workshop.service(models=on(server))
        await interrupted(workshop, service, schedule, run)
        assert await cancel(workshop, run) == "running"
        outcome = await service.execute(schedule, run)

        assert len(server.requests) == 2
    assert outcome.status is ResultStatus.PARTIAL
    assert outcome.content == "Looking.\n\nWaiting."
    assert outcome.metadata["cancelled"] == "enough"
    assert outcome.metadata["tokens"] == {"input": 22, "output": 14}


async def test_cancel_that_comes_while_a_worker_stops_counts(workshop):
    """Cancelled by the worker's end, and by its owner: it is not handed over, it is over."""
    await openai_agent(workshop, "wait")
    workshop.toolbox.gate = asyncio.Event()
    run = await make_run(workshop)
    with OpenAIServer(Says("Waiting.", (("wait", {}),))) as server:
        service = workshop.service(models=on(server))
        attempt = asyncio.create_task(service.execute_run(run))

        async def there():
            return workshop.toolbox.calls

        await until(there)
        await cancel(workshop, run)
        attempt.cancel()
        outcome = await attempt

    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "Waiting.")


@pytest.mark.parametrize("attempts", [1, 6])
async def test_run_whose_worker_is_dead_is_ended_by_the_next(workshop, attempts):
    """Also where it was to be given up: what was said is worth keeping."""
    await openai_agent(workshop, "look")
    run = await make_run(workshop)
    async with workshop.database.transaction() as conn:
        for _ in range(attempts):
            await claim_runs(conn, [run.id])
    message = {"type": "ai", "data": {"content": "Looking.", "type": "ai", "tool_calls": []}}
    await workshop.owner.execute(
        "INSERT INTO agent_run_steps (run_id, user_id, attempt, model_step, call_index, kind, name,"
        " status, response, usage, cost_usd, started_at, finished_at)"
        " VALUES (%s, %s, 1, 1, -1, 'model', 'm', 'finished', %s, %s, 0.5, now(), now())",
        [
            run.id,
            workshop.user,
            json.dumps([message]),
            json.dumps({"input_tokens": 3, "output_tokens": 2}),
        ],
    )
    await cancel(workshop, run)
    with OpenAIServer() as server:
        outcome = await workshop.service(models=on(server)).execute_run(run)

        assert server.requests == []
    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "Looking.")
    assert outcome.metadata["tokens"] == {"input": 3, "output": 2}
    assert outcome.metadata["cost_usd"] == "0.5"
    assert await workshop.rows("usage_days") == []  # counted when it was spent


@pytest.mark.parametrize("admitted", [False, True])
async def test_run_that_has_not_begun_never_begins(workshop, database_url, admitted):
    await workshop.agent({"steps": [], "answer": "x"})
    run = await make_run(workshop)
    if admitted:
        await queue_runs(workshop.database)
    assert await cancel(workshop, run) == "cancelled"
    async with working(workshop, database_url):
        await asyncio.sleep(1.0)
    assert await workshop.rows("agent_execution_results") == []
    assert (await workshop.row("agent_runs"))["attempt"] == 0


async def test_tool_that_cancels_itself_is_a_failure_and_no_hand_over(workshop):
    """A CancelledError that nobody asked for, as of a library whose task was cancelled."""

    async def itself(_context, _prompt):
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    await workshop.agent(model="callable:itself")
    service = workshop.service(callables={"itself": AsyncFunction("itself", itself)})

    outcome = await service.execute(await workshop.schedule())

    assert outcome.status is ResultStatus.ERROR
    assert "cancelled" in outcome.content
    assert "cancelled" not in outcome.metadata


async def test_tool_of_an_agent_that_cancels_itself(workshop):
    @tool
    async def itself() -> str:
        """Await what was cancelled."""
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
        return "never"

    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, default_tier, brings_outside_text)"
        " VALUES ('itself', true, 'auto', false)"
    )
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "itself"}]}], "answer": "{{ results[0] }}"},
        tools=["itself"],
    )
    registry = workshop.toolbox.registry()
    registry.register("itself", lambda _context: itself)

    outcome = await workshop.service(registry=registry).execute(await workshop.schedule())

    assert outcome.status in {ResultStatus.SUCCESS, ResultStatus.ERROR}
    assert "cancelled" in outcome.content.lower()
