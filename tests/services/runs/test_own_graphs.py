"""Graphs as others' documentation has them, as agents: they bring tools, hand over, and ask.

The graphs have the shapes of langgraph-supervisor, langgraph-swarm and deepagents, which are not
installed for this: the first two need a deprecated function of langgraph, and the third brings
thirty packages. Their own examples were run by hand.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from rota.agents.own_code.registered import AsyncFunction, Graph, GraphFactory
from rota.domain.runs.run import ResultStatus
from tests.services.running import make_run, scripted_turns
from tests.services.runs.test_limits import interrupted


@pytest.fixture
def run(workshop):
    async def made(registered, tools=()):
        await workshop.agent(model="callable:own", tools=tools)
        service = workshop.service(callables={"own": registered})
        return await service.execute(await workshop.schedule())

    return made


def asks(name, **arguments):
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call_{name}"}])


def hand_over(to):
    """Return a tool as `create_handoff_tool` of langgraph-swarm makes it."""

    @tool(f"transfer_to_{to}", description=f"Ask agent '{to}' for help")
    def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
        said = ToolMessage(f"Transferred to {to}", tool_call_id=tool_call_id)
        return Command(goto=to, graph=Command.PARENT, update={"messages": [said]})

    transfer.metadata = {"__handoff_destination": to}
    return transfer


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def team(*turns):
    """Return a graph of two agents, the first of which hands over to the second."""
    model = scripted_turns(*turns)
    graph = StateGraph(MessagesState)
    graph.add_node("alice", create_agent(model, tools=[hand_over("bob")], name="alice"))
    graph.add_node("bob", create_agent(model, tools=[add], name="bob"))
    graph.add_edge(START, "alice")
    return graph.compile()


HANDS_OVER = (asks("transfer_to_bob"), asks("add", a=1, b=2), "It is 3.")


async def declare(workshop, *names, tier="auto"):
    for name in names:
        await workshop.owner.execute(
            "INSERT INTO tools (name, default_tier, brings_outside_text) VALUES (%s, %s, false)",
            [name, tier],
        )


async def test_hand_over_runs_once_its_tools_are_declared(workshop, run):
    await declare(workshop, "transfer_to_bob", "add")

    outcome = await run(Graph("own", team(*HANDS_OVER)))

    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "It is 3.")
    assert (outcome.metadata["model_calls"], outcome.metadata["tool_calls"]) == (3, 2)
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [(s["name"], s["status"], s["request"].get("arguments")) for s in steps[2::2]] == [
        ("transfer_to_bob", "finished", {}),
        ("add", "finished", {"a": 1, "b": 2}),
    ]
    assert steps[4]["response"]["data"]["content"] == "3"
    entries = await workshop.rows("audit_logs", "called_at, outcome DESC")
    assert [(e["tool_name"], e["decision"], e["outcome"]) for e in entries] == [
        ("transfer_to_bob", "allowed", "started"),
        ("transfer_to_bob", "allowed", "succeeded"),
        ("add", "allowed", "started"),
        ("add", "allowed", "succeeded"),
    ]


async def test_tool_of_a_graph_that_fails_is_in_the_trace_as_failed(workshop, run):
    @tool
    def burst() -> str:
        """Fail."""
        raise RuntimeError("it burst")

    await declare(workshop, "burst")

    outcome = await run(Graph("own", create_agent(scripted_turns(asks("burst")), tools=[burst])))

    assert "it burst" in outcome.content
    (step,) = [s for s in await workshop.rows("agent_run_steps") if s["kind"] == "tool"]
    assert (step["status"], step["error"]) == ("failed", "RuntimeError: it burst")
    outcomes = {entry["outcome"] for entry in await workshop.rows("audit_logs")}
    assert outcomes == {"started", "failed"}


async def test_later_attempt_makes_calls_of_a_graphs_own_tools_again(workshop):
    called = []

    @tool
    def note(text: str) -> str:
        """Write a note."""
        called.append(text)
        return "noted"

    await declare(workshop, "note")
    texts = iter(["first", "second"])
    waits = asks("wait")

    def build(context):
        turns = scripted_turns(asks("note", text=next(texts)), waits, "Done.")
        return create_agent(turns, tools=[note, context.tools["wait"]])

    await workshop.agent(model="callable:own", tools=["wait"])
    schedule = await workshop.schedule()
    service = workshop.service(callables={"own": GraphFactory("own", build)})
    attempts = await make_run(workshop, schedule_id=schedule.id)
    await interrupted(workshop, service, schedule, attempts)

    outcome = await service.execute(schedule, attempts)

    assert outcome.content == "Done."
    assert called == ["first", "second"]
    names = [s["name"] for s in await workshop.rows("agent_run_steps") if s["kind"] == "tool"]
    assert sorted(names) == ["note", "note", "wait"]


async def test_tools_of_a_graph_may_be_linked_though_rota_has_no_code_for_them(workshop, run):
    await declare(workshop, "transfer_to_bob", "add")

    outcome = await run(Graph("own", team(*HANDS_OVER)), tools=["transfer_to_bob", "add"])

    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "It is 3.")


async def test_undeclared_tool_of_a_graph_is_refused_with_what_to_type(workshop, run):
    outcome = await run(Graph("own", team(*HANDS_OVER)))

    assert outcome.status is ResultStatus.ERROR
    assert (
        "rota tools declare transfer_to_bob --read-only --risk low --tier auto "
        "--no-outside-text --stays-inside\n" in outcome.content
    )
    assert "The graph also brings add: declare those that may run." in outcome.content
    (entry,) = await workshop.rows("audit_logs")
    assert (entry["tool_name"], entry["decision"]) == ("transfer_to_bob", "refused")


@pytest.mark.parametrize(
    ("columns", "preference"),
    [
        ({"default_tier": "requires_approval"}, None),
        ({"default_tier": "auto"}, "requires_approval"),
        ({"default_tier": "auto", "definition_hash": "0" * 64}, None),  # nobody can compare it
        ({"default_tier": "auto", "is_active": False}, None),
    ],
)
async def test_declared_tool_of_a_graph_that_has_to_wait_does_not_run(
    workshop, run, columns, preference
):
    called = []

    @tool
    def wipe(path: str) -> str:
        """Wipe a folder."""
        called.append(path)
        return "wiped"

    await declare(workshop, "wipe")
    await workshop.declare("wipe", **columns)
    if preference is not None:
        await workshop.owner.execute(
            "INSERT INTO user_tool_preferences (user_id, tool_id, preference)"
            " SELECT %s, id, %s FROM tools WHERE name = 'wipe'",
            [workshop.user, preference],
        )

    turns = scripted_turns(asks("wipe", path="/srv"), "Done.")
    outcome = await run(Graph("own", create_agent(turns, tools=[wipe])))

    assert outcome.status is ResultStatus.ERROR
    assert called == []
    assert "its own tool wipe, which may not run without approval" in outcome.content


async def test_tool_that_is_linked_and_not_registered_is_named_when_it_is_called(workshop, run):
    await declare(workshop, "add")

    async def sums(context, _prompt):
        return await context.call("add", a=1, b=2)

    outcome = await run(AsyncFunction("own", sums), tools=["add"])

    assert outcome.status is ResultStatus.ERROR
    assert "'add'" in outcome.content
    assert outcome.metadata["setup_required"] == "tool:add"


async def test_tool_that_is_not_linked_is_named_when_it_is_taken(run):
    async def sums(context, _prompt):
        return await context.tools["add"].ainvoke({"a": 1, "b": 2})

    outcome = await run(AsyncFunction("own", sums))

    assert outcome.status is ResultStatus.ERROR
    assert outcome.content == "No tool 'add'. Link it to the agent."


# -- Questions that nobody answers


def asking(*, saver):
    def ask(_state: MessagesState) -> Any:
        return {"messages": [AIMessage(interrupt({"question": "Really?"}))]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    return graph.compile(checkpointer=InMemorySaver() if saver else None)


@pytest.mark.parametrize("saver", [True, False])
async def test_graph_that_interrupts_is_an_error_with_its_question(run, saver):
    outcome = await run(Graph("own", asking(saver=saver)))

    assert outcome.status is ResultStatus.ERROR
    assert 'stopped to ask a person, and was not finished: {"question": "Really?"}' in (
        outcome.content
    )


async def test_graph_that_interrupts_within_a_function_is_an_error_too(run):
    async def own(_context, prompt):
        return await asking(saver=False).ainvoke({"messages": [("user", prompt)]})

    assert (await run(AsyncFunction("own", own))).status is ResultStatus.ERROR


async def test_human_in_the_loop_is_an_error_that_names_the_call(run):
    graph = create_agent(
        scripted_turns(asks("add", a=1, b=2), "Done."),
        tools=[add],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"add": True})],
        checkpointer=InMemorySaver(),
    )

    outcome = await run(Graph("own", graph))

    assert outcome.status is ResultStatus.ERROR
    assert 'not finished: add({"a": 1, "b": 2})' in outcome.content


# -- What goes in, and what comes out


class Asked(TypedDict):
    question: str
    answer: str


async def test_state_may_be_a_typed_dict_of_typing(run):
    graph = StateGraph(Asked)
    graph.add_node("shout", lambda state: {"answer": state["question"].upper()})
    graph.add_edge(START, "shout")

    outcome = await run(Graph("own", graph.compile()))

    assert json.loads(outcome.content) == {"question": "Look.", "answer": "LOOK."}


async def test_entrypoint_may_take_a_typed_dict_of_typing(run):
    async def shout(asked):
        return asked["question"].upper()

    shout.__annotations__ = {"asked": Asked, "return": str}

    assert (await run(Graph("own", entrypoint()(shout)))).content == "LOOK."


async def test_entrypoint_may_take_a_text(run):
    async def shout(asked):
        return asked.upper()

    shout.__annotations__ = {"asked": str, "return": str}

    assert (await run(Graph("own", entrypoint()(shout)))).content == "LOOK."


class Weather(BaseModel):
    degrees: int


async def test_structured_response_is_the_answer(run):
    model = scripted_turns(asks("Weather", degrees=3))
    graph = create_agent(model, tools=[], response_format=ToolStrategy(Weather))

    assert json.loads((await run(Graph("own", graph))).content) == {"degrees": 3}


async def test_empty_last_message_falls_back_to_the_last_text(run):
    graph = StateGraph(MessagesState)
    said = [AIMessage("Three invoices are due."), AIMessage("")]
    graph.add_node("answer", lambda _state: {"messages": said})
    graph.add_edge(START, "answer")

    assert (await run(Graph("own", graph.compile()))).content == "Three invoices are due."
