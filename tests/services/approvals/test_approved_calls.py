"""An approved call runs once and as approved, whichever way LangChain takes to its tool."""

from __future__ import annotations

import asyncio
import json
import uuid
from itertools import islice
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.tools import InjectedState, ToolRuntime
from langchain_core.tools import StructuredTool, Tool, tool

from rota.agents.own_code.registered import AsyncFunction, GraphFactory
from rota.agents.scripted.model import ScriptedChatModel
from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.actions import ActionMode
from rota.domain.errors import InvalidInputError
from rota.domain.ids import ToolId
from rota.domain.runs.options import RunOptions
from rota.domain.runs.steps import StepKey
from rota.security.gate.calls import CURRENT_STEP, ApprovalContext
from rota.security.gate.guard import GateGuard
from rota.security.gate.tool_wrapper import wrap_tools_with_approval
from rota.store.runs.intake import claim_runs
from tests.services.approvals.test_tool_wrapper import (
    ON_LOOP,
    agent_calling,
    pay_tool,
    run,
)
from tests.services.deciding import SUSPEND, desk_of, send
from tests.services.harness import clock
from tests.services.recording import recording
from tests.services.running import make_run

PLACE = StepKey(1, 0)
HELD = "needs the owner's approval"


def declared(name, tier="requires_approval", *, read_only=False):
    return ToolDeclaration(
        id=ToolId(uuid.uuid4()),
        name=name,
        description="",
        version=3,
        read_only=read_only,
        idempotent=False,
        risk="high",
        default_tier=tier,
        timeout_seconds=5.0,
    )


class Attempts:
    """One run, attempt after attempt, and the gate that each of them has."""

    def __init__(self, workshop, made):
        self.workshop = workshop
        self.run = made
        self.buffers = []

    async def next(self):
        """Return the gate's context of a new attempt."""
        async with self.workshop.database.transaction() as conn:
            claim = (await claim_runs(conn, [self.run.id]))[self.run.id].claim
        options = RunOptions(approvals=ActionMode.SUSPEND)
        made = recording(self.workshop, self.run, claim, options)
        self.buffers.append(made.buffer)
        return ApprovalContext(
            user_id=self.run.user_id,
            run_id=self.run.id,
            agent_name="watcher",
            session_id="s",
            declarations={"pay": declared("pay"), "free": declared("free", "auto")},
            ledger=made.ledger,
            loop=asyncio.get_running_loop(),
        )


@pytest.fixture
async def attempts(workshop):
    made = Attempts(workshop, await make_run(workshop))
    token = CURRENT_STEP.set(PLACE)
    yield made
    CURRENT_STEP.reset(token)
    for buffer in made.buffers:
        await buffer.settle()
        buffer.close()


@pytest.fixture
def desk(workshop):
    return desk_of(workshop)


@pytest.fixture
def effects() -> list[Any]:
    return []


async def gated(attempts, inner):
    wrapped = wrap_tools_with_approval([inner], await attempts.next())
    assert wrapped.failures == ()
    return wrapped.tools[0]


async def decided(desk, *, arguments=None):
    if arguments is not None:
        await desk.edit(arguments)
    await desk.approve()


@pytest.mark.parametrize("way", ON_LOOP)
async def test_every_way_runs_it_once(desk, attempts, effects, way):
    assert HELD in await ON_LOOP[way](await gated(attempts, pay_tool(effects)))
    assert HELD in await ON_LOOP[way](await gated(attempts, pay_tool(effects)))  # nobody decided
    await decided(desk)
    wrapped = await gated(attempts, pay_tool(effects))

    first = await ON_LOOP[way](wrapped)
    again = await ON_LOOP[way](wrapped)  # as a middleware does that tries again

    assert effects == [(100, "eve")]
    assert (first, again) == ("paid", "paid")
    assert (await desk.action())["status"] == "succeeded"


@pytest.mark.parametrize("way", ON_LOOP)
async def test_every_way_runs_what_its_owner_wrote(desk, attempts, effects, way):
    await ON_LOOP[way](await gated(attempts, pay_tool(effects)))
    await decided(desk, arguments={"amount": 7, "to": "bob"})

    first = await ON_LOOP[way](await gated(attempts, pay_tool(effects)))
    again = await ON_LOOP[way](await gated(attempts, pay_tool(effects)))  # the first one died

    assert effects == [(7, "bob")]
    for answer in (first, again):
        assert answer.endswith("paid")
        assert 'what was approved is {"to": "bob", "amount": 7}' in answer


async def test_calls_side_by_side_at_one_place_run_it_once(desk, attempts, effects):
    """A tool_call_id that is used twice, or a graph that runs a step twice at once."""

    others_answered = asyncio.Event()

    @tool
    async def pay(amount: int, to: str) -> str:
        """Pay somebody."""
        effects.append((amount, to))
        await others_answered.wait()
        return "paid"

    arguments = {"amount": 1, "to": "eve"}
    await (await gated(attempts, pay)).ainvoke(arguments)
    await decided(desk)
    wrapped = await gated(attempts, pay)

    calls = [asyncio.create_task(wrapped.ainvoke(arguments)) for _ in range(5)]
    others = [await answer for answer in islice(asyncio.as_completed(calls), 4)]
    others_answered.set()
    answers = await asyncio.gather(*calls)

    assert effects == [(1, "eve")]
    assert all("is being run already" in answer for answer in others)
    assert answers.count("paid") == 1


async def test_approval_is_for_these_arguments_at_this_place(desk, attempts, effects):
    """A middleware that changes them afterwards, or an agent that does not say the same again."""
    await (await gated(attempts, pay_tool(effects))).ainvoke({"amount": 1, "to": "eve"})
    await decided(desk)
    wrapped = await gated(attempts, pay_tool(effects))

    answer = await wrapped.ainvoke({"amount": 1_000, "to": "eve"})
    assert "with other arguments" in answer
    CURRENT_STEP.set(StepKey(2, 0))
    elsewhere = await wrapped.ainvoke({"amount": 1, "to": "eve"})

    assert HELD in elsewhere
    assert effects == []
    assert [a["status"] for a in await desk.actions()] == ["approved", "pending"]


async def test_approval_is_for_this_tool(desk, attempts, effects):
    await (await gated(attempts, pay_tool(effects))).ainvoke({"amount": 1, "to": "eve"})
    await decided(desk)

    @tool
    def wire(amount: int, to: str) -> str:
        """Pay in another way."""
        effects.append("wired")
        return "wired"

    answer = await (await gated(attempts, wire)).ainvoke({"amount": 1, "to": "eve"})

    assert "pay was asked for at this place" in answer
    assert effects == []


async def test_stale_attempt_does_not_run_what_was_approved(desk, attempts, effects):
    """A worker that stalled, while another one took the run."""
    stale = await gated(attempts, pay_tool(effects))
    await stale.ainvoke({"amount": 1, "to": "eve"})
    await decided(desk)
    fresh = await gated(attempts, pay_tool(effects))

    with pytest.raises(Exception, match="Another attempt has taken this run"):
        await stale.ainvoke({"amount": 1, "to": "eve"})
    assert effects == []
    assert await fresh.ainvoke({"amount": 1, "to": "eve"}) == "paid"
    assert effects == [(1, "eve")]


async def test_injected_values_reach_an_approved_call(desk, attempts):
    got = {}

    async def pay(
        word: str, runtime: ToolRuntime, messages: Annotated[list, InjectedState("messages")]
    ) -> str:
        """Pay with a word."""
        got.update(word=word, call=runtime.tool_call_id, count=len(messages))
        return "ok"

    inner = StructuredTool.from_function(coroutine=pay, name="pay")

    async def ask():
        context = await attempts.next()
        wrapped = wrap_tools_with_approval([inner], context).tools
        return await run(agent_calling("pay", {"word": "w"}, wrapped, [GateGuard(context)]))

    assert HELD in (await ask()).content
    assert (await desk.action())["arguments"] == {"word": "w"}
    await decided(desk, arguments={"word": "edited"})
    message = await ask()

    assert message.content.endswith("ok")
    assert got == {"word": "edited", "call": "1", "count": 2}


async def test_artifact_of_an_approved_call_survives(desk, attempts):
    @tool(response_format="content_and_artifact")
    async def pay() -> tuple[str, Any]:
        """Make something."""
        return "made", {"bytes": 3}

    call = {"name": "pay", "args": {}, "id": "1", "type": "tool_call"}
    await (await gated(attempts, pay)).ainvoke(call)
    await decided(desk)

    message = await (await gated(attempts, pay)).ainvoke(call)

    assert (message.content, message.artifact) == ("made", {"bytes": 3})
    assert (await desk.action())["result"] == "made"


async def test_tool_of_one_string_runs_as_approved(desk, attempts, effects):
    def inner():
        return Tool(name="pay", description="x", func=lambda text: effects.append(text) or "ok")

    await (await gated(attempts, inner())).ainvoke("hello")
    await decided(desk)

    answer = await (await gated(attempts, inner())).ainvoke("hello")

    assert (answer, effects) == ("ok", ["hello"])


async def test_return_direct_ends_the_agent_with_the_real_result(desk, attempts, effects):
    inner = StructuredTool.from_function(coroutine=_paying(effects), name="pay", return_direct=True)

    async def ask():
        context = await attempts.next()
        wrapped = wrap_tools_with_approval([inner], context).tools
        return await run(agent_calling("pay", {"amount": 2}, wrapped, [GateGuard(context)]))

    assert HELD in (await ask()).content
    await decided(desk)
    assert (await ask()).content == "paid 2"
    assert effects == [2]


def _paying(effects):
    async def pay(amount: int) -> str:
        """Pay."""
        effects.append(amount)
        return f"paid {amount}"

    return pay


MCP_SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 10}},
    "required": ["amount"],
}


async def test_tool_with_a_schema_of_json_is_held_edited_and_run(desk, attempts, effects):
    """As tools of an MCP server come: their schema is a dictionary, which nobody validates."""
    inner = StructuredTool(
        name="pay", description="Pay.", args_schema=MCP_SCHEMA, coroutine=_paying(effects)
    )
    assert HELD in await (await gated(attempts, inner)).ainvoke({"amount": 3})
    with pytest.raises(InvalidInputError, match="10"):
        await desk.edit({"amount": 1_000})
    await decided(desk, arguments={"amount": 4})

    answer = await (await gated(attempts, inner)).ainvoke({"amount": 3})

    assert answer.endswith("paid 4")
    assert effects == [4]


async def test_middleware_that_tries_again_runs_it_once(desk, attempts, effects):
    @tool
    async def pay(amount: int) -> str:
        """Pay, and fail to say so."""
        effects.append(amount)
        raise RuntimeError("connection lost")

    class Again(AgentMiddleware):
        async def awrap_tool_call(self, request, handler):
            for _ in range(3):
                answer = await handler(request)
                if answer.status != "error":
                    return answer
            return answer

    async def ask():
        context = await attempts.next()
        wrapped = wrap_tools_with_approval([pay], context).tools
        return await run(
            agent_calling("pay", {"amount": 2}, wrapped, [Again(), GateGuard(context)])
        )

    await ask()
    await decided(desk)
    message = await ask()

    assert effects == [2]
    assert "connection lost" in message.content
    assert (await desk.action())["status"] == "failed"


async def test_tool_inside_a_tool_is_asked_for_once_and_the_outer_one_cannot_hide_it(
    desk, attempts, effects
):
    """It has no place in the journal, and the tool around it swallows whatever is raised."""

    async def outer_of(context):
        pay = wrap_tools_with_approval([pay_tool(effects)], context).tools[0]

        @tool
        async def free() -> str:
            """Pay through another tool, twice."""
            answers = []
            for _ in range(2):
                try:
                    answers.append(await pay.ainvoke({"amount": 5, "to": "eve"}))
                except Exception as error:  # noqa: BLE001  as tools do
                    answers.append(str(error))
            return " / ".join(answers)

        return wrap_tools_with_approval([free], context).tools[0]

    first = await (await outer_of(await attempts.next())).ainvoke({})
    second = await (await outer_of(await attempts.next())).ainvoke({})

    action = await desk.action()
    assert first.count(str(action["id"])) == second.count(str(action["id"])) == 2
    assert (action["mode"], action["model_step"]) == ("queue", None)
    assert effects == []


# Callables, which call tools by themselves


async def orders(context, _prompt):
    return {"sent": await context.call("send", to="bob")}


async def hides_it(context, _prompt):
    try:
        return await context.call("send", to="bob")
    except Exception:  # noqa: BLE001  as agents' code does
        return "never mind"


async def renames_it(context, _prompt):
    try:
        return await context.call("send", to="bob")
    except Exception as error:
        raise RuntimeError("something else") from error


@pytest.mark.parametrize("function", [orders, hides_it, renames_it])
async def test_callable_parks_whatever_it_makes_of_the_exception(workshop, function):
    await workshop.agent(model="callable:report", tools=["send"])
    desk = desk_of(workshop, callables={"report": AsyncFunction("report", function)})
    made = await make_run(workshop, options=SUSPEND)
    await desk.work()
    assert await desk.status(made.id) == "suspended"

    await desk.approve()
    await desk.work()

    assert desk.sent == ["bob"]
    content = (await desk.result(made.id))["result_content"]
    assert "sent to bob" in content
    if function is orders:
        assert json.loads(content) == {"sent": "sent to bob"}


async def test_callable_reads_the_refusal(workshop):
    await workshop.agent(model="callable:report", tools=["send"])
    desk = desk_of(workshop, callables={"report": AsyncFunction("report", orders)})
    made = await make_run(workshop, options=SUSPEND)
    await desk.work()
    await desk.refuse(reason="no")
    await desk.work()
    assert "refused this call of send" in (await desk.result(made.id))["result_content"]


SENDS = {
    "steps": [{"calls": [{"tool": "send", "args": {"to": "bob"}}]}],
    "answer": "{{ results[0] }}",
}


async def test_a_parked_graph_counts_all_its_calls(workshop):
    """It starts anew once its call is decided, and its model is asked again."""
    await workshop.agent(model="callable:report", tools=["send"])

    def build(context):
        model = ScriptedChatModel(script=SENDS, now=clock())
        return create_agent(model, tools=list(context.tools.values()))

    desk = desk_of(workshop, callables={"report": GraphFactory("report", build)})
    made = await make_run(workshop, options=SUSPEND)
    await desk.work()
    assert await desk.status(made.id) == "suspended"
    await desk.approve()
    await desk.work()

    result = await desk.result(made.id)
    assert "sent to bob" in result["result_content"]
    assert result["metadata"]["model_calls"] == 3
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    models = [(step["model_step"], step["attempt"]) for step in steps if step["kind"] == "model"]
    assert models == [(1, 1), (2, 2), (3, 2)]
    assert [s["status"] for s in steps if s["kind"] == "tool"] == ["finished"]


async def test_what_a_parked_function_told_of_its_use_counts_on(workshop):
    async def spends(context, prompt):
        await context.spend("some:model", input_tokens=10, output_tokens=5, cost_usd="0.01")
        return str(await context.tools["send"].ainvoke({"to": "bob"}))

    await workshop.agent(model="callable:report", tools=["send"])
    desk = desk_of(workshop, callables={"report": AsyncFunction("report", spends)})
    made = await make_run(workshop, options=SUSPEND)
    await desk.work()
    await desk.approve()
    await desk.work()
    metadata = (await desk.result(made.id))["metadata"]
    assert metadata["model_calls"] == 2
    assert metadata["tokens"] == {"input": 20, "output": 10}


async def test_action_of_a_callable_runs_by_itself_once_approved(workshop):
    await workshop.agent(model="callable:report", tools=["send"])
    desk = desk_of(workshop, callables={"report": AsyncFunction("report", orders)})
    await make_run(workshop)
    await desk.work()
    await desk.approve()
    await desk.work()
    assert desk.sent == ["bob"]


async def test_call_that_was_approved_reads_as_any_other_in_the_trace(workshop):
    desk = desk_of(workshop)
    await desk.run(send("bob"), mode="suspend")
    await desk.approve()
    await desk.work()
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [(s["kind"], s["status"]) for s in steps] == [
        ("model", "finished"),
        ("tool", "finished"),
        ("model", "finished"),
    ]
