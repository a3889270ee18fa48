"""Limits of runs and days: warned at 80 %, stopped at 100 %, and counted once."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from rota.agents.models.building import ChatModels
from rota.agents.own_code.registered import Graph
from rota.domain.agents.prices import Price
from rota.domain.runs.run import ResultStatus
from rota.services.agents.prices import ModelPriceService
from rota.store.runs.intake import claim_runs
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer
from tests.services.harness import ANSWER
from tests.services.running import limit_agent, make_run, until

PER_CALL = 18
"""Tokens of each answer of the loopback server: 11 in, 7 out."""

LOOK = Says("Looking.", (("look", {"query": "a"}),))
DONE = Says("Done.")


class Unreporting(OpenAIServer):
    """Does not say how many tokens were used."""

    def answer(self, request, reply):
        return {k: v for k, v in super().answer(request, reply).items() if k != "usage"}


async def openai_agent(workshop, *, name="watcher", tools=("look", "wait", "send"), **options):
    return await workshop.agent(
        name=name,
        tools=tools,
        model="openai:gpt-4o-mini",
        model_settings={"endpoint": "local", "max_retries": 0},
        **options,
    )


def on(server):
    return ChatModels(endpoints={"local": server.url})


async def dollars_a_call(workshop, price="1"):
    """Make each call of the loopback server cost 18 millionths of `price` dollars."""
    await ModelPriceService(workshop.database).set(
        "openai:*", Price(Decimal(price), Decimal(price))
    )


async def set_options(workshop, table, row_id, **options):
    await workshop.owner.execute(
        f"UPDATE {table} SET options = %s WHERE id = %s", [json.dumps(options), row_id]
    )


async def spent(workshop):
    """Return what the days say, and what the steps say: (calls, input, output, cost) each."""
    cursor = await workshop.owner.execute(
        "SELECT sum(model_calls), sum(input_tokens), sum(output_tokens), sum(cost_usd)"
        " FROM usage_days WHERE schedule_id IS NULL"
    )
    days = await cursor.fetchone()
    cursor = await workshop.owner.execute(
        "SELECT count(*), sum((usage->>'input_tokens')::int), sum((usage->>'output_tokens')::int),"
        " sum(cost_usd) FROM agent_run_steps WHERE kind = 'model' AND usage IS NOT NULL"
    )
    return days, await cursor.fetchone()


# One run


@pytest.mark.parametrize(
    ("limits", "kind", "calls"),
    [
        ({"steps": 2}, "steps", 2),
        ({"tokens": 2 * PER_CALL}, "tokens", 2),
        ({"tokens": 2 * PER_CALL + 1}, "tokens", 3),
        ({"cost_usd": "0.000036"}, "cost", 2),
    ],
)
async def test_run_stops_before_the_call_that_has_nothing_left(workshop, limits, kind, calls):
    await openai_agent(workshop)
    await dollars_a_call(workshop)
    await limit_agent(workshop, **limits)
    with OpenAIServer(*[LOOK] * 9) as server:
        outcome = await workshop.service(models=on(server)).execute(await workshop.schedule())

        assert len(server.requests) == calls
    assert outcome.status is ResultStatus.PARTIAL
    assert outcome.content == "\n\n".join(["Looking."] * calls)
    assert outcome.metadata["limit"] == kind
    assert "limit of" in outcome.metadata["stopped"]
    assert outcome.metadata["warnings"][-1] == outcome.metadata["stopped"]
    assert outcome.metadata["tokens"] == {"input": 11 * calls, "output": 7 * calls}


async def test_run_that_said_nothing_before_its_limit_is_an_error(workshop):
    await openai_agent(workshop)
    await limit_agent(workshop, tokens=PER_CALL)
    with OpenAIServer(*[Says("", LOOK.calls)] * 9) as server:
        outcome = await workshop.service(models=on(server)).execute(await workshop.schedule())

    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["limit"] == "tokens"
    assert outcome.content == outcome.metadata["stopped"]


async def test_model_is_told_to_finish_at_four_fifths(workshop):
    await openai_agent(workshop)
    await limit_agent(workshop, tokens=5 * PER_CALL)
    with OpenAIServer(LOOK, LOOK, LOOK, LOOK, DONE) as server:
        outcome = await workshop.service(models=on(server)).execute(await workshop.schedule())

        told = ["Finish now" in json.dumps(r.body["messages"]) for r in server.requests]
    assert told == [False, False, False, False, True]
    assert outcome.status is ResultStatus.SUCCESS
    assert outcome.metadata["warnings"][0] == "80% of the run's limit of 90 tokens was used."


async def test_wall_limit_ends_a_model_call(workshop):
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "look"}]}, {"sleep_ms": 60_000}], "answer": "x"},
        tools=["look"],
    )
    await limit_agent(workshop, wall_seconds=1)

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.metadata["limit"] == "wall"
    assert outcome.status is ResultStatus.ERROR


async def test_idle_limit_ends_what_does_not_move(workshop):
    await workshop.agent({"steps": [{"sleep_ms": 60_000}], "answer": "x"})
    await limit_agent(workshop, idle_seconds=1)

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.metadata["limit"] == "idle"


async def test_parallel_tool_that_ends_leaves_the_slow_one_its_time(workshop):
    """The slow one may be silent for its own time limit, whatever else has moved meanwhile."""
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "slow"}, {"tool": "look"}]}], "answer": "{{ results[0] }}"},
        tools=[],
    )

    @tool
    async def slow() -> str:
        """Take a while."""
        await asyncio.sleep(2.5)
        return "slow but sure"

    await declare(workshop, "slow", read_only=True)
    await link(workshop, "watcher", "slow", "look")
    await limit_agent(workshop, idle_seconds=1)
    registry = workshop.toolbox.registry()
    registry.register("slow", lambda _context: slow)

    outcome = await workshop.service(registry=registry).execute(await workshop.schedule())

    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "slow but sure")


# Whose limit holds


async def _steps_of(workshop, *, agent, schedule=None, run=None, shared=False):
    """Return how many calls a run makes under these limits of steps."""
    await openai_agent(workshop)
    await limit_agent(workshop, shared=shared, **({"steps": agent} if agent else {}))
    made = await workshop.schedule(
        options=json.dumps({"limits": {"steps": schedule}} if schedule else {})
    )
    manual = await make_run(
        workshop,
        schedule_id=made.id,
        options={"limits": {"steps": run}} if run else None,
    )
    with OpenAIServer(*[LOOK] * 30) as server:
        await workshop.service(models=on(server)).execute(made, manual)
        return len(server.requests)


async def test_the_most_specific_limit_wins(workshop):
    assert await _steps_of(workshop, agent=2, schedule=3, run=4) == 4


async def test_schedules_limit_comes_before_the_agents(workshop):
    assert await _steps_of(workshop, agent=4, schedule=2) == 2


async def test_shared_agents_limit_is_not_loosened(workshop):
    assert await _steps_of(workshop, agent=2, schedule=9, run=8, shared=True) == 2


async def test_shared_agents_limit_is_tightened(workshop):
    assert await _steps_of(workshop, agent=5, schedule=4, run=3, shared=True) == 3


async def test_runs_day_limit_leaves_the_schedules_other_one(workshop):
    """A run that sets a limit of tokens is not rid of its schedule's limit in dollars."""
    await openai_agent(workshop)
    await dollars_a_call(workshop)
    schedule = await workshop.schedule(options=json.dumps({"day_limits": {"cost_usd": "0.000018"}}))
    run = await make_run(
        workshop, schedule_id=schedule.id, options={"day_limits": {"tokens": 10_000}}
    )
    with OpenAIServer(*[LOOK] * 9) as server:
        outcome = await workshop.service(models=on(server)).execute(schedule, run)

    assert outcome.metadata["limit"] == "day_cost"


# Days


async def test_two_runs_of_a_day_go_over_by_one_call_each_at_most(workshop):
    await openai_agent(workshop)
    schedule = await workshop.schedule(
        options=json.dumps({"day_limits": {"tokens": 10 * PER_CALL}}), overlap_policy="allow_all"
    )
    with OpenAIServer(*[LOOK] * 60) as server:
        service = workshop.service(models=on(server))
        runs = [await make_run(workshop, schedule_id=schedule.id) for _ in range(4)]
        outcomes = await asyncio.gather(*(service.execute(schedule, run) for run in runs))
        asked = len(server.requests)

        again = await service.execute(schedule)
        assert len(server.requests) == asked  # nothing is left for a run that comes later
    assert 10 <= asked <= 10 + 4 - 1
    for outcome in outcomes:
        assert outcome.metadata["limit"] == "day_tokens"
        assert outcome.status is ResultStatus.PARTIAL
        assert any("of this schedule's limit" in w for w in outcome.metadata["warnings"])
    assert again.status is ResultStatus.ERROR
    assert again.metadata["limit"] == "day_tokens"
    days, steps = await spent(workshop)
    assert days == steps
    assert days[0] == asked


async def test_schedules_day_is_not_another_schedules(workshop):
    await openai_agent(workshop)
    limits = json.dumps({"day_limits": {"tokens": PER_CALL}})
    first = await workshop.schedule(options=limits)
    second = await workshop.schedule(name="evening", options=limits)
    with OpenAIServer(*[LOOK] * 9) as server:
        service = workshop.service(models=on(server))
        await service.execute(first)
        await service.execute(second)

        assert len(server.requests) == 2
    by_schedule = {r["schedule_id"]: r["model_calls"] for r in await workshop.rows("usage_days")}
    assert by_schedule == {None: 2, first.id: 1, second.id: 1}


# Later attempts


async def interrupted(workshop, service, schedule, run):
    """Execute a run until it waits in its tool, and hand it over."""
    workshop.toolbox.gate = asyncio.Event()
    attempt = asyncio.create_task(service.execute(schedule, run))

    async def waits():
        return ("wait", None) in workshop.toolbox.calls

    await until(waits)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    workshop.toolbox.gate.set()


async def test_replayed_calls_count_for_the_run_and_once_for_the_day(workshop):
    await openai_agent(workshop)
    await limit_agent(workshop, tokens=3 * PER_CALL)
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id)
    wait = Says("Waiting.", (("wait", {}),))
    with OpenAIServer(LOOK, wait, LOOK, LOOK, LOOK) as server:
        service = workshop.service(models=on(server))
        await interrupted(workshop, service, schedule, run)
        outcome = await service.execute(schedule, run)

        assert len(server.requests) == 3
    assert outcome.metadata["limit"] == "tokens"
    assert outcome.metadata["tokens"] == {"input": 33, "output": 21}
    assert outcome.content == "Looking.\n\nWaiting.\n\nLooking."
    days, steps = await spent(workshop)
    assert days == steps
    assert days[:3] == (3, 33, 21)


async def test_day_that_others_used_up_does_not_take_what_a_run_has_said(workshop):
    """What is replayed costs nothing: the later attempt gets as far as the first one did."""
    await openai_agent(workshop)
    schedule = await workshop.schedule(
        options=json.dumps({"day_limits": {"tokens": 3 * PER_CALL}}), overlap_policy="allow_all"
    )
    run = await make_run(workshop, schedule_id=schedule.id)
    with OpenAIServer(LOOK, Says("Waiting.", (("wait", {}),)), *[LOOK] * 9) as server:
        service = workshop.service(models=on(server))
        await interrupted(workshop, service, schedule, run)
        await service.execute(schedule)
        outcome = await service.execute(schedule, run)

        assert len(server.requests) == 3
    assert outcome.status is ResultStatus.PARTIAL
    assert outcome.content == "Looking.\n\nWaiting."
    assert outcome.metadata["limit"] == "day_tokens"


async def test_tools_side_by_side_take_their_time_once(workshop):
    """Ten calls of one second each, made at once, are one second of an attempt, not ten."""
    schedule = await workshop.schedule()
    await workshop.agent({"steps": [], "answer": "Done."})
    await limit_agent(workshop, wall_seconds=8)
    run = await make_run(workshop, schedule_id=schedule.id)
    async with workshop.database.transaction() as conn:
        await claim_runs(conn, [run.id])
    await workshop.owner.execute(
        "INSERT INTO agent_run_steps (run_id, user_id, attempt, model_step, call_index, kind, name,"
        " status, started_at, finished_at)"
        " SELECT %s, %s, 1, 1, n, 'tool', 'look', 'finished', now() - interval '1 second', now()"
        " FROM generate_series(0, 9) AS n",
        [run.id, workshop.user],
    )

    outcome = await workshop.service().execute(schedule, run)

    assert outcome.content == "Done."


async def test_attempt_that_has_no_time_left_keeps_what_was_said(workshop):
    await openai_agent(workshop)
    await limit_agent(workshop, wall_seconds=3600)
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id)
    with OpenAIServer(LOOK, Says("Waiting.", (("wait", {}),)), *[LOOK] * 9) as server:
        service = workshop.service(models=on(server))
        await interrupted(workshop, service, schedule, run)
        await workshop.owner.execute(
            "UPDATE agent_run_steps SET started_at = finished_at - interval '2 hours'"
            " WHERE model_step = 1 AND call_index = -1"
        )
        outcome = await service.execute(schedule, run)

    assert outcome.metadata["limit"] == "wall"
    assert outcome.status is ResultStatus.PARTIAL
    assert outcome.content == "Looking.\n\nWaiting."


# Money


@pytest.mark.parametrize("where", ["run", "day"])
async def test_unknown_price_under_a_cost_limit_asks_no_model(workshop, where):
    await workshop.agent(
        model="openai:our-own-model", model_settings={"endpoint": "local"}, tools=["look"]
    )
    if where == "run":
        await limit_agent(workshop, cost_usd="1")
    day = {"day_limits": {"cost_usd": "1"}} if where == "day" else {}
    with OpenAIServer(DONE) as server:
        outcome = await workshop.service(models=on(server)).execute(
            await workshop.schedule(options=json.dumps(day))
        )

        assert server.requests == []
    assert outcome.status is ResultStatus.ERROR
    assert "No price is known for openai:our-own-model" in outcome.content


async def test_unknown_price_of_a_model_to_fall_back_on_is_refused_too(workshop):
    await openai_agent(workshop)
    await limit_agent(workshop, cost_usd="1")
    await workshop.owner.execute(
        "UPDATE agent_configurations SET fallback_models = '{openai:our-own-model}'"
    )
    with OpenAIServer(DONE) as server:
        outcome = await workshop.service(models=on(server)).execute(await workshop.schedule())

        assert server.requests == []
    assert "No price is known for openai:our-own-model" in outcome.content


async def test_provider_that_reports_no_usage_is_estimated(workshop):
    await openai_agent(workshop)
    await limit_agent(workshop, tokens=30)
    with Unreporting(*[LOOK] * 30) as server:
        outcome = await workshop.service(models=on(server)).execute(await workshop.schedule())

        assert 1 <= len(server.requests) < 10
    assert outcome.metadata["limit"] == "tokens"
    assert outcome.metadata["tokens"]["input"] > 0
    models = [s for s in await workshop.rows("agent_run_steps") if s["kind"] == "model"]
    assert all(step["usage"]["estimated"] for step in models)
    days, steps = await spent(workshop)
    assert days == steps


# The days' figures


async def test_days_say_what_steps_say_however_many_run_at_once(workshop, bob):
    await dollars_a_call(workshop, "0.000003")
    await openai_agent(workshop)
    other = await workshop.schedule(
        name="other", options=json.dumps({"day_limits": {"tokens": 10**6}})
    )
    schedule = await workshop.schedule(overlap_policy="allow_all")
    with OpenAIServer(*[LOOK, DONE] * 200) as server:
        service = workshop.service(models=on(server))
        runs = [await make_run(workshop, schedule_id=made.id) for made in [schedule, other] * 15]
        outcomes = await asyncio.gather(*map(service.execute, [schedule, other] * 15, runs))
        assert {o.status for o in outcomes} <= {ResultStatus.SUCCESS, ResultStatus.PARTIAL}
        asked = len(server.requests)

    days, steps = await spent(workshop)
    assert days == steps
    assert days[0] == asked
    assert days[3] == asked * 18 * Decimal("0.000003") / 1_000_000


# The client's own: what it does not begin any more once it is cancelled.
@pytest.mark.filterwarnings("ignore:coroutine 'connect_tcp:RuntimeWarning")
async def test_write_that_is_cut_off_is_counted_once(workshop):
    """Cancelled anywhere, in a commit above all, and gone on with: the days have each call once."""
    await openai_agent(workshop)
    schedule = await workshop.schedule(
        options=json.dumps({"day_limits": {"tokens": 10**9}}), overlap_policy="allow_all"
    )
    with OpenAIServer(*[LOOK] * 3_000) as server:
        service = workshop.service(models=on(server))

        async def disturbed(number):
            run = await make_run(
                workshop, schedule_id=schedule.id, options={"limits": {"steps": 6}}
            )
            for attempt in range(3):
                task = asyncio.create_task(service.execute(schedule, run))
                await asyncio.sleep(0.05 + 0.0137 * number + 0.05 * attempt)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await service.execute(schedule, run)

        ended = await asyncio.gather(
            *(disturbed(number) for number in range(24)), return_exceptions=True
        )

    assert ended == [None] * 24
    days, steps = await spent(workshop)
    assert days == steps
    assert len(await workshop.rows("agent_execution_results")) == 24


async def test_crash_between_flush_and_finish_counts_nothing_twice(workshop):
    await openai_agent(workshop)
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id)
    with OpenAIServer(LOOK, Says("Waiting.", (("wait", {}),)), DONE, DONE) as server:
        service = workshop.service(models=on(server))
        workshop.toolbox.gate = asyncio.Event()
        crashed = asyncio.create_task(service.execute(schedule, run))

        async def flushed():
            rows = await workshop.rows("agent_run_steps")
            return [r for r in rows if r["kind"] == "model" and r["status"] == "finished"][1:]

        await until(flushed)
        # Never heard of again, as far as the next attempt is concerned.
        second = asyncio.create_task(service.execute(schedule, run))

        async def taken():
            return (await workshop.row("agent_runs"))["attempt"] == 2

        await until(taken)
        workshop.toolbox.gate.set()
        outcome = await second
        await asyncio.gather(crashed, return_exceptions=True)

    assert outcome.content == "Done."
    days, steps = await spent(workshop)
    assert days == steps
    assert days[0] == 3


async def declare(workshop, name, *, read_only=True, idempotent=True, tier="auto"):
    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, idempotent, default_tier) VALUES (%s, %s, %s, %s)",
        [name, read_only, idempotent, tier],
    )


async def link(workshop, agent_name, *tools):
    for position, name in enumerate(tools):
        await workshop.owner.execute(
            "INSERT INTO agent_tools (agent_id, tool_id, position)"
            " SELECT a.id, t.id, %s FROM agent_configurations AS a, tools AS t"
            " WHERE a.agent_name = %s AND t.name = %s",
            [position, agent_name, name],
        )


# Graphs of an operator's own


def chat(server, **more):
    return ChatOpenAI(
        model="gpt-4o-mini", base_url=server.url, api_key="none", max_retries=0, **more
    )


def two_calls(model):
    """Return a graph that asks its model twice."""
    graph = StateGraph(MessagesState)

    async def ask(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph.add_node("first", ask)
    graph.add_node("second", ask)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    return graph.compile()


async def graphs_outcome(workshop, graph, **limits):
    await workshop.agent(model="callable:own")
    await limit_agent(workshop, **limits)
    service = workshop.service(callables={"own": Graph("own", graph)})
    return await service.execute(await workshop.schedule())


async def test_own_graph_whose_provider_reports_no_usage_is_estimated(workshop):
    with Unreporting(Says("Looking."), DONE) as server:
        outcome = await graphs_outcome(workshop, two_calls(chat(server)), tokens=5)

        assert len(server.requests) == 1
    assert outcome.metadata["limit"] == "tokens"
    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "Looking.")
    (step,) = [s for s in await workshop.rows("agent_run_steps") if s["kind"] == "model"]
    assert step["usage"]["estimated"]
    days, steps = await spent(workshop)
    assert days == steps


async def test_own_graph_asks_no_model_of_unknown_price_under_a_cost_limit(workshop):
    with OpenAIServer(DONE, DONE) as server:
        model = chat(server).model_copy(update={"model_name": "our-own-model"})
        outcome = await graphs_outcome(workshop, two_calls(model), cost_usd="1")

        assert server.requests == []
    assert outcome.status is ResultStatus.ERROR
    assert "No price is known for openai:our-own-model" in outcome.content


async def test_a_persons_day_is_the_operators_to_limit(workshop):
    """Everybody's limit, over all of a person's runs of the day, whatever they belong to."""
    await workshop.owner.execute("INSERT INTO user_limits (day_tokens) VALUES (100)")
    await workshop.owner.execute(
        "INSERT INTO usage_days (user_id, day, input_tokens)"
        " VALUES (%s, (now() AT TIME ZONE 'UTC')::date, 100)",
        [workshop.user],
    )
    await workshop.agent(ANSWER)

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["limit"] == "day_tokens"
    assert "your limit of 100 tokens a day" in outcome.content
