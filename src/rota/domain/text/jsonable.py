"""Turns values into JSON, with one name for each thing in all commands and on the HTTP API.

The name of an agent, a schedule or a tool is always under `agent`, `schedule` or `tool`, whatever
the dataclass calls that field. This holds in lists of agents, schedules and tools, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    kind = type(value)
    return value if kind in _AS_THEY_ARE else _writer_of(kind)(value)


def _find_writer(kind: type) -> Callable[[Any], Any]:
    """Return what writes values of a class, chosen once: a page has a thousand values."""
    if issubclass(kind, Mapping):
        return lambda value: {str(key): jsonable(item) for key, item in value.items()}
    if issubclass(kind, list | tuple):
        return lambda value: [jsonable(item) for item in value]
    if is_dataclass(kind):
        names = tuple(json_names(kind).items())
        return lambda value: {shown: jsonable(getattr(value, name)) for name, shown in names}
    return next((write for base, write in _SCALARS if issubclass(kind, base)), str)


_writer_of: Callable[[type], Callable[[Any], Any]] = cache(_find_writer)


def _moment(value: datetime) -> str:
    in_utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return in_utc.isoformat().replace("+00:00", "Z")


_SCALARS: Final[Sequence[tuple[type, Callable[[Any], Any]]]] = (
    (Enum, lambda value: str(value.value)),
    (str, lambda value: value),
    (int, lambda value: value),
    (float, lambda value: value),
    (datetime, _moment),
    (timedelta, timedelta.total_seconds),
)
"""What writes a value that is no collection, by its class; the first that fits counts."""
