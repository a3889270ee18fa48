"""Turns values into JSON for output, with one name for each thing in all commands.

The name of an agent, a schedule or a tool is always under `agent`, `schedule` or `tool`, whatever
the dataclass calls that field. This holds in lists of agents, schedules and tools, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from typer.exceptions import TyperException

from rota.domain.errors import RotaError

_NAMES: Final = {"agent_name": "agent", "schedule_name": "schedule", "tool_name": "tool"}
_OWN_NAMES: Final = {"Schedule": "schedule", "DeclaredTool": "tool", "ToolDeclaration": "tool"}
"""What the field `name` of a class is called; by its name, so that nothing is imported for it."""

_LOGGING: Final = frozenset({"scheduler", "up", "worker"})
"""Commands whose standard error is a log."""

_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOLD: Final = frozenset(
    {
        *("field", "line", "kind", "reference", "status", "service", "permanent", "what"),
        *("run_id", "option_name"),
    }
)
"""Fields of errors that are told."""


def fields_of(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields, by their names in JSON; their values are as they were."""
    own = _OWN_NAMES.get(type(value).__name__, "name")
    names = {**_NAMES, "name": own}
    return {names.get(f.name, f.name): getattr(value, f.name) for f in fields(value)}


def jsonable(value: object) -> Any:
    """Return a value as JSON has it: times are ISO 8601 in UTC, durations seconds."""
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


def error_line(error: BaseException, message: str, code: int) -> str:
    """Return an error as one line of JSON: what kind of it, what to do, and what it knows else."""
    from rota.security.secrets.redaction import redact

    known = {n: v for n, v in vars(error).items() if n in _TOLD and v is not None}
    told = {"error": {"type": _type(error), "message": message, "exit_code": code, **known}}
    return json.dumps(redact(jsonable(told)))


def log_line(text: str, level: str) -> str:
    """Return a sentence for a person as a line of the log, with the fields that every line has."""
    from rota.security.secrets.redaction import redact_text

    said = redact_text(" ".join(text.removeprefix("Warning: ").split()))
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"event": said, "level": level, "timestamp": now})


def logs_json(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether all that this process writes to standard error is its log, as lines of JSON.

    It is asked before the settings are read, and where they cannot be.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = arguments[:end]
    is_json = environment.get("ROTA_LOG_FORMAT", "").strip().lower() == "json"
    return ("--json" in given or is_json) and not _LOGGING.isdisjoint(given)


def _type(error: BaseException) -> str:
    """Return what kind of error it is, in one or two words that stay the same."""
    if isinstance(error, RotaError):
        return _WORD.sub("_", type(error).__name__.removesuffix("Error")).lower()
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "usage" if isinstance(error, TyperException) else "unexpected"
