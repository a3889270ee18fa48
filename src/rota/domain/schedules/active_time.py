"""When a schedule may be active: hours of the day and days of the week, on its zone's clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rota.domain.errors import InvalidInputError

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MIDNIGHT: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class ActiveTime:
    """Spans of minutes since midnight, end excluded, and weekdays (Monday is 0); empty: all."""

    hours: tuple[tuple[int, int], ...] = ()
    days: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, hours: str | None, days: str | None) -> ActiveTime:
        """Read "08:00-12:00, 13:00-18:00" and "mon-fri, sun"; either may be None.

        A span that ends before it starts runs over midnight. Raises InvalidInputError.
        """
        return cls(_parse_hours(hours) if hours else (), _parse_days(days) if days else frozenset())

    def objection(self, local: datetime) -> str | None:
        """Return why a local time is not active, or None if it is.

        After midnight in a span that began the evening before, the day is the day it began.
        """
        minute = local.hour * 60 + local.minute
        day = local.weekday()
        if not self.hours:
            return None if self._has_day(day) else f"{_DAYS[day].capitalize()} is not an active day"
        for start, end in self.hours:
            if start < end and start <= minute < end and self._has_day(day):
                return None
            if start >= end and minute >= start and self._has_day(day):
                return None
            if start >= end and minute < end and self._has_day((day - 1) % 7):
                return None
        if any(_covers(span, minute) for span in self.hours):
            return f"{_DAYS[day].capitalize()} is not an active day"
        return f"{local:%H:%M} is outside the active hours"

    def _has_day(self, day: int) -> bool:
        return not self.days or day in self.days


def _covers(span: tuple[int, int], minute: int) -> bool:
    start, end = span
    return start <= minute < end if start < end else minute >= start or minute < end


def _parse_hours(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(_parse_span(text, part.strip()) for part in text.split(","))


def _parse_span(text: str, part: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2})(?::(\d{2}))?\s*-\s*(\d{1,2})(?::(\d{2}))?", part, re.ASCII)
    if found is not None:
        start_hour, start_minute, end_hour, end_minute = (int(g or 0) for g in found.groups())
        start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
        minutes_fit = start_minute < 60 and end_minute < 60
        if minutes_fit and start < _MIDNIGHT and end <= _MIDNIGHT and start != end:
            return start, end
    raise InvalidInputError(
        f"The active hours {text[:60]!r} are not understood; write for example 08:00-18:00.",
        field="active_hours",
    )


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        start = _day(text, first)
        end = _day(text, last) if dash else start
        days.update((start + i) % 7 for i in range((end - start) % 7 + 1))
    return frozenset(days)


def _day(text: str, word: str) -> int:
    if len(word) >= 3:
        for number, name in enumerate(_DAYS):
            if name.startswith(word.lower()):
                return number
    raise InvalidInputError(
        f"The active days {text[:60]!r} are not understood; write for example mon-fri or sat,sun.",
        field="active_days",
    )
