"""Code that the operator registered. Rows name it, and never say where it is.

ROTA_TOOLS and ROTA_CALLABLES map names to `package.module:attribute`. All of it is imported when a
worker starts. So a mistake is reported then, and not when a schedule fires.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, get_origin, get_type_hints

from langchain_core.tools import BaseTool

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext, ToolFactory, ToolRegistry
from rota.domain.errors import InvalidInputError, RotaError, SetupRequiredError
from rota.domain.text.sentences import sentence

TOOLS: Final = "ROTA_TOOLS"
CALLABLES: Final = "ROTA_CALLABLES"

_CONTEXT_NAMES: Final = frozenset({"context", "_context"})


@dataclass(frozen=True, slots=True)
class AsyncFunction:
    """`async def name(context, prompt)`: called for each run."""

    name: str
    call: Callable[[Any, str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Graph:
    """A compiled LangGraph graph, or whatever has `ainvoke`: one for all runs."""

    name: str
    graph: Any


@dataclass(frozen=True, slots=True)
class GraphFactory:
    """`def name(context)` that makes a compiled graph: a new one for each run.

    It may be asynchronous, and may be an asynchronous context manager that yields the graph.
    """

    name: str
    build: Callable[[Any], Any]


RegisteredCallable = AsyncFunction | Graph | GraphFactory


@dataclass(frozen=True, slots=True)
class _Entry:
    variable: str
    name: str
    target: str
    called: str
    """The variable where it was set: `tools in /home/alice/rota.toml`, say."""

    @property
    def place(self) -> str:
        """Which variable and entry, as errors say it."""
        return f"{self.called}, entry {self.name}={self.target}"

    def wrong(self, cause: str) -> InvalidInputError:
        """Return an error that names variable, entry and cause."""
        return InvalidInputError(f"{self.place}: {cause}.", field=self.variable)


def tool_registry(mapping: Mapping[str, str], *, called: str = TOOLS) -> ToolRegistry:
    """Return the built-in tools and the operator's; raises as `load_tools`."""
    registry = builtin_tools()
    for name, factory in load_tools(mapping, called=called).items():
        registry.register(name, factory)
    return registry


def load_tools(mapping: Mapping[str, str], *, called: str = TOOLS) -> Mapping[str, ToolFactory]:
    """Import the tools of ROTA_TOOLS (name to `package.module:attribute`).

    An attribute is a LangChain tool, or a function that makes one: it takes one argument, which is
    annotated as `ToolContext` or named `context`. The tool bears the registered name, whatever
    name it gave itself. Raises SetupRequiredError for a module that cannot be imported, and
    InvalidInputError for anything else that is wrong; both name variable, entry and cause.
    """
    taken = builtin_tools().names()
    factories: dict[str, ToolFactory] = {}
    for name, target in mapping.items():
        entry = _Entry(TOOLS, name, target, called)
        if name in taken:
            raise entry.wrong("rota has a tool of this name; choose another")
        factories[name] = _tool_factory(entry, _import(entry))
    return factories


def load_callables(
    mapping: Mapping[str, str], *, called: str = CALLABLES
) -> Mapping[str, RegisteredCallable]:
    """Import what ROTA_CALLABLES names, and tell what it is; nothing is called.

    - What has `ainvoke` is a graph.
    - An asynchronous function (`async def`, or annotated as returning an Awaitable) of two
      arguments, context and prompt, answers.
    - Any function of one, the context, makes a graph.

    Raises as `load_tools`.
    """
    return {
        name: _callable(entry, _import(entry))
        for name, target in mapping.items()
        for entry in [_Entry(CALLABLES, name, target, called)]
    }


def _import(entry: _Entry) -> Any:
    module_name, _, path = entry.target.partition(":")
    try:
        found: Any = import_module(module_name)
    except (Exception, SystemExit) as error:  # a module of somebody's can raise anything at import
        hint = (
            " Install it where the worker runs, or name its folder in PYTHONPATH."
            if isinstance(error, ModuleNotFoundError) and _is_part_of(error.name, module_name)
            else ""
        )
        raise SetupRequiredError(
            sentence(
                f"{entry.place}: the module {module_name} cannot be imported: "
                f"{type(error).__name__}: {error}"
            )
            + hint,
            what=f"{entry.variable}:{entry.name}",
        ) from error
    seen = module_name
    for step in path.split("."):
        try:
            found = getattr(found, step)
        except AttributeError as error:
            raise entry.wrong(f"{seen} has no attribute {step!r}") from error
        seen = f"{seen}.{step}"
    return found


def _is_part_of(missing: str | None, module_name: str) -> bool:
    return missing is not None and f"{module_name}.".startswith(f"{missing}.")


def _tool_factory(entry: _Entry, found: Any) -> ToolFactory:
    if isinstance(found, BaseTool):
        tool = found.model_copy(update={"name": entry.name})
        return lambda _context: tool
    if not inspect.isroutine(found) or _is_async(found):
        raise entry.wrong(
            f"{_kind(found)} is neither a tool (decorate the function with @tool of "
            "langchain_core.tools) nor a function that makes one"
        )
    parameters = list(_signature(entry, found).parameters.values())
    annotation = _hint(found, parameters[0].name, parameters[0].annotation) if parameters else None
    is_for_context = bool(parameters) and (
        annotation is ToolContext
        or annotation == "ToolContext"
        or parameters[0].name in _CONTEXT_NAMES
    )
    if not is_for_context or not _takes(found, 1):
        raise entry.wrong(
            "the function does not take a ToolContext. Is it a tool? Then decorate it with @tool "
            "of langchain_core.tools. Does it make one? Then annotate its one argument as "
            "rota.ToolContext"
        )
    returned = _hint(found, "return", None)
    if isinstance(returned, type) and returned is not Any and not issubclass(returned, BaseTool):
        raise entry.wrong(f"the function returns {returned.__name__} by its annotation, not a tool")

    def build(context: ToolContext) -> BaseTool:
        try:
            made = found(context)
        except RotaError:
            raise
        except Exception as error:  # somebody's code can raise anything; the run says what
            raise SetupRequiredError(
                sentence(
                    f"{entry.place}: the tool could not be made: {type(error).__name__}: {error}"
                ),
                what=f"tool:{entry.name}",
            ) from error
        if not isinstance(made, BaseTool):
            raise entry.wrong(f"the function returned {_kind(made)}, not a tool")
        return made.model_copy(update={"name": entry.name})

    return build


def _callable(entry: _Entry, found: Any) -> RegisteredCallable:
    if isinstance(found, type):
        raise entry.wrong(f"{found.__name__} is a class; register a function or a graph")
    if isinstance(found, BaseTool):
        raise entry.wrong(f"it is a tool; register it in {TOOLS}")
    if callable(getattr(found, "ainvoke", None)):
        return Graph(entry.name, found)
    if callable(getattr(found, "compile", None)):
        raise entry.wrong("the graph is not compiled; register what its compile() returns")
    if not callable(found):
        raise entry.wrong(f"{_kind(found)} is neither a function nor a graph")
    return _function(entry, found)


def _function(entry: _Entry, found: Callable[..., Any]) -> AsyncFunction | GraphFactory:
    _signature(entry, found)
    if inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found):
        raise entry.wrong(
            "the function yields. It must return its answer; one that makes a graph and cleans up "
            "after it is decorated with @asynccontextmanager"
        )
    is_async = _is_async(found)
    if is_async and _takes(found, 2):
        return AsyncFunction(entry.name, found)
    if not _takes(found, 1):
        raise entry.wrong(_OTHER_ARGUMENTS[is_async])
    returned = _hint(found, "return", None)
    says_nothing = not isinstance(returned, type) or returned is object or returned is Any
    if not says_nothing and not hasattr(returned, "ainvoke") and not _wraps(returned):
        raise entry.wrong(
            f"the function returns {returned.__name__} by its annotation, not a graph. If it "
            "answers a prompt, make it `async def` with two arguments: context, prompt"
        )
    return GraphFactory(entry.name, found)


_OTHER_ARGUMENTS: Final = {
    True: "an asynchronous function takes two arguments, context and prompt, and answers; or one, "
    "the context, and makes a graph",
    False: "the function is not asynchronous, and so ought to take one argument, the context, "
    "and to return a graph. If it answers a prompt, make it `async def`",
}
"""What to say of a function that takes other arguments, by whether it is asynchronous."""


def _wraps(returned: type) -> bool:
    """Return whether an annotation is of what gives a graph later."""
    return issubclass(returned, Awaitable | AbstractAsyncContextManager)


def _is_async(found: Any) -> bool:
    call = found if inspect.isroutine(found) else getattr(found, "func", type(found).__call__)
    returned = _hint(call, "return", None)
    return inspect.iscoroutinefunction(call) or (
        isinstance(origin := get_origin(returned) or returned, type)
        and issubclass(origin, Awaitable)
    )


def _takes(found: Callable[..., Any], count: int) -> bool:
    """Return whether it can be called with so many arguments by position, and no others."""
    try:
        inspect.signature(found).bind(*range(count))
    except TypeError:
        return False
    return True


def _signature(entry: _Entry, found: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(found)
    except (TypeError, ValueError) as error:  # of some functions written in C
        raise entry.wrong(f"nobody can tell what {_kind(found)} takes") from error


def _hint(found: Any, name: str, default: Any) -> Any:
    """Return an annotation; as written where it cannot be resolved."""
    try:
        return get_type_hints(found).get(name, default)
    except (NameError, TypeError, AttributeError, SyntaxError):
        written = getattr(found, "__annotations__", {}).get(name, default)
        return written.rpartition(".")[2] if isinstance(written, str) else written


def _kind(found: Any) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__}"
    return f"an object of type {type(found).__name__}"
