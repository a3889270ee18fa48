"""Half a call does not reach an operator's own graph or function either."""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from rota.agents.models.building import ChatModels
from rota.agents.own_code.registered import AsyncFunction, GraphFactory
from rota.domain.runs.run import ResultStatus
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer
from tests.services.asking import check_history, streamed_or_not, told
from tests.services.runs.test_limits import chat

DONE = Says("Done.")
HALF = '{"query": "delete /srv/build/cac'


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr("rota.agents.own_code.run_model.random.random", lambda: 0.0)


async def run(workshop, build, *replies):
    await workshop.agent(model="callable:mine", tools=["look"])
    with OpenAIServer(*replies) as server:
        service = workshop.service(
            callables={"mine": build(server)}, models=ChatModels(endpoints={"local": server.url})
        )
        outcome = await service.execute(await workshop.schedule())
    for request in server.requests:
        check_history(request.body)
    return outcome, server.requests


def own_graph(*, stream):
    """A graph on a model of its own, which rota only hears of."""

    def build(server):
        def make(context):
            return create_agent(chat(server, streaming=stream), list(context.tools.values()))

        return GraphFactory("mine", make)

    return build


def graph_on_rotas_model(retries):
    def build(_server):
        def make(context):
            model = context.model("openai:gpt-4o-mini", endpoint="local", max_retries=retries)
            return create_agent(model, list(context.tools.values()))

        return GraphFactory("mine", make)

    return build


@streamed_or_not
async def test_own_graph_gets_no_call_that_cannot_be_read(workshop, stream):
    """A graph of LangChain's would end, with nothing said, as if all was well."""
    reply = Says("", (("look", {"query": "x"}), ("look", HALF)))

    outcome, requests = await run(workshop, own_graph(stream=stream), reply, DONE)

    assert workshop.toolbox.calls == []
    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["error_kind"] == "unavailable"
    assert len(requests) == 1


async def test_own_graph_that_streams_by_itself_gets_no_half_call(workshop):
    """With the finish reason of a whole one, as vLLM ends a stream that its limit cut."""

    def build(server):
        def make(context):
            model = chat(server).bind_tools(list(context.tools.values()))

            async def ask(state):
                chunks = [chunk async for chunk in model.astream(state["messages"])]
                return {"messages": [sum(chunks[1:], start=chunks[0])]}

            graph = StateGraph(MessagesState)
            graph.add_node("model", ask)
            graph.add_node("tools", ToolNode(list(context.tools.values())))
            graph.add_edge(START, "model")
            graph.add_edge("model", "tools")
            return graph.compile()

        return GraphFactory("mine", make)

    outcome, _ = await run(workshop, build, Says("", (("look", HALF),)))

    assert workshop.toolbox.calls == []
    assert outcome.metadata["error_kind"] == "unavailable"


@pytest.mark.parametrize("retries", [0, 1])
async def test_rotas_model_is_told_of_unreadable_calls_without_a_retry(workshop, retries):
    reply = Says("", (("look", {"query": "x"}), ("look", '["x"]')))
    look = Says("", (("look", {"query": "y"}),))

    outcome, requests = await run(workshop, graph_on_rotas_model(retries), reply, look, DONE)

    assert workshop.toolbox.calls == [("look", "y")]
    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "Done.")
    assert "one JSON object" in told(requests[1])


async def test_whole_calls_reach_own_code_as_ever(workshop):
    look = Says("", (("look", {"query": "x"}),))
    outcome, _ = await run(workshop, own_graph(stream=True), look, DONE)

    assert workshop.toolbox.calls == [("look", "x")]
    assert outcome.content == "Done."


async def test_refusal_to_an_own_function_is_its_error(workshop):
    def build(_server):
        async def mine(context, prompt):
            model = context.model("openai:gpt-4o-mini", endpoint="local")
            return await model.ainvoke(prompt)

        return AsyncFunction("mine", mine)

    outcome, _ = await run(workshop, build, Says("I will not.", finish="refusal"))

    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["error_kind"] == "policy"
    assert "I will not" in outcome.content
