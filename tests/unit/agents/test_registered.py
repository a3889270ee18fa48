"""Registered code: what is taken for what, and what is refused, with the entry and the reason."""

from __future__ import annotations

import sys
from itertools import count
from uuid import uuid4

import httpx
import pytest
from langchain_core.tools import BaseTool

from rota.agents.own_code.registered import (
    AsyncFunction,
    Graph,
    GraphFactory,
    load_callables,
    load_tools,
    tool_registry,
)
from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.domain.errors import InvalidInputError, NotFoundError, RotaError, SetupRequiredError
from rota.domain.ids import UserId
from rota.settings import read_settings
from tests.services.harness import clock

NUMBERS = count()
HEAD = """
from __future__ import annotations
import functools
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TYPE_CHECKING
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.graph import START, StateGraph
from rota.agents.tools.context import ToolContext
if TYPE_CHECKING:
    import rota.agents.tools.context as seen
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write(code):
        name = f"registered_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(HEAD + code, encoding="utf-8")
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture
async def context(tmp_path):
    async def secret(_service):
        return "secret"

    async with httpx.AsyncClient() as http:
        yield ToolContext(UserId(uuid4()), clock, secret, lambda: tmp_path, http)


# -- Settings


def test_entries_are_read_from_the_environment():
    settings = read_settings(
        {"ROTA_TOOLS": " a=m:x  b-2=p.q:X.y ", "ROTA_CALLABLES": "a=m:x", "OTHER": "x"}
    )

    assert settings.tools == {"a": "m:x", "b-2": "p.q:X.y"}
    assert settings.callables == {"a": "m:x"}
    assert read_settings({}).tools == {}


@pytest.mark.parametrize("variable", ["ROTA_TOOLS", "ROTA_CALLABLES"])
@pytest.mark.parametrize("left", ["$ROTA_TOOLS", "${ROTA_TOOLS}"])
def test_a_variable_that_nobody_expanded_is_refused_as_such(variable, left):
    with pytest.raises(InvalidInputError) as caught:
        read_settings({variable: f"{left} a=m:x"})

    assert caught.value.message == (
        f"{variable} has {left!r}. Variables are not expanded there: write the value in place of "
        "the name."
    )


@pytest.mark.parametrize("variable", ["ROTA_TOOLS", "ROTA_CALLABLES"])
@pytest.mark.parametrize(
    "entry",
    [
        "name",
        "name=",
        "=m:x",
        "name=m",
        "name=m:",
        "name=:x",
        "name=m.:x",
        "name=.m:x",
        "name=m:x.",
        "name=m:1x",
        "name=m:x()",
        "name=m:x:y",
        "na.me=m:x",
        "n" * 65 + "=m:x",
        "name=../m:x",
        "a=m:x a=m:x",
    ],
)
def test_entries_that_cannot_be_meant_are_named(variable, entry):
    with pytest.raises(InvalidInputError) as caught:
        read_settings({variable: entry})

    assert variable in caught.value.message
    assert repr(entry.split()[0].partition("=")[0] if " " in entry else entry) in (
        caught.value.message
    )


# -- Tools


async def test_a_tool_and_a_function_that_makes_one_are_built_under_their_registered_names(
    module, context
):
    name = module(
        """
@tool
def double(number: int) -> int:
    "Double a number."
    return 2 * number

def maker(of: ToolContext) -> BaseTool:
    @tool
    async def whose() -> str:
        "Say whose run it is."
        return str(of.user_id)
    return whose

class Holder:
    double = double
"""
    )
    registry = tool_registry(
        {"twice": f"{name}:double", "whose-run": f"{name}:maker", "held": f"{name}:Holder.double"}
    )

    twice = registry.build("twice", context)
    assert (twice.name, await twice.ainvoke({"number": 4})) == ("twice", 8)
    whose = registry.build("whose-run", context)
    assert (whose.name, await whose.ainvoke({})) == ("whose-run", str(context.user_id))
    assert registry.build("held", context).name == "held"
    assert sys.modules[name].double.name == "double"  # the operator's own is left alone
    assert set(registry.names()) == {"twice", "whose-run", "held", *builtin_tools().names()}


@pytest.mark.parametrize(
    "maker",
    [
        "def make(context): return double",
        "def make(context, *, quick=True): return double",
        "def make(c: ToolContext): return double",
        "def make(c: seen.ToolContext) -> StructuredTool: return double",
        "def make(c: 'ToolContext', times: int = 2) -> BaseTool: return double",
    ],
)
async def test_makers_are_told_by_their_argument(module, context, maker):
    name = module(f"@tool\ndef double(number: int) -> int:\n    'Double.'\n    return 2\n{maker}\n")

    assert load_tools({"x": f"{name}:make"})["x"](context).name == "x"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def thing(city: str) -> str: return city", "decorate it with @tool"),
        ("def thing(): return 1", "does not take a ToolContext"),
        ("def thing(context, other): return 1", "does not take a ToolContext"),
        ("def thing(context) -> str: return 'x'", "returns str by its annotation"),
        ("async def thing(context): return 1", "neither a tool"),
        ("thing = 5", "an object of type int is neither a tool"),
        ("class thing(BaseTool): pass", "the class thing is neither a tool"),
        ("thing = None", "neither a tool"),
        ("other = 5", "has no attribute 'thing'"),
    ],
)
def test_what_is_no_tool_is_refused_with_entry_and_reason(module, code, said):
    name = module(code)

    with pytest.raises(InvalidInputError) as caught:
        load_tools({"x": f"{name}:thing"})

    assert caught.value.message.startswith(f"ROTA_TOOLS, entry x={name}:thing: ")
    assert said in caught.value.message


def test_a_maker_that_makes_no_tool_is_told_when_it_is_asked(module):
    name = module("def thing(context): return 5")
    build = load_tools({"x": f"{name}:thing"})["x"]

    with pytest.raises(InvalidInputError, match="returned an object of type int, not a tool"):
        build(None)


def test_a_maker_that_fails_says_what_is_to_be_set_up(module):
    name = module(
        """
import os
from rota.domain.errors import NotFoundError
def thing(context): return os.environ["NO_SUCH_VARIABLE"]
def lost(context): raise NotFoundError("mailbox", "x")
"""
    )
    tools = load_tools({"x": f"{name}:thing", "y": f"{name}:lost"})

    with pytest.raises(SetupRequiredError, match="KeyError: 'NO_SUCH_VARIABLE'") as caught:
        tools["x"](None)
    assert f"entry x={name}:thing: the tool could not be made" in caught.value.message
    with pytest.raises(NotFoundError):
        tools["y"](None)


def test_built_in_tools_are_not_replaced(module):
    name = module("@tool\ndef thing() -> str:\n    'x'\n    return ''")

    for builtin in builtin_tools().names():
        with pytest.raises(InvalidInputError, match=rf"entry {builtin}=.* choose another"):
            load_tools({builtin: f"{name}:thing"})


@pytest.mark.parametrize("load", [load_tools, load_callables])
@pytest.mark.parametrize(
    ("code", "said", "hinted"),
    [
        ("raise ValueError('the licence has expired')", "ValueError: the licence has exp", False),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'", False),
        ("raise SystemExit(3)", "SystemExit: 3", False),
        ("def (", "SyntaxError", False),
        (None, "No module named 'nowhere", True),
    ],
)
def test_modules_that_cannot_be_imported_say_why(module, load, code, said, hinted):
    name = "nowhere.at_all" if code is None else module(code)

    with pytest.raises(SetupRequiredError) as caught:
        load({"x": f"{name}:thing"})

    assert f"entry x={name}:thing: the module {name} cannot be imported: " in caught.value.message
    assert said in caught.value.message
    assert ("PYTHONPATH" in caught.value.message) == hinted


# -- Callables

GRAPH = """
def answer(state: dict) -> dict: return {}
plan = StateGraph(dict)
plan.add_node("answer", answer)
plan.add_edge(START, "answer")
graph = plan.compile()
"""


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("async def thing(context, prompt): return ''", AsyncFunction),
        ("async def thing(context: Any, prompt: str, *, quick: bool = True): ...", AsyncFunction),
        ("async def thing(*arguments): return ''", AsyncFunction),
        ("def thing(context, prompt) -> Awaitable[str]: return answer()", AsyncFunction),
        (
            "async def whole(bound, context, prompt): ...\nthing = functools.partial(whole, 1)",
            AsyncFunction,
        ),
        (
            "class Kind:\n    async def __call__(self, context, prompt): ...\nthing = Kind()",
            AsyncFunction,
        ),
        (
            "class Kind:\n    async def go(self, context, prompt): ...\nthing = Kind().go",
            AsyncFunction,
        ),
        (f"{GRAPH}thing = graph", Graph),
        ("class Kind:\n    async def ainvoke(self, state): ...\nthing = Kind()", Graph),
        ("def thing(context): return graph", GraphFactory),
        ("def thing(context, times=2) -> Any: return graph", GraphFactory),
        ("def thing(context) -> object: return graph", GraphFactory),
        ("def thing(context) -> Unknown: return graph", GraphFactory),
        (f"{GRAPH}Kind = type(graph)\ndef thing(context) -> Kind: return graph", GraphFactory),
        ("thing = lambda context: graph", GraphFactory),
        ("def whole(a, context): ...\nthing = functools.partial(whole, 1)", GraphFactory),
        ("async def thing(context): return graph", GraphFactory),
        ("def thing(context) -> Awaitable[Any]: return making()", GraphFactory),
        ("@asynccontextmanager\nasync def thing(context): yield graph", GraphFactory),
        (
            "@asynccontextmanager\nasync def thing(context) -> AsyncIterator[Any]: yield graph",
            GraphFactory,
        ),
    ],
)
def test_callables_are_told_apart_by_their_form(module, code, kind):
    name = module(code)

    loaded = load_callables({"x": f"{name}:thing"})["x"]

    assert isinstance(loaded, kind)
    assert loaded.name == "x"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("async def thing(context) -> str: return ''", "returns str by its annotation"),
        ("async def thing(): return ''", "takes two arguments, context and prompt"),
        ("async def thing(context, prompt, more): return ''", "takes two arguments"),
        ("async def thing(context, prompt): yield ''", "yields"),
        ("def thing(context): yield 1", "yields"),
        ("def thing(context, prompt): return ''", "make it `async def`"),
        ("def thing(): return 1", "make it `async def`"),
        ("def thing(context) -> str: return ''", "returns str by its annotation"),
        ("def thing(context) -> None: ...", "returns NoneType by its annotation"),
        ("def thing(context) -> StateGraph: ...", "returns StateGraph by its annotation"),
        (f"{GRAPH}thing = plan", "not compiled"),
        ("class thing: pass", "is a class"),
        ("thing = 'x'", "neither a function nor a graph"),
        ("@tool\ndef thing() -> str:\n    'x'\n    return ''", "register it in ROTA_TOOLS"),
        ("other = 1", "has no attribute 'thing'"),
        ("class Kind: pass", "has no attribute 'thing'"),
    ],
)
def test_what_is_no_callable_is_refused_with_entry_and_reason(module, code, said):
    name = module(code)

    with pytest.raises(InvalidInputError) as caught:
        load_callables({"x": f"{name}:thing"})

    assert caught.value.message.startswith(f"ROTA_CALLABLES, entry x={name}:thing: ")
    assert said in caught.value.message


def test_nothing_is_called_to_find_out_what_it_is(module):
    name = module("def thing(context): raise RuntimeError('called')\nasync def two(a, b): 1 / 0")

    loaded = load_callables({"x": f"{name}:thing", "y": f"{name}:two"})

    assert [type(found) for found in loaded.values()] == [GraphFactory, AsyncFunction]


def test_one_fault_of_many_entries_is_told_at_once(module):
    name = module("@tool\ndef thing() -> str:\n    'x'\n    return ''")

    with pytest.raises(RotaError, match="entry b="):
        load_tools({"a": f"{name}:thing", "b": f"{name}:other"})
    assert isinstance(load_tools({"a": f"{name}:thing"})["a"](None), BaseTool)
