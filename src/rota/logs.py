"""Loggers for code that commands use, too: structlog is imported and set up at the first line.

Importing structlog takes half as long as psycopg, and a command that only reads hardly ever logs.
Code that only runs in the background uses structlog directly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

set_up: Callable[[], None] | None = None
"""What is called before the first line; `rota.cli.logs` sets it."""


def begin() -> None:
    """Set structlog up now, where that was put off: before what asks structlog itself."""
    global set_up
    put_off, set_up = set_up, None
    if put_off is not None:
        put_off()


class LazyLogger:
    """Logs as structlog's logger of that name does: `warning("event", field=value)`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, level: str) -> Any:
        begin()
        import structlog  # noqa: PLC0415  as said above

        return getattr(structlog.get_logger(self._name), level)
