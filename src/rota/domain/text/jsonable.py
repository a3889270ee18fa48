"""Turns values into JSON, with one name for each thing in all commands and on the HTTP API.

The name of an agent, a schedule or a tool is always under `agent`, `schedule` or `tool`, whatever
the dataclass calls that field. This holds in lists of agents, schedules and tools, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, Final

_NAMES: Final = {"agent_name": "agent", "schedule_name": "schedule", "tool_name": "tool"}
_OWN_NAMES: Final = {"Schedule": "schedule", "DeclaredTool": "tool", "ToolDeclaration": "tool"}
"""What the field `name` of a class is called; by its name, so that nothing is imported for it."""

_AS_THEY_ARE: Final = frozenset({str, int, float, bool, NoneType})
"""What JSON has itself. Values of classes derived from them may be enumerations."""


def _names_in_json(kind: type) -> dict[str, str]:
    own = _OWN_NAMES.get(kind.__name__, "name")
    names = {**_NAMES, "name": own}
    return {f.name: names.get(f.name, f.name) for f in fields(kind)}


json_names: Callable[[type], Mapping[str, str]] = cache(_names_in_json)
"""Returns what the fields of a dataclass are called in JSON, by what they are called in it."""


def fields_of(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields, by their names in JSON; their values are as they were."""
    return {shown: getattr(value, name) for name, shown in json_names(type(value)).items()}


def jsonable(value: object) -> Any:
    """Return a value as JSON has it: times are ISO 8601 in UTC, durations seconds."""
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(fields_of(value))
    return _scalar(value)


def _scalar(value: object) -> str | int | float | None:
    match value:
        case Enum():
            return str(value.value)
        case None | str() | int() | float():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case _:
            return str(value)
