"""Finds tools with an argument whose name LangChain reserves for itself.

A model's value for such an argument does not reach the tool. LangChain leaves some of these names
out of the schema that it makes of a function, and fills in others itself. The tool would then be
called with other arguments than the person saw, or fail.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, get_args, get_type_hints

from langchain_core.tools import BaseTool, StructuredTool

_FILLED_IN: Final = frozenset({"config", "run_manager", "self"})
"""Passed to every tool by whoever calls it."""

_FOR_CALLBACKS: Final = ("callbacks", "run_manager")
"""Left out of the schema of a function, and filled in where the function has them."""

_ITS_PACKAGES: Final = ("langchain", "langgraph")
_OF_A_FUNCTION: Final = ("args", "kwargs")
"""With `v__` before them in the schema that is made of a function, which is called by that name."""


def argument_problem(tool: BaseTool, schema: Any, given: Collection[str]) -> str | None:
    """Return why an argument of a tool cannot reach it, None where all do.

    `given` are the names that a model is shown, `schema` is the tool's own.
    """
    parameters = dict(_parameters(tool))
    injected = frozenset(getattr(tool, "_injected_args_keys", ()))
    taken: set[str] = {
        name for name in _OF_A_FUNCTION if name in parameters and f"v__{name}" in given
    }
    taken |= _FILLED_IN & {*given}
    if isinstance(schema, dict):  # its function fills in what it has itself
        taken |= injected & {*given}
    if "runtime" in given and ("runtime" in parameters or not isinstance(schema, dict)):
        taken.add("runtime")
    taken |= {n for n in _FOR_CALLBACKS if n in parameters and _is_anothers(parameters[n])}
    if taken:
        return (
            f"{tool.name} has an argument {min(taken)!r}, a name that LangChain keeps for itself: "
            "what a model says by it does not reach the tool. Call it otherwise"
        )
    known = {*given, *injected, *_FOR_CALLBACKS, "runtime"}
    for name, parameter in parameters.items() if isinstance(tool, StructuredTool) else ():
        is_left = parameter.default is parameter.empty and not _is_its_own(parameter.annotation)
        if is_left and name not in known:
            return (
                f"{tool.name} takes an argument {name!r} that its schema does not have, so no "
                "model can give it"
            )
    return None


def _parameters(tool: BaseTool) -> Iterator[tuple[str, inspect.Parameter]]:
    """Return the parameters of a tool's function, with their annotations resolved."""
    function: Callable[..., Any] | None
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None)
    if function is None:
        return
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of some functions written in C
        return
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001  whatever a foreign annotation raises
        hints = {}
    for name, parameter in found.items():
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            yield name, parameter.replace(annotation=hints.get(name, parameter.annotation))


def _is_anothers(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter is plainly not for what LangChain fills in."""
    annotation = parameter.annotation
    is_unsaid = annotation in {parameter.empty, Any, object} or isinstance(annotation, str)
    return not is_unsaid and not _is_its_own(annotation)


def _is_its_own(annotation: Any) -> bool:
    """Return whether an annotation, or a part of it, is of LangChain."""
    if any(_is_its_own(part) for part in get_args(annotation)):
        return True
    module = getattr(annotation, "__module__", None) or type(annotation).__module__
    return isinstance(annotation, str) or str(module).startswith(_ITS_PACKAGES)
