"""Limits of plain functions: rota's models for them, and what they say that others used."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from rota.agents.models.building import ChatModels
from rota.agents.own_code.registered import AsyncFunction, GraphFactory
from rota.domain.runs.limits import LimitReachedError
from rota.domain.runs.run import ResultStatus
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import Fails, Says
from tests.loopback.openai import OpenAIServer
from tests.services.running import limit_agent, make_run
from tests.services.runs.test_limits import PER_CALL, chat, dollars_a_call, interrupted, spent

MINI = "openai:gpt-4o-mini"
DONE = Says("Done.")


@pytest.fixture
def run(workshop):
    async def made(call, *, server=None, models=None, tools=("look", "send"), limits=None, **more):
        registered = call if isinstance(call, GraphFactory) else AsyncFunction("own", call)
        if models is None and server is not None:
            models = ChatModels(endpoints={"local": server.url}, api_keys={"local": "good-key"})
        await workshop.agent(model="callable:own", tools=tools, **more)
        await limit_agent(workshop, **(limits or {}))
        service = workshop.service(callables={"own": registered}, models=models)
        return await service.execute(await workshop.schedule())

    return made


async def asks_once(context, prompt):
    return await context.model(MINI, endpoint="local", max_retries=1).ainvoke(prompt)


async def model_steps(workshop):
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    return [step for step in steps if step["kind"] == "model"]


async def test_model_of_the_context_has_rotas_key_and_is_in_the_trace(workshop, run):
    await dollars_a_call(workshop)
    with OpenAIServer(DONE) as server:
        outcome = await run(asks_once, server=server)

        assert server.requests[0].headers["authorization"] == "Bearer good-key"
    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "Done.")
    assert outcome.metadata["tokens"] == {"input": 11, "output": 7}
    assert Decimal(outcome.metadata["cost_usd"]) == Decimal("0.000018")
    (step,) = await model_steps(workshop)
    assert (step["name"], step["status"]) == (MINI, "finished")
    days, steps = await spent(workshop)
    assert days == steps


async def test_model_of_the_context_is_retried_and_each_attempt_is_shown(workshop, run):
    with OpenAIServer(Fails(503, "server_error"), DONE) as server:
        outcome = await run(asks_once, server=server)

    assert outcome.content == "Done."
    assert outcome.metadata["failed_model_calls"] == 1
    (step,) = await model_steps(workshop)
    assert [attempt["kind"] for attempt in step["attempts"]] == ["unavailable"]


async def test_model_of_the_context_falls_back_on_another_provider(workshop, run, monkeypatch):
    async def own(context, prompt):
        other = "anthropic:claude-sonnet-5"
        model = context.model(MINI, fallbacks=[other], endpoint="local", max_tokens=100)
        return (await model.bind_tools(list(context.tools.values())).ainvoke(prompt)).tool_calls

    calls = Says("", (("look", {"query": "a"}),))
    with OpenAIServer(Fails(401, "x")) as first, AnthropicServer(calls) as second:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", second.url)
        models = ChatModels(endpoints={"local": first.url}, api_keys={"anthropic": "k"})
        outcome = await run(own, models=models)

        assert first.requests[0].body["tools"][0]["function"]["name"] == "look"
        assert second.requests[0].body["tools"][0]["name"] == "look"
    (called,) = json.loads(outcome.content)
    assert (called["name"], called["args"]) == ("look", {"query": "a"})
    (step,) = await model_steps(workshop)
    assert step["name"] == "anthropic:claude-sonnet-5"


async def test_failure_of_all_models_is_a_passing_one_where_it_is(run):
    with OpenAIServer(Fails(429, "x"), Fails(429, "x")) as server:
        outcome = await run(asks_once, server=server)

    assert outcome.status is ResultStatus.ERROR
    assert "Tried: 2 attempts of openai:gpt-4o-mini." in outcome.content
    assert outcome.metadata["error_kind"] == "rate_limit"
    assert outcome.metadata["failed_model_calls"] == 2


async def test_model_of_the_context_is_sent_answers_of_tools_that_its_provider_takes(run):
    async def own(context, prompt):
        call = {"name": "look", "args": {}, "id": "c1", "type": "tool_call"}
        blocks = [{"type": "file", "url": "docs://1"}, {"type": "text", "text": "x" * 200_000}]
        said = [HumanMessage(prompt), AIMessage("", tool_calls=[call])]
        answer = ToolMessage(blocks, tool_call_id="c1")
        return (await context.model(MINI, endpoint="local").ainvoke([*said, answer])).text

    with OpenAIServer(DONE) as server:
        assert (await run(own, server=server)).content == "Done."

    (answer,) = [m for m in server.requests[0].body["messages"] if m["role"] == "tool"]
    assert answer["content"].startswith("[file] (docs://1)\n\nxxx")
    assert "the first 100,000" in answer["content"]


async def test_model_of_the_context_keeps_to_the_limits(workshop, run):
    async def own(context, prompt):
        model = context.model(MINI, endpoint="local")
        for _ in range(5):
            await model.ainvoke([SystemMessage("Be short."), ("user", prompt)])
        return "all five"

    with OpenAIServer(*[DONE] * 5) as server:
        outcome = await run(own, server=server, limits={"tokens": 2 * PER_CALL + 3})

        assert len(server.requests) == 3
        told = [request.body["messages"][0]["content"] for request in server.requests]
    assert outcome.metadata["limit"] == "tokens"
    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "Done.\n\nDone.\n\nDone.")
    assert told[0] == told[1] == "Be short."
    assert told[2].startswith("Be short.\n\nYou have used most")


async def test_model_of_unknown_price_is_not_asked_under_a_limit_in_dollars(run):
    async def own(context, prompt):
        model = context.model(MINI, fallbacks=["openai:our-own"], endpoint="local")
        return await model.ainvoke(prompt)

    with OpenAIServer(DONE) as server:
        outcome = await run(own, server=server, limits={"cost_usd": "1"})

        assert server.requests == []
    assert outcome.status is ResultStatus.ERROR
    assert "No price is known for openai:our-own," in outcome.content


async def test_graph_of_the_contexts_model_is_counted_once(workshop, run):
    def build(context):
        return create_agent(context.model(MINI, endpoint="local"), list(context.tools.values()))

    with OpenAIServer(Says("", (("look", {"query": "a"}),)), DONE) as server:
        outcome = await run(GraphFactory("own", build), server=server)

    assert outcome.content == "Done."
    assert outcome.metadata["model_calls"] == 2
    assert outcome.metadata["tokens"] == {"input": 22, "output": 14}
    assert [step["name"] for step in await model_steps(workshop)] == [MINI, MINI]
    assert workshop.toolbox.calls == [("look", "a")]


async def test_model_of_the_context_answers_in_a_thread(workshop, run):
    async def own(context, prompt):
        return await asyncio.to_thread(context.model(MINI, endpoint="local").invoke, prompt)

    with OpenAIServer(DONE) as server:
        outcome = await run(own, server=server)

    assert (outcome.content, outcome.metadata["model_calls"]) == ("Done.", 1)


class Weather(BaseModel):
    """How warm it is."""

    degrees: int


async def test_model_of_the_context_gives_structured_output(run):
    async def own(context, prompt):
        model = context.model(MINI, endpoint="local").with_structured_output(Weather)
        return await model.ainvoke(prompt)

    with OpenAIServer(Says("", (("Weather", {"degrees": 3}),))) as server:
        outcome = await run(own, server=server)

    assert json.loads(outcome.content) == {"degrees": 3}


async def test_model_and_fallbacks_may_be_those_of_the_agent(workshop, run):
    async def own(context, prompt):
        return await context.model().ainvoke(prompt)

    settings = {"model": MINI, "endpoint": "local", "max_tokens": 55, "folder": "my own"}
    with OpenAIServer(DONE) as server:
        outcome = await run(own, server=server, model_settings=settings)

        assert server.requests[0].body["max_completion_tokens"] == 55
    assert outcome.content == "Done."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "was given no model"), ((MINI,), "OPENAI_API_KEY"), (("gpt-4o",), "provider:model")],
)
async def test_model_that_cannot_be_built_is_an_error_that_says_what_to_do(run, arguments, said):
    async def own(context, prompt):
        return await context.model(*arguments).ainvoke(prompt)

    outcome = await run(own, models=ChatModels())

    assert outcome.status is ResultStatus.ERROR
    assert said in outcome.content


# -- Answers that cannot be used

HALF = '{"to": "bo'
UNUSABLE = {
    "cut": Says("", (("look", HALF),), cut=True),
    "unended": Says("", (("look", {"query": "a"}),), ends=False),
    "unreadable": Says("", (("look", HALF),)),
}
whatever_is_wrong = pytest.mark.parametrize("wrong", UNUSABLE)


@whatever_is_wrong
async def test_calls_that_may_be_half_never_run_and_the_model_is_asked_again(workshop, run, wrong):
    def build(context):
        model = context.model(MINI, endpoint="local", stream=True, max_retries=1)
        return create_agent(model, list(context.tools.values()))

    with OpenAIServer(UNUSABLE[wrong], DONE) as server:
        outcome = await run(GraphFactory("own", build), server=server)

        asked_again = json.dumps(server.requests[1].body["messages"])
    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "Done.")
    assert workshop.toolbox.calls == []
    assert ("output limit" in asked_again) is (wrong == "cut")
    assert ("write the call again" in asked_again) is (wrong == "unreadable")
    (step,) = await model_steps(workshop)
    assert [attempt["kind"] for attempt in step["attempts"]] == ["unavailable"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wrong", ["cut", "unended"])
async def test_graph_with_a_model_of_its_own_runs_no_half_call_either(workshop, run, wrong, stream):
    if wrong == "unended" and not stream:
        pytest.skip("only a stream can end without a finish reason")
    with OpenAIServer(UNUSABLE[wrong], DONE) as server:

        def build(context):
            return create_agent(chat(server, streaming=stream), list(context.tools.values()))

        outcome = await run(GraphFactory("own", build))

    assert outcome.status is ResultStatus.ERROR
    assert "its calls may be half" in outcome.content
    assert outcome.metadata["error_kind"] == "unavailable"
    assert outcome.metadata["tokens"]["output"] > 0
    assert workshop.toolbox.calls == []


async def test_refusal_of_a_graphs_own_model_is_an_error_of_kind_policy(run):
    with OpenAIServer(Says("Half of it", finish="content_filter")) as server:
        outcome = await run(GraphFactory("own", lambda _context: create_agent(chat(server), [])))

    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["error_kind"] == "policy"


# -- What others used


def spends(*calls, text="Done."):
    async def own(context, _prompt):
        for number, (model, used) in enumerate(calls, start=1):
            context.report(f"Call {number}.")
            await context.spend(*model, **used)
        return text

    return own


SIXTY = {"input_tokens": 50, "output_tokens": 10}


async def test_what_a_function_spent_counts_and_is_in_the_trace(workshop, run):
    await dollars_a_call(workshop)

    outcome = await run(spends(([MINI], SIXTY), ([], {"cost_usd": "0.25"})))

    assert outcome.metadata["model_calls"] == 2
    assert outcome.metadata["tokens"] == {"input": 50, "output": 10}
    assert outcome.metadata["cost_usd"] == "0.25006"
    first, second = await model_steps(workshop)
    assert (first["name"], first["usage"]["total_tokens"]) == (MINI, 60)
    assert (second["name"], second["cost_usd"]) == ("model", Decimal("0.25"))
    days, steps = await spent(workshop)
    assert days == steps


@pytest.mark.parametrize(
    ("limits", "kind", "calls"),
    [
        ({"tokens": 100}, "tokens", 2),
        ({"tokens": 120}, "tokens", 2),
        ({"cost_usd": "0.5"}, "cost", 2),
        ({"steps": 2}, "steps", 3),
    ],
)
async def test_function_ends_once_what_it_spent_reaches_a_limit(run, limits, kind, calls):
    outcome = await run(spends(*[([], {**SIXTY, "cost_usd": 0.3})] * 5), limits=limits)

    said = [f"Call {number}." for number in range(1, calls + 1)]
    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "\n\n".join(said))
    assert outcome.metadata["limit"] == kind


async def test_function_may_end_by_itself_at_a_limit_with_what_it_has(run):
    async def own(context, _prompt):
        try:
            await context.spend(**SIXTY)
        except LimitReachedError:
            return "half of it"

    outcome = await run(own, limits={"tokens": 60})

    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "half of it")
    assert "100% of the run's limit of 60 tokens was used." in outcome.metadata["warnings"]


async def test_cost_that_nobody_knows_ends_the_run_under_a_limit_in_dollars(run):
    outcome = await run(spends((["openai:our-own"], SIXTY)), limits={"cost_usd": "1"})

    assert outcome.status is ResultStatus.ERROR
    assert "rota prices set openai:our-own" in outcome.content


@pytest.mark.parametrize(
    "used", [{"input_tokens": -1}, {"cost_usd": -1}, {"cost_usd": "nan"}, {"cost_usd": "cheap"}]
)
async def test_what_cannot_have_been_spent_is_refused(workshop, run, used):
    outcome = await run(spends(([], used)))

    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["model_calls"] == 0


async def test_what_an_earlier_attempt_spent_counts_too(workshop):
    async def own(context, _prompt):
        await context.spend(**SIXTY)
        await context.call("wait")
        await context.spend(**SIXTY)
        return "Done."

    await workshop.agent(model="callable:own", tools=["wait"])
    await limit_agent(workshop, tokens=170)
    schedule = await workshop.schedule()
    asked = await make_run(workshop, schedule_id=schedule.id)
    service = workshop.service(callables={"own": AsyncFunction("own", own)})
    await interrupted(workshop, service, schedule, asked)

    outcome = await service.execute(schedule, asked)

    assert outcome.metadata["limit"] == "tokens"
    assert outcome.metadata["tokens"] == {"input": 150, "output": 30}
    assert len(await model_steps(workshop)) == 3
    days, steps = await spent(workshop)
    assert days[:3] == steps[:3] == (3, 150, 30)


# -- A limit that nobody can count


async def silent(_context, _prompt):
    return "Done."


@pytest.mark.parametrize("limits", [{"tokens": 1000}, {"cost_usd": "0.5"}])
async def test_limit_that_a_function_does_not_count_is_warned_of(run, limits):
    outcome = await run(silent, limits=limits)

    (warning,) = outcome.metadata["warnings"]
    amount = "1,000 tokens" if "tokens" in limits else "$0.50"
    assert warning.startswith(f"Nobody can say whether the run's limit of {amount} was kept: ")
    assert "context.spend()" in warning


async def test_limit_that_a_function_counts_is_not_warned_of(run):
    outcome = await run(spends(([], SIXTY)), limits={"tokens": 1000})

    assert "warnings" not in outcome.metadata


async def test_limit_of_a_persons_day_is_no_reason_to_warn_of_each_function(workshop, run):
    await workshop.owner.execute(
        "INSERT INTO user_limits (user_id, day_tokens) VALUES (%s, 1000)", [workshop.user]
    )

    assert "warnings" not in (await run(silent)).metadata
