"""Sets up logging to standard error: one line for each event, with secrets removed.

The format is text (sentences) or JSON (the event's name with its fields). A warning is about an
agent, a tool or the database; its traceback is logged with level debug. An error with a traceback
is a fault of rota itself.

Scheduler, worker and `rota up` log when a run is due, starts and ends. Other commands log only
failures.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from contextlib import suppress
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import rota.logs
from rota.cli.log_sentences import in_words
from rota.domain.errors import UnavailableError
from rota.security.secrets.redaction import redact, redact_error
from rota.settings import LogLevel, Settings

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_UNCAUGHT: Final = "rota.uncaught"
_LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical"})
_OUTAGES: Final = frozenset({"OperationalError", "InterfaceError"})
_OF_TASKS: Final = ("Unhandled exception in task", "Exception while processing")
_COLUMNS: Final = ("exception", "stack", "timestamp", "level")
_LONGEST_ERROR: Final = 500
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)[+-]\d{4}(?= )")
_LONG_ID: Final = re.compile(r"(\b\w+_id=[0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def configure_logs(settings: Settings, *, level: LogLevel = "warning") -> None:
    """Set up the standard library's logging now, and structlog before its first line.

    `level` is what is logged unless the settings say otherwise.
    """
    least = logging.getLevelNamesMapping()[(settings.log_level or level).upper()]
    handler = _LibraryHandler(shows_traces=least <= logging.DEBUG)
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)
    logging.raiseExceptions = False  # a line that cannot be written is lost
    if settings.log_format == "json" and level == "info":  # a process: its output is its log
        logging.captureWarnings(True)
        _log_what_nobody_catches()
    # httpx logs each request's URL; psycopg's pool each lost connection, which rota logs itself.
    logging.getLogger("httpx").setLevel(max(least, logging.WARNING))
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    if least > logging.DEBUG:
        logging.getLogger("pgqueuer").addFilter(_is_news)
    rota.logs.set_up = partial(_configure_structlog, settings, least)
    if "structlog" in sys.modules:
        rota.logs.begin()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of PgQueuer's says more than rota's own that the database is away.

    Ten times a second it would say, with a trace, that it could not write what it will write later.
    """
    error = record.exc_info[1] if record.exc_info else None
    is_of_task = str(record.msg).startswith(_OF_TASKS)
    # Of the connection that it listens on: by its class's name, as psycopg is not imported for it.
    names = {kind.__name__ for kind in type(error).__mro__}
    is_outage = not _OUTAGES.isdisjoint(names) or (
        isinstance(error, UnavailableError) and error.service == "database"
    )
    return "lush failed" not in str(record.msg) and not (is_of_task and is_outage)


class _LibraryHandler(logging.Handler):
    """Passes what libraries log to structlog: as lines of the same form, with secrets removed.

    Their tracebacks are shown with level debug only.
    """

    def __init__(self, *, shows_traces: bool) -> None:
        super().__init__()
        self._shows_traces = shows_traces

    def emit(self, record: logging.LogRecord) -> None:
        rota.logs.begin()
        import structlog

        error = record.exc_info[1] if record.exc_info else None
        fields: dict[str, Any] = {"logger": record.name}
        if isinstance(error, BaseException):
            if self._shows_traces or record.name == _UNCAUGHT:
                fields["exc_info"] = error
            else:
                fields["error"] = redact_error(error, _LONGEST_ERROR)
        said = " ".join(record.getMessage().split())
        level = record.levelname.lower()
        log = structlog.get_logger(record.name)
        getattr(log, level if level in _LEVELS else "error")(said, **fields)


def _log_what_nobody_catches() -> None:
    """Have exceptions that end a thread or the process logged, in place of Python's own text."""
    uncaught = logging.getLogger(_UNCAUGHT)

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, SystemExit):
            thread = args.thread.name if args.thread is not None else "?"
            uncaught.error("A thread ended by an exception: %s", thread, exc_info=args.exc_value)

    def of_process(_: type[BaseException], error: BaseException, __: object) -> None:
        uncaught.error("The process ends by an exception", exc_info=error)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        said = args.err_msg or "An exception was ignored"
        uncaught.warning("%s: %r", said, args.object, exc_info=args.exc_value)

    threading.excepthook = of_thread
    sys.excepthook = of_process
    sys.unraisablehook = unraisable


def _configure_structlog(settings: Settings, least: int) -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            partial(_named, least > logging.DEBUG),
            structlog.processors.format_exc_info,
            _redacted,
            *_rendered(settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Writes log lines to standard error. If that is full or closed, the line is lost."""

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


def _named(hides_traces: bool, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the exception of a line; a warning's traceback gives way to the line it came from."""
    error = event.get("exc_info")
    if not isinstance(error, BaseException):
        return event
    event.setdefault("error", redact_error(error, _LONGEST_ERROR))
    if hides_traces and event.get("level") == "warning":
        del event["exc_info"]
        if (place := _place(error)) is not None:
            event["at"] = place
        event.setdefault("hint", "ROTA_LOG_LEVEL=debug shows the traceback")
    return event


def _place(error: BaseException) -> str | None:
    """Return file and line that an exception came from."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    cleaned: EventDict = redact(dict(event))
    return cleaned


def _in_words(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return in_words(dict(event))


def _shortened(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Shorten ids, as lists do on a terminal: commands take the beginning of one."""
    for name, value in event.items():
        if name.endswith("_id") and isinstance(value, str):
            event[name] = value[:8]
    return event


def shorten_line(line: str, today: date) -> str:
    """Return a line of a log file as a terminal shows it: short ids, and no date of today."""
    if (stamped := _STAMP.match(line)) is not None:
        day, time = stamped.groups()
        line = f"{time if day == str(today) else f'{day} {time}'}{line[stamped.end() :]}"
    return _LONG_ID.sub(r"\1", line)


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
