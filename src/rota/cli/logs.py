"""Logs: to standard error, secrets taken out."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import TYPE_CHECKING

import rota.logs
from rota.security.secrets.redaction import redact
from rota.settings import Settings

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger


def configure_logs(settings: Settings) -> None:
    """Set up the standard library's logging now, and structlog before its first line."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr, force=True)
    # httpx logs each request's URL; psycopg's pool each lost connection, which rota logs itself.
    logging.getLogger("httpx").setLevel(max(level, logging.WARNING))
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    logging.getLogger("pgqueuer").addFilter(_is_news)
    rota.logs.set_up = partial(_configure_structlog, settings)
    if "structlog" in sys.modules:
        rota.logs.begin()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of PgQueuer's says more than rota's own that the database is away.

    Ten times a second it would say, with a trace, that it could not write what it will write later.
    """
    return "lush failed" not in str(record.msg)


def _configure_structlog(settings: Settings) -> None:
    import structlog

    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacted,
            structlog.dev.ConsoleRenderer(colors=terminal)
            if terminal
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    cleaned: EventDict = redact(dict(event))
    return cleaned
