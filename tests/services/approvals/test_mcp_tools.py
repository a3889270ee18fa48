"""Tools of an MCP server, by the real client: the same gate, whatever the server says of itself."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from mcp.shared.exceptions import McpError

from rota.agents.models.building import ChatModels
from rota.agents.tools.context import ToolRegistry
from rota.agents.tools.definitions import hash_tool
from rota.domain.agents.tool_hints import hints_in
from rota.domain.runs.steps import StepKey
from rota.security.gate.calls import CURRENT_STEP
from rota.security.gate.tool_wrapper import wrap_tools_with_approval
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer
from tests.services.approvals.test_approved_calls import attempts, desk, gated
from tests.services.deciding import desk_of

__all__ = ["attempts", "desk"]  # fixtures

SERVER = Path(__file__).parents[2] / "loopback" / "mcp_server.py"
HELD = "needs the owner's approval"


@asynccontextmanager
async def bank(file: Path, version: int = 1):
    """Start the server, and give its tools by their names."""
    client = MultiServerMCPClient(
        {
            "bank": {
                "command": sys.executable,
                "args": [str(SERVER), str(file), str(version)],
                "transport": "stdio",
            }
        }
    )
    async with client.session("bank") as session:
        yield {tool.name: tool for tool in await load_mcp_tools(session)}


@pytest.fixture
def book(tmp_path) -> Path:
    """What the server's tools did, a line each."""
    file = tmp_path / "book"
    file.touch()
    return file


ARGUMENTS = {"amount": 100, "to": "eve"}


async def _all(chunks):
    return [chunk async for chunk in chunks]


async def _by_tool_node(wrapped):
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([wrapped]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    call = {"name": "pay", "args": ARGUMENTS, "id": "c", "type": "tool_call"}
    state = await graph.compile().ainvoke({"messages": [AIMessage("", tool_calls=[call])]})
    return state["messages"][-1].content


ON_LOOP = {
    "ainvoke": lambda t: t.ainvoke(ARGUMENTS),
    "arun": lambda t: t.arun(ARGUMENTS),
    "abatch": lambda t: t.abatch([ARGUMENTS]),
    "astream": lambda t: _all(t.astream(ARGUMENTS)),
    "_arun": lambda t: t._arun(**ARGUMENTS, config={}),
    "ToolNode": _by_tool_node,
}
SYNCHRONOUS = {
    "invoke": lambda t: t.invoke(ARGUMENTS),
    "run": lambda t: t.run(ARGUMENTS),
    "batch": lambda t: t.batch([ARGUMENTS]),
    "stream": lambda t: list(t.stream(ARGUMENTS)),
    "_run": lambda t: t._run(**ARGUMENTS, config={}),
}


async def test_every_way_to_a_tool_of_a_server_ends_at_the_gate(desk, attempts, book):
    async with bank(book) as tools:
        for number, way in enumerate(ON_LOOP):
            CURRENT_STEP.set(StepKey(1, number))
            wrapped = await gated(attempts, tools["pay"])
            assert HELD in str(await ON_LOOP[way](wrapped)), way
            assert book.read_text() == "", way

    assert [action["arguments"] for action in await desk.actions()] == [ARGUMENTS] * len(ON_LOOP)


@pytest.mark.parametrize("way", SYNCHRONOUS)
async def test_synchronous_way_to_a_tool_of_a_server_is_refused(desk, attempts, book, way):
    async with bank(book) as tools:
        wrapped = await gated(attempts, tools["pay"])
        with suppress(ToolException):  # of `_run`, which nothing turns into a message
            answer = await asyncio.to_thread(SYNCHRONOUS[way], wrapped)
            assert "can only be called asynchronously" in str(answer)
        assert book.read_text() == ""

    assert await desk.actions() == []


async def test_approved_call_of_a_server_runs_once(desk, attempts, book):
    async with bank(book) as tools:
        await (await gated(attempts, tools["pay"])).ainvoke(ARGUMENTS)
        await desk.approve()
        wrapped = await gated(attempts, tools["pay"])
        answers = [str(await wrapped.ainvoke(ARGUMENTS)) for _ in range(3)]

    assert book.read_text() == "paid 100 to eve\n"
    assert all("paid 100 to eve" in answer for answer in answers)  # once, and then told of it


async def test_argument_that_the_server_did_not_announce_is_refused(desk, attempts, book):
    async with bank(book) as tools:
        wrapped = await gated(attempts, tools["pay"])
        answer = await wrapped.ainvoke({"amount": 1, "to": "bob", "bcc": "eve"})

    assert "does not take that" in str(answer)
    assert (await desk.actions(), book.read_text()) == ([], "")


def agents_desk(workshop, tool, models=None):
    standard = workshop.toolbox.registry()
    registry = ToolRegistry(
        {
            **{n: (lambda c, n=n: standard.build(n, c)) for n in standard.names()},
            tool.name: lambda _context: tool,
        }
    )
    made = desk_of(workshop, registry=registry, models=models)
    made.tools = (tool.name,)
    return made


async def declare(workshop, name, tier, *, read_only, definition_hash=None):
    await workshop.owner.execute(
        "INSERT INTO tools (name, default_tier, risk, read_only, definition_hash)"
        " VALUES (%s, %s, 'low', %s, %s)",
        [name, tier, read_only, definition_hash],
    )


async def test_server_that_says_of_its_tool_that_it_only_reads_is_not_believed(workshop, book):
    async with bank(book) as tools:
        assert hints_in(tools["pay"].metadata)["readOnlyHint"] is True
        await declare(workshop, "pay", "requires_approval", read_only=False)
        desk = agents_desk(workshop, tools["pay"])
        await desk.run({"tool": "pay", "args": {"amount": 1, "to": "bob"}})

        assert book.read_text() == ""
        await desk.approve()
        await desk.work()
    assert book.read_text() == "paid 1 to bob\n"


async def test_server_that_says_of_its_tool_that_it_destroys_is_believed(workshop, book):
    """The operator declared it harmless; the hint makes it stricter all the same."""
    async with bank(book) as tools:
        await declare(workshop, "close", "auto", read_only=True)
        desk = agents_desk(workshop, tools["close"])
        await desk.run({"tool": "close", "args": {"account": "1"}})

    assert book.read_text() == ""
    assert (await desk.action())["risk"] == "high"


async def test_approval_is_not_one_of_what_the_server_made_of_its_tool_since(workshop, book):
    async with bank(book) as tools:
        await declare(
            workshop,
            "pay",
            "requires_approval",
            read_only=False,
            definition_hash=hash_tool(tools["pay"]),
        )
        desk = agents_desk(workshop, tools["pay"])
        await desk.run({"tool": "pay", "args": {"amount": 1, "to": "bob"}})
    await desk.approve()
    async with bank(book, version=2) as tools:
        await agents_desk(workshop, tools["pay"]).work()

    action = await desk.action()
    assert (action["status"], book.read_text()) == ("failed", "")
    assert "was changed since it was asked for" in action["result"]


async def test_failure_of_a_server_is_a_message_and_a_failed_action(workshop, book):
    async with bank(book) as tools:
        await declare(workshop, "fail", "requires_approval", read_only=False)
        desk = agents_desk(workshop, tools["fail"])
        await desk.run({"tool": "fail", "args": {"reason": "no funds"}}, mode="suspend")
        await desk.approve()
        await desk.work()

    action = await desk.action()
    assert (action["status"], book.read_text()) == ("failed", "failed no funds\n")
    assert "no funds" in action["result"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("link", "attached\n\n[file] (bank://rules/1)"),
        ("picture", "attached\n\n[image] (image/png, 4 characters of base64)"),
        ("file", "attached\n\nname;sum"),
        ("sound", "NotImplementedError: AudioContent conversion"),
    ],
)
@pytest.mark.parametrize("api", [OpenAIServer, AnthropicServer])
async def test_what_a_server_attaches_is_told_to_the_model(workshop, book, kind, said, api):
    calls = Says("", (("attach", {"kind": kind}),))
    async with bank(book) as tools:
        await declare(workshop, "attach", "auto", read_only=True)
        with api(calls, Says("Done.")) as server:
            desk = agents_desk(workshop, tools["attach"], ChatModels({"local": server.url}))
            name = "openai:gpt-4o-mini" if api is OpenAIServer else "anthropic:claude-sonnet-5"
            settings = {"endpoint": "local", "max_retries": 0}
            await workshop.agent(model=name, model_settings=settings, tools=["attach"])
            run = await desk.run_steps([])

    assert (await desk.result(run))["result_content"] == "Done."
    answer = server.requests[1].body["messages"][-1]
    content = answer["content"] if answer["role"] == "tool" else answer["content"][0]["content"]
    assert content.startswith(said)


async def test_server_that_dies_in_a_call_is_a_message_and_the_run_goes_on(workshop, book):
    """Its session is another task's, whose scopes end as cancelled."""
    await declare(workshop, "die", "requires_approval", read_only=False)
    with suppress(BaseExceptionGroup, McpError):
        async with bank(book) as tools:
            desk = agents_desk(workshop, tools["die"])
            run = await desk.run({"tool": "die"}, mode="suspend")
            await desk.approve()
            await desk.work()

    assert (await desk.action())["status"] in {"failed", "unknown"}
    result = await desk.result(run)
    assert (result["status"], "Connection closed" in result["result_content"]) == ("success", True)


async def test_argument_of_a_server_that_never_reaches_it_is_not_offered(attempts, book):
    async with bank(book) as tools:
        wrapped = wrap_tools_with_approval([tools["place"]], await attempts.next())

    assert wrapped.tools == ()
    assert "'runtime', a name that LangChain keeps for itself" in wrapped.failures[0].error
