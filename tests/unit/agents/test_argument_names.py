"""Arguments that a tool would never get are found before an agent calls it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain.tools import InjectedState, ToolRuntime
from langchain_core.callbacks import AsyncCallbackManagerForToolRun, Callbacks
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, Tool, tool
from pydantic import create_model

from rota.security.gate.arguments import wrapping_problem


def of_function(name: str) -> BaseTool:
    namespace: dict[str, Any] = {}
    exec(f"async def t({name}: str, other: str = ''):\n    'A tool.'", namespace)
    return tool(namespace["t"])


def of_model(name: str) -> BaseTool:
    async def t(**given: str) -> str:
        return str(given)

    schema = create_model("Schema", **{name: (str, ...), "other": (str, "")})
    return StructuredTool.from_function(
        coroutine=t, name="t", description="A tool.", args_schema=schema
    )


def of_json(name: str) -> BaseTool:
    async def t(**given: str) -> str:
        return str(given)

    return StructuredTool(coroutine=t, name="t", description="A tool.", args_schema=json_of(name))


def of_server(name: str) -> BaseTool:
    """Make one as langchain-mcp-adapters does."""

    async def t(
        runtime: Annotated[object | None, InjectedToolArg()] = None, **given: dict[str, Any]
    ) -> str:
        return str((runtime, given))

    return StructuredTool(coroutine=t, name="t", description="A tool.", args_schema=json_of(name))


def json_of(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


MADE = {"function": of_function, "model": of_model, "json": of_json, "server": of_server}


@pytest.mark.parametrize(
    ("made", "name"),
    [
        *((made, name) for made in MADE for name in ("config", "run_manager", "self")),
        *(("function", name) for name in ("callbacks", "runtime", "args", "kwargs")),
        ("model", "runtime"),
        ("server", "runtime"),
    ],
)
def test_name_that_langchain_keeps_is_refused(made, name):
    problem = wrapping_problem(MADE[made](name))

    assert problem is not None
    assert f"an argument {name!r}, a name that LangChain keeps for itself" in problem


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize(
    "name",
    ["state", "store", "tool_call_id", "input", "name", "type", "id", "metadata", "tags", "run_id"],
)
def test_name_that_reaches_its_tool_is_taken(made, name):
    assert wrapping_problem(MADE[made](name)) is None


@pytest.mark.parametrize(("made", "name"), [("json", "runtime"), ("json", "callbacks")])
def test_name_that_a_tool_does_not_have_filled_in_is_taken(made, name):
    assert wrapping_problem(MADE[made](name)) is None


def test_argument_that_no_schema_has_is_refused():
    problem = wrapping_problem(of_function("_hidden"))

    assert problem is not None
    assert "takes an argument '_hidden' that its schema does not have" in problem


@tool
async def asks_for_all(
    text: str,
    config: RunnableConfig,
    runtime: ToolRuntime,
    state: Annotated[dict, InjectedState],
    callbacks: Callbacks = None,
    run_manager: AsyncCallbackManagerForToolRun | None = None,
    _unused: str = "",
) -> str:
    """Ask for what LangChain gives."""
    return f"{text}{config}{runtime}{state}{callbacks}{run_manager}"


@tool
async def asks_without_a_type(text: str, callbacks=None, run_manager=None) -> str:
    """Ask for what LangChain gives, without saying what it is."""
    return f"{text}{callbacks}{run_manager}"


@pytest.mark.parametrize(
    "made",
    [
        asks_for_all,
        asks_without_a_type,
        Tool("one_string", lambda anything: anything, "Takes one string."),
    ],
)
def test_tool_that_wants_what_langchain_fills_in_gets_it(made):
    assert wrapping_problem(made) is None
