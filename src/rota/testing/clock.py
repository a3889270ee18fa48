"""A clock that stands still until a test sets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rota.domain.errors import InvalidInputError


class Clock:
    """The clock of an app in a test. Its time is aware, in UTC."""

    def __init__(self, now: datetime) -> None:
        self._now = _checked(now)

    def __call__(self) -> datetime:
        """Return what time it is."""
        return self._now

    def set(self, now: datetime) -> None:
        """Set it to an aware time, earlier or later."""
        self._now = _checked(now)

    def advance(self, length: timedelta) -> None:
        """Set it so much later."""
        self._now += length


def _checked(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise InvalidInputError("A clock is set to a time with a time zone.", field="now")
    return now.astimezone(UTC)
