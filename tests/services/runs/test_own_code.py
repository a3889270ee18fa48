"""An operator's own code: factories, other agent frameworks, and threads that call a run's tools.

Frameworks are not installed for this: classes of their packages' names and shapes stand for their
results, which were looked at in pydantic-ai 2.68, openai-agents 0.24 and smolagents 1.26.
"""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, make_dataclass
from typing import Any

import pytest
from langgraph.graph import MessagesState, StateGraph
from pydantic import BaseModel

from rota.agents.own_code.registered import AsyncFunction, GraphFactory
from rota.domain.errors import RotaError
from rota.domain.runs.run import ResultStatus
from tests.services.running import scripted_turns
from tests.services.runs.test_contracts_and_heartbeats import SENDS, graph_of, scripted


@pytest.fixture
def run(workshop):
    async def made(registered, *, tools=("look", "send"), **options):
        await workshop.agent(model="callable:own", tools=tools)
        service = workshop.service(callables={"own": registered})
        return await service.execute(await workshop.schedule(options=json.dumps(options)))

    return made


def function(call):
    return AsyncFunction("own", call)


# -- Factories


async def test_factory_may_be_asynchronous(workshop, run):
    async def build(context):
        seen = await context.tools["look"].ainvoke({"query": "first"})
        return graph_of([], scripted_turns(f"seen: {seen}"))

    outcome = await run(GraphFactory("own", build))

    assert outcome.content == 'seen: {"seen": "first"}'


async def test_factory_may_clean_up_after_its_graph(workshop, run):
    told = []

    @asynccontextmanager
    async def build(context):
        told.append("open")
        yield graph_of(context.tools.values(), scripted(SENDS))
        told.append("closed")

    outcome = await run(GraphFactory("own", build))

    assert "needs the owner's approval" in outcome.content
    assert told == ["open", "closed"]


@pytest.mark.parametrize(
    ("made", "said"),
    [("an answer", "give it two arguments"), (StateGraph(MessagesState), "its compile() returns")],
)
async def test_factory_that_makes_no_graph_is_told_what_it_made(run, made, said):
    outcome = await run(GraphFactory("own", lambda _context: made))

    assert outcome.status is ResultStatus.ERROR
    assert f"made an object of type {type(made).__name__}" in outcome.content
    assert said in outcome.content


# -- Threads


async def test_tools_are_called_synchronously_in_a_thread(workshop, run):
    async def own(context, _prompt):
        def framework():
            look, send = context.tools["look"], context.tools["send"]
            return [look.invoke({"query": "a"}), look.run("b"), send.run({"to": "bob"})]

        return await asyncio.to_thread(framework)

    outcome = await run(function(own))

    first, second, sent = json.loads(outcome.content)
    assert (json.loads(first), json.loads(second)) == ({"seen": "a"}, {"seen": "b"})
    assert "needs the owner's approval" in sent
    assert workshop.toolbox.calls == [("look", "a"), ("look", "b")]
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [(s["name"], s["status"]) for s in steps if s["kind"] == "tool"] == [
        ("look", "finished"),
        ("look", "finished"),
        ("send", "held"),
    ]


async def test_tools_are_called_synchronously_within_a_loop_of_a_threads_own(workshop, run):
    async def own(context, _prompt):
        async def framework():
            return context.tools["look"].run("a")

        return await asyncio.to_thread(asyncio.run, framework())

    assert json.loads((await run(function(own))).content) == {"seen": "a"}


async def test_tools_are_awaited_on_a_loop_of_a_threads_own(workshop, run):
    async def own(context, _prompt):
        async def framework():
            held = await context.call("send", to="bob")
            return [await context.tools["look"].ainvoke({"query": "a"}), held]

        return await asyncio.to_thread(asyncio.run, framework())

    seen, held = json.loads((await run(function(own))).content)
    assert json.loads(seen) == {"seen": "a"}
    assert "needs the owner's approval" in held


async def test_task_that_outlives_its_run_calls_nothing_any_more(workshop, run):
    go_on, tasks = asyncio.Event(), []

    async def own(context, _prompt):
        async def late():
            await go_on.wait()
            await context.call("look", query="late")

        tasks.append(asyncio.create_task(late()))
        return "done"

    await run(function(own))
    go_on.set()

    with pytest.raises(RotaError, match="The run is over; look did not run"):
        await tasks[0]
    assert workshop.toolbox.calls == []


async def test_synchronous_call_on_the_workers_own_loop_is_refused_with_what_to_do(workshop, run):
    async def own(context, _prompt):
        return context.tools["look"].run("a")

    outcome = await run(function(own))

    assert outcome.status is ResultStatus.ERROR
    assert "`await asyncio.to_thread(...)`" in outcome.content
    assert workshop.toolbox.calls == []


async def test_failure_of_a_tool_is_its_answer_in_a_thread_too(run):
    async def own(context, _prompt):
        return await asyncio.to_thread(context.tools["boom"].run, {})

    assert "exploded" in (await run(function(own), tools=["boom"])).content


async def test_graph_may_be_called_synchronously_even_on_the_workers_own_loop(workshop, run):
    async def own(context, prompt):
        graph = graph_of([], scripted_turns("Hello."))
        asked = {"messages": [("user", prompt)]}
        return graph.invoke(asked, config={"callbacks": context.callbacks()})

    outcome = await run(function(own))

    assert (outcome.content, outcome.metadata["model_calls"]) == ("Hello.", 1)
    kinds = {row["kind"]: row["status"] for row in await workshop.rows("agent_run_steps")}
    assert kinds == {"callable": "finished", "model": "finished"}


async def test_run_that_ends_breaks_off_the_calls_of_its_threads(workshop, run):
    workshop.toolbox.gate = asyncio.Event()  # nobody sets it
    ended = threading.Event()

    async def own(context, _prompt):
        def framework():
            try:
                context.tools["wait"].run({})
            finally:
                ended.set()

        thread = asyncio.create_task(asyncio.to_thread(framework))
        while ("wait", None) not in workshop.toolbox.calls:
            await asyncio.sleep(0.01)
        thread.cancel()  # as a limit or somebody's cancelling does: the thread itself goes on
        return "done"

    outcome = await run(function(own), tools=["wait"])

    assert outcome.content == "done"
    assert await asyncio.to_thread(ended.wait, 20)


async def test_thread_that_outlives_its_run_calls_nothing_any_more(workshop, run):
    go_on, said = threading.Event(), []

    async def own(context, _prompt):
        def late():
            go_on.wait(20)
            try:
                context.tools["send"].run({"to": "bob"})
            except RotaError as error:
                said.append(str(error))

        threads.append(threading.Thread(target=late))
        threads[0].start()
        return "done"

    threads: list[threading.Thread] = []
    await run(function(own))
    go_on.set()
    await asyncio.to_thread(threads[0].join, 20)

    assert said == ["The run is over; send did not run."]
    assert [row["outcome"] for row in await workshop.rows("audit_logs")] == []


# -- Results of frameworks


def kind(package, name, *fields):
    made = make_dataclass(name, fields)
    made.__module__ = f"{package}.result"
    return made


class Invoice(BaseModel):
    due: str
    euros: float


@dataclass
class Report:
    lines: list[Any] = field(default_factory=list)


BASE = kind("agents", "RunResultBase", "final_output", "interruptions")
OPENAI = type("RunResult", (BASE,), {"__module__": "agents.result"})
PYDANTIC = kind("pydantic_ai", "AgentRunResult", "output", "_state")
DEFERRED = kind("pydantic_ai", "DeferredToolRequests", "calls", "approvals")
SMOL = kind("smolagents", "RunResult", "output", "state", "steps")
GRAPH = kind("langgraph", "GraphOutput", "value", "interrupts")
PART = kind("pydantic_ai", "ToolCallPart", "tool_name", "args")
ITEM = kind("agents", "ToolApprovalItem", "raw_item", "agent")
RAW = kind("openai", "ResponseFunctionToolCall", "name", "arguments")
INTERRUPT = kind("langgraph", "Interrupt", "value", "id")
INVOICE = Invoice(due="today", euros=9.5)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (OPENAI("Two mails.", []), "Two mails."),
        (OPENAI(INVOICE, []), INVOICE),
        (PYDANTIC("Two mails.", {"history": ["secret"]}), "Two mails."),
        (PYDANTIC(INVOICE, None), INVOICE),
        (SMOL("Two mails.", "success", [{"model_output": "..."}]), "Two mails."),
        (SMOL(3, "success", []), "3"),
        (GRAPH({"messages": [("user", "x")], "n": 1}, ()), {"messages": [["user", "x"]], "n": 1}),
        (INVOICE, INVOICE),
        ({"first": INVOICE}, {"first": {"due": "today", "euros": 9.5}}),
        (Report([INVOICE, (1, 2)]), {"lines": [{"due": "today", "euros": 9.5}, [1, 2]]}),
    ],
)
async def test_results_of_frameworks_are_readable(run, answer, text):
    async def own(_context, _prompt):
        return answer

    outcome = await run(function(own))

    assert outcome.status is ResultStatus.SUCCESS
    if isinstance(text, str):
        assert outcome.content == text
    else:
        expected = text.model_dump() if isinstance(text, Invoice) else text
        assert json.loads(outcome.content) == expected


@pytest.mark.parametrize(
    "answer",
    [
        OPENAI(None, [ITEM(RAW("wipe", '{"path": "/"}'), None)]),
        PYDANTIC(DEFERRED([], [PART("wipe", {"path": "/"})]), None),
        GRAPH(
            {}, (INTERRUPT({"action_requests": [{"name": "wipe", "args": {"path": "/"}}]}, "1"),)
        ),
    ],
)
async def test_frameworks_that_stop_to_ask_are_errors_that_name_the_call(run, answer):
    async def own(_context, _prompt):
        return answer

    outcome = await run(function(own))

    assert outcome.status is ResultStatus.ERROR
    assert 'not finished: wipe({"path": "/"})' in outcome.content
