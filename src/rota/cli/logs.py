"""Logs: to standard error, a line for each event, secrets taken out.

Scheduler, worker and `rota up` say when a run is due, starts and ends; other commands only what
went wrong.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import rota.logs
from rota.security.secrets.redaction import redact
from rota.settings import LogLevel, Settings

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_COLUMNS: Final = ("exception", "stack", "timestamp", "level")


def configure_logs(settings: Settings, *, level: LogLevel = "warning") -> None:
    """Set up the standard library's logging now, and structlog before its first line.

    `level` is what is logged unless the settings say otherwise.
    """
    least = logging.getLevelNamesMapping()[(settings.log_level or level).upper()]
    logging.basicConfig(level=max(least, logging.WARNING), stream=sys.stderr, force=True)
    # httpx logs each request's URL; psycopg's pool each lost connection, which rota logs itself.
    logging.getLogger("httpx").setLevel(max(least, logging.WARNING))
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    logging.getLogger("pgqueuer").addFilter(_is_news)
    rota.logs.set_up = partial(_configure_structlog, settings, least)
    if "structlog" in sys.modules:
        rota.logs.begin()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of PgQueuer's says more than rota's own that the database is away.

    Ten times a second it would say, with a trace, that it could not write what it will write later.
    """
    return "lush failed" not in str(record.msg)


def _configure_structlog(settings: Settings, least: int) -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _redacted,
            *_rendered(settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Writes lines to standard error. Where that is full or closed the lines are lost, not runs."""

    def msg(self, line: str) -> None:
        if sys.stderr is not None:  # it is None where it was closed before rota began
            with suppress(OSError, ValueError):
                print(line, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = msg


def _rendered(settings: Settings) -> tuple[Any, ...]:
    """Return the processors that make a line: of JSON, or one that a person reads."""
    import structlog

    if settings.log_format == "json":
        return (
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        )
    is_terminal = _is_terminal()
    return (
        # The time of this machine, as in its other logs, and how far that is from UTC.
        structlog.processors.TimeStamper(
            fmt="%H:%M:%S" if is_terminal else "%Y-%m-%d %H:%M:%S%z", utc=False
        ),
        _in_words,
        *([_shortened] if is_terminal else []),
        _on_one_line,
        structlog.dev.ConsoleRenderer(
            colors=is_terminal, pad_event_to=0, sort_keys=False, pad_level=False
        ),
    )


def _is_terminal() -> bool:
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    cleaned: EventDict = redact(dict(event))
    return cleaned


def _in_words(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say of a run what becomes of it, with the name of its schedule first."""
    name = event.get("schedule") or event.get("agent")
    match event["event"]:
        case "run_due":
            said = f"{name}: due, a run is made"
            if event.pop("late", False):
                said = f"{name}: missed, and made up for by a run"
        case "run_started":
            said = f"{name}: started"
        case "run_ended":
            seconds = event.pop("duration_ms", 0) / 1000
            said = f"{name}: {event.pop('status', '')} after {seconds:.1f} s"
            if requests := event.pop("requests", 0):
                said += f", {requests} waiting for a decision"
        case "run_suspended":
            said = f"{name}: waits for a decision"
        case _:
            return event
    event["event"] = said
    event.pop("schedule", None)
    if event.get("agent") == name:
        del event["agent"]
    if event.get("attempt") == 1:
        del event["attempt"]
    return event


def _shortened(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Shorten ids, as lists do on a terminal: commands take the beginning of one."""
    for name, value in event.items():
        if name.endswith("_id") and isinstance(value, str):
            event[name] = value[:8]
    return event


def _on_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write out what would begin a line of its own or play with a terminal."""
    from rota.domain.text.unseen import spell_out

    for name, value in event.items():
        is_plain = not isinstance(value, str) or (value.isascii() and value.isprintable())
        if not is_plain and name not in _COLUMNS:
            event[name] = " ".join(spell_out(value).split())
    if isinstance(trace := event.get("exception"), str):
        event["exception"] = spell_out(trace)
    return event
