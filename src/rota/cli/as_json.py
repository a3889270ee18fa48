"""What commands write as JSON beside their values: errors, and lines of the log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from typer.exceptions import TyperException

from rota.domain.errors import RotaError
from rota.domain.text.jsonable import jsonable

_LOGGING: Final = frozenset({"scheduler", "serve", "up", "worker"})
"""Commands whose standard error is a log."""

_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOLD: Final = frozenset(
    {
        *("field", "line", "kind", "reference", "status", "service", "permanent", "what"),
        *("run_id", "option_name"),
    }
)
"""Fields of errors that are told."""


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
