"""What rota's own tools can do beside being called: fill in a call, and look an outcome up.

Both are for calls that people decide on. What is filled in is there before the call is judged, so
rules and people see it. An outcome is looked up where nobody knows whether a call took effect.
They are not part of the Python interface.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field, SkipValidation

FillIn: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Returns the arguments of a call with what was left open; raises ToolException for a call that
could not run. It has no effect, and returns the same whenever it is asked."""

LookUp: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[str | None]]
"""Returns the answer of a call that took effect, by its identity and arguments. None: nobody knows.
It is certain of what it returns: such a call is not made again."""


@dataclass(frozen=True, slots=True)
class CallHooks:
    """The hooks of a tool; None for one that it does not have."""

    fill_in: FillIn | None = None
    look_up: LookUp | None = None


class HookedTool(StructuredTool):
    """A tool with hooks."""

    hooks: SkipValidation[CallHooks] = Field(default_factory=CallHooks, exclude=True)


def hooks_of(tool: BaseTool) -> CallHooks:
    """Return the hooks of a tool; most have none."""
    return tool.hooks if isinstance(tool, HookedTool) else CallHooks()


CURRENT_CALL: ContextVar[str | None] = ContextVar("rota_current_call", default=None)
"""The identity of the call that a tool is making: the same in every attempt at this call."""

IS_FILLED_IN: ContextVar[bool] = ContextVar("rota_is_filled_in", default=False)
"""Set around a call with stored arguments: they are complete, and decided on."""


def call_identity() -> str:
    """Return the identity of the call that the caller, a tool, is making.

    A call without a place of its own in a run, or outside of the gate, has a new one each time.
    """
    return CURRENT_CALL.get() or str(uuid4())
