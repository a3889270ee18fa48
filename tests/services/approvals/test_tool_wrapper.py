"""The gate holds however LangChain runs a tool; what is shown is what is stored."""

from __future__ import annotations

import asyncio
import copy
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.tools import InjectedState, ToolRuntime
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool, Tool, ToolException, tool

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.errors import SetupRequiredError
from rota.domain.ids import ToolId
from rota.security.gate.calls import ApprovalContext
from rota.security.gate.guard import GateGuard
from rota.security.gate.tool_wrapper import GatedTool, wrap_tools_with_approval
from rota.security.secrets.hashing import arguments_hash
from rota.security.secrets.sealing import unseal_arguments
from rota.store.runs.intake import claim_runs
from tests.services.harness import CIPHER
from tests.services.recording import recording
from tests.services.running import make_run


@pytest.fixture
def effects() -> list[Any]:
    return []


@pytest.fixture
async def recorder(workshop):
    run = await make_run(workshop, prompt="")
    async with workshop.database.transaction() as conn:
        claim = (await claim_runs(conn, [run.id]))[run.id].claim
    made = recording(workshop, run, claim)
    yield made
    await made.buffer.flush()
    made.buffer.close()


@pytest.fixture
async def context(workshop, recorder):
    import uuid

    def declared(name, tier, *, read_only=False, timeout=5.0):
        return ToolDeclaration(
            id=ToolId(uuid.uuid4()),
            name=name,
            description="",
            version=3,
            read_only=read_only,
            idempotent=False,
            risk="high",
            default_tier=tier,
            timeout_seconds=timeout,
        )

    return ApprovalContext(
        user_id=recorder.buffer.run.user_id,
        run_id=recorder.buffer.run.id,
        agent_name="watcher",
        session_id="s",
        declarations={
            "pay": declared("pay", "requires_approval"),
            "free": declared("free", "auto"),
            "slow": declared("slow", "auto", timeout=0.05),
        },
        ledger=recorder.ledger,
        loop=asyncio.get_running_loop(),
    )


def gated(inner, context) -> GatedTool:
    wrapped = wrap_tools_with_approval([inner], context)
    assert wrapped.failures == ()
    return wrapped.tools[0]


def pay_tool(effects):
    @tool
    def pay(amount: int, to: str) -> str:
        """Pay somebody."""
        effects.append((amount, to))
        return "paid"

    return pay


ARGS = {"amount": "0100", "to": "eve", "smuggled": "x"}
SYNCHRONOUS = {
    "invoke": lambda t: t.invoke(ARGS),
    "run": lambda t: t.run(ARGS),
    "batch": lambda t: t.batch([ARGS])[0],
    "batch_as_completed": lambda t: next(iter(t.batch_as_completed([ARGS])))[1],
    "stream": lambda t: next(iter(t.stream(ARGS))),
    "transform": lambda t: next(iter(t.transform(iter([ARGS])))),
    "_run": lambda t: t._run(amount=100, to="eve", config={}),
}
ON_LOOP = {
    "ainvoke": lambda t: t.ainvoke(ARGS),
    "arun": lambda t: t.arun(ARGS),
    "abatch": lambda t: _first(t.abatch([ARGS])),
    "abatch_as_completed": lambda t: _first_completed(t.abatch_as_completed([ARGS])),
    "astream": lambda t: _first_of_stream(t.astream(ARGS)),
    "atransform": lambda t: _first_of_stream(t.atransform(_stream_of(ARGS))),
    "astream_events": lambda t: _last_event(t.astream_events(ARGS)),
    "_arun": lambda t: t._arun(amount=100, to="eve", config={}),
    "with_retry": lambda t: t.with_retry().ainvoke(ARGS),
    "with_fallbacks": lambda t: t.with_fallbacks([t]).ainvoke(ARGS),
    "with_config": lambda t: t.with_config(tags=["x"]).ainvoke(ARGS),
    "bind": lambda t: t.bind().ainvoke(ARGS),
    "map": lambda t: _first(t.map().ainvoke([ARGS])),
    "pipe": lambda t: (RunnableLambda(lambda given: given) | t).ainvoke(ARGS),
    "copy": lambda t: copy.copy(t).ainvoke(ARGS),
    "model_copy": lambda t: t.model_copy().ainvoke(ARGS),
    "a tool call": lambda t: _content(t.ainvoke(CALL)),
}
CALL = {"name": "pay", "args": ARGS, "id": "call-1", "type": "tool_call"}


async def _first(batch):
    return (await batch)[0]


async def _content(answer):
    return (await answer).content


async def _first_completed(answers):
    found = [answer async for _, answer in answers]  # to its end, as a reader does
    return found[0]


async def _stream_of(value):
    yield value


async def _last_event(events):
    return [event async for event in events][-1]["data"]["output"]


async def _first_of_stream(stream):
    chunks = [chunk async for chunk in stream]  # to its end, as a reader does
    return chunks[0]


@pytest.mark.parametrize("way", SYNCHRONOUS)
@pytest.mark.parametrize("on_loop", [False, True])
async def test_synchronous_ways_are_refused(workshop, context, effects, way, on_loop):
    wrapped = gated(pay_tool(effects), context)

    try:
        call = SYNCHRONOUS[way]
        answer = call(wrapped) if on_loop else await asyncio.to_thread(call, wrapped)
    except ToolException as error:  # of `_run`, which nothing turns into a message
        answer = str(error)

    assert effects == []
    assert answer == "pay can only be called asynchronously; it did not run."
    assert await workshop.rows("pending_actions") == []


@pytest.mark.parametrize("way", ON_LOOP)
async def test_asynchronous_ways_are_held(workshop, context, effects, way):
    wrapped = gated(pay_tool(effects), context)

    answer = await ON_LOOP[way](wrapped)

    assert effects == []
    assert "needs the owner's approval" in answer
    action = await workshop.row("pending_actions")
    assert action["arguments"] == {"amount": 100, "to": "eve"}  # coerced, without what was smuggled
    assert action["arguments_hash"] == arguments_hash({"amount": 100, "to": "eve"})
    assert action["tool_version"] == 3


async def test_an_undeclared_tool_is_held(workshop, context, effects):
    @tool
    def unheard_of() -> str:
        """Do something."""
        effects.append(1)
        return "done"

    await gated(unheard_of, context).ainvoke({})

    assert effects == []
    entry = await workshop.row("audit_logs")
    assert (entry["tier"], entry["decision"]) == ("unknown", "held")


async def test_an_inner_tool_stays_as_it_was(context, effects):
    inner = pay_tool(effects)

    gated(inner, context)

    assert await inner.ainvoke({"amount": 1, "to": "a"}) == "paid"
    assert effects == [(1, "a")]


async def test_the_gated_tool_gives_no_way_to_the_function(context, effects):
    wrapped = gated(pay_tool(effects), context)

    with pytest.raises(ToolException):
        wrapped.func(amount=1, to="a")
    assert effects == []


async def test_a_tool_is_not_wrapped_twice(context, effects):
    wrapped = gated(pay_tool(effects), context)

    again = wrap_tools_with_approval([wrapped], context)

    assert again.tools == ()
    assert "wrapped already" in again.failures[0].error


async def test_an_allowed_effect_is_in_the_audit_log_before_it_happens(workshop, context):
    seen = []

    @tool
    async def free() -> str:
        """Do it."""
        seen.append([r["outcome"] for r in await workshop.rows("audit_logs")])
        return "done"

    await gated(free, context).ainvoke({})

    assert seen == [["started"]]


async def test_artifacts_survive(context):
    @tool(response_format="content_and_artifact")
    async def free() -> tuple[str, Any]:
        """Make something."""
        return "made", {"bytes": 3}

    message = await gated(free, context).ainvoke(
        {"name": "free", "args": {}, "id": "1", "type": "tool_call"}
    )

    assert (message.content, message.artifact) == ("made", {"bytes": 3})


async def test_a_held_tool_with_artifacts_answers_in_its_form(context, effects):
    @tool(response_format="content_and_artifact")
    async def pay() -> tuple[str, Any]:
        """Pay."""
        effects.append(1)
        return "paid", None

    message = await gated(pay, context).ainvoke(
        {"name": "pay", "args": {}, "id": "1", "type": "tool_call"}
    )

    assert "needs the owner's approval" in message.content
    assert effects == []


async def test_a_tool_of_one_string_takes_it_by_position(context, effects):
    inner = Tool(name="free", description="x", func=lambda text: effects.append(text) or "ok")

    answer = await gated(inner, context).ainvoke("hello")

    assert (answer, effects) == ("ok", ["hello"])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("kaputt"),
        ToolException("kaputt"),
        ValueError(),
        SystemExit("kaputt"),
        KeyboardInterrupt("kaputt"),
    ],
)
async def test_a_failure_is_a_message(workshop, context, error):
    @tool
    async def free() -> str:
        """Fail."""
        raise error

    answer = await gated(free, context).ainvoke(
        {"name": "free", "args": {}, "id": "1", "type": "tool_call"}
    )

    assert answer.status == "error"
    assert "kaputt" in answer.content or "ValueError" in answer.content


async def test_a_secret_in_a_failure_is_not_passed_on(context):
    @tool
    async def free() -> str:
        """Fail."""
        raise RuntimeError("denied for Bearer abcdefgh12345678")

    assert "abcdefgh" not in await gated(free, context).ainvoke({})


async def test_missing_setup_ends_the_run(context):
    @tool
    async def free() -> str:
        """Need something."""
        raise SetupRequiredError("Connect it.", what="x")

    with pytest.raises(SetupRequiredError):
        await gated(free, context).ainvoke({})


async def test_a_tool_that_hangs_is_given_up_and_its_outcome_is_unknown(
    workshop, context, recorder
):
    @tool
    async def slow() -> str:
        """Hang."""
        await asyncio.sleep(30)
        return "never"

    answer = await gated(slow, context).ainvoke({})
    await recorder.buffer.flush()

    assert "did not answer within 0.05 s" in answer
    outcomes = [r["outcome"] for r in await workshop.rows("audit_logs", "id")]
    assert outcomes == ["started", "unknown"]


async def test_secrets_are_redacted_in_the_audit_log_and_kept_for_the_execution(
    workshop, context, effects
):
    @tool
    def pay(amount: int, api_key: str) -> str:
        """Pay."""
        effects.append(1)
        return "paid"

    await gated(pay, context).ainvoke({"amount": 1, "api_key": "hush"})

    assert (await workshop.row("audit_logs"))["arguments"] == {
        "amount": 1,
        "api_key": "[redacted]",
    }
    action = await workshop.row("pending_actions")
    assert action["arguments"] == {"amount": 1, "api_key": "[redacted]"}
    assert b"hush" not in bytes(action["sealed_arguments"])
    assert unseal_arguments(bytes(action["sealed_arguments"]), CIPHER, action["id"]) == {
        "amount": 1,
        "api_key": "hush",
    }


class _Talker(GenericFakeChatModel):
    def bind_tools(self, tools, **kwargs):
        return self


def agent_calling(name, args, tools, middleware):
    call = {"name": name, "args": args, "id": "1"}
    model = _Talker(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("end")]))
    return create_agent(model, tools=tools, middleware=middleware)


async def run(agent):
    state = await agent.ainvoke({"messages": [HumanMessage("go")]})
    return next(m for m in state["messages"] if m.type == "tool")


async def test_guard_refuses_a_raw_tool_swapped_in_by_a_middleware(
    workshop, context, recorder, effects
):
    raw = pay_tool(effects)

    class Swapper(AgentMiddleware):
        async def awrap_tool_call(self, request, handler):
            return await handler(request.override(tool=raw))

    agent = agent_calling(
        "pay",
        {"amount": 1, "to": "eve"},
        [gated(raw, context)],
        [Swapper(), GateGuard(context)],
    )

    message = await run(agent)
    await recorder.buffer.flush()

    assert effects == []
    assert message.status == "error"
    assert "not behind the approval gate" in message.content
    assert (await workshop.row("audit_logs"))["decision"] == "refused"


async def test_guard_refuses_a_tool_that_a_middleware_brings(context, effects):
    raw = pay_tool(effects)

    class Bringer(AgentMiddleware):
        tools = [raw]  # noqa: RUF012

    agent = agent_calling("pay", {"amount": 1, "to": "eve"}, [], [Bringer(), GateGuard(context)])

    assert (await run(agent)).status == "error"
    assert effects == []


async def test_guard_refuses_a_tool_of_another_run(workshop, context, recorder, effects):
    import dataclasses

    other = dataclasses.replace(context, agent_name="other")
    agent = agent_calling(
        "pay", {"amount": 1, "to": "e"}, [gated(pay_tool(effects), other)], [GateGuard(context)]
    )

    assert (await run(agent)).status == "error"
    assert effects == []


async def entries(workshop, recorder):
    await recorder.buffer.flush()
    names = ("tool_name", "tier", "decision", "outcome", "detail")
    rows = await workshop.rows("audit_logs", "id")
    return [(*(row[name] for name in names), row["arguments"]) for row in rows]


OUTSIDE = "not behind the approval gate"


@pytest.mark.parametrize("fails", [False, True])
async def test_call_of_an_admitted_tool_leaves_entries(workshop, context, recorder, fails):
    @tool
    def look(where: str, password: str) -> str:
        """Look."""
        if fails:
            raise ToolException("no password=hunter2 here")
        return "seen"

    look.handle_tool_error = fails
    args = {"where": "x", "password": "hunter2"}
    agent = agent_calling("look", args, [look], [GateGuard(context, [look])])

    message = await run(agent)

    shown = {"where": "x", "password": "[redacted]"}
    assert message.status == ("error" if fails else "success")
    assert await entries(workshop, recorder) == [
        ("look", "unknown", "allowed", "started", OUTSIDE, shown),
        ("look", "unknown", "allowed", "failed" if fails else "succeeded", OUTSIDE, shown),
    ]


async def test_admitted_tool_that_is_cancelled_leaves_an_entry(workshop, context, recorder):
    begun = asyncio.Event()

    @tool
    async def look() -> str:
        """Look for ever."""
        begun.set()
        await asyncio.Event().wait()
        return ""

    looking = asyncio.create_task(
        run(agent_calling("look", {}, [look], [GateGuard(context, [look])]))
    )
    await begun.wait()
    assert [entry[3] for entry in await entries(workshop, recorder)] == ["started"]
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking

    (_, ended) = await entries(workshop, recorder)
    assert (ended[3], ended[4]) == ("unknown", f"{OUTSIDE}: cancelled")


async def test_call_of_a_tool_that_is_not_there_leaves_an_entry(workshop, context, recorder):
    free = gated(Tool.from_function(lambda _: "x", "free", "Free."), context)
    agent = agent_calling("nosuch", {"x": 1, "otp": 5}, [free], [GateGuard(context)])

    message = await run(agent)

    assert message.status == "error"
    assert await entries(workshop, recorder) == [
        (
            "nosuch",
            "unknown",
            "refused",
            "not_run",
            "the agent has no such tool",
            {"x": 1, "otp": "[redacted]"},
        )
    ]


@pytest.mark.parametrize("handled", [False, True])
async def test_arguments_that_a_tool_does_not_take_leave_an_entry(
    workshop, context, recorder, effects, handled
):
    inner = pay_tool(effects)
    inner.handle_validation_error = handled
    args = {"amount": "many", "token": "hunter2"}
    agent = agent_calling("pay", args, [gated(inner, context)], [GateGuard(context)])

    message = await run(agent)

    assert message.status == "error"
    assert effects == []
    assert await entries(workshop, recorder) == [
        (
            "pay",
            "unknown",
            "refused",
            "not_run",
            "its arguments are not what the tool takes",
            {"amount": "many", "token": "[redacted]"},
        )
    ]


async def test_synchronous_agent_in_a_thread_runs_no_tool(context, effects):
    agent = agent_calling(
        "pay",
        {"amount": 1, "to": "eve"},
        [gated(pay_tool(effects), context)],
        [GateGuard(context)],
    )

    with pytest.raises(NotImplementedError):
        await asyncio.to_thread(agent.invoke, {"messages": [HumanMessage("go")]})

    assert effects == []


async def test_a_tool_nested_in_a_tool_is_held(context, effects):
    pay = gated(pay_tool(effects), context)

    @tool
    async def free() -> str:
        """Pay through another tool."""
        return await pay.ainvoke({"amount": 5, "to": "eve"})

    assert "needs the owner's approval" in await gated(free, context).ainvoke({})
    assert effects == []


async def test_injected_values_reach_the_tool_and_stay_out_of_the_record(
    workshop, context, recorder
):
    got = {}

    async def free(
        word: str, runtime: ToolRuntime, messages: Annotated[list, InjectedState("messages")]
    ) -> str:
        """Look around."""
        got.update(word=word, call=runtime.tool_call_id, count=len(messages))
        return "ok"

    inner = StructuredTool.from_function(coroutine=free, name="free")
    agent = agent_calling("free", {"word": "w"}, [gated(inner, context)], [GateGuard(context)])

    message = await run(agent)
    await recorder.buffer.flush()

    assert message.content == "ok"
    assert got == {"word": "w", "call": "1", "count": 2}
    assert {tuple(r["arguments"].items()) for r in await workshop.rows("audit_logs")} == {
        (("word", "w"),)
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**40, "a\0b"])
async def test_arguments_that_json_cannot_carry_are_stored_or_refused_never_run(
    workshop, context, effects, value
):
    @tool
    def pay(value: Any) -> str:
        """Pay."""
        effects.append(value)
        return "paid"

    await gated(pay, context).ainvoke({"value": value})

    assert effects == []
    assert len(await workshop.rows("pending_actions")) <= 1
