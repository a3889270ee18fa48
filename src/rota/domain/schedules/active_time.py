"""Active hours and active days of a schedule, on the clock of its zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.names import WEEKDAYS, number_of
from rota.domain.text.shortening import quoted

_MIDNIGHT: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class ActiveTime:
    """Spans in minutes since midnight, end excluded, and weekdays (Monday is 0). Empty: all."""

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
        days_begun = {
            (local.weekday() - (end <= start and minute < end)) % 7
            for start, end in self.hours or ((0, _MIDNIGHT),)
            if (start <= minute < end if start < end else minute >= start or minute < end)
        }
        if not days_begun:
            return f"{local:%H:%M} is outside the active hours"
        if self.days and not self.days & days_begun:
            return f"{local:%A} is not an active day"
        return None

    def may_begin(self, local: datetime) -> datetime:
        """Return the next local time (naive) at which a span or a day begins."""
        today = datetime.combine(local.date(), time())
        begins = [today + timedelta(minutes=start) for start, _ in self.hours]
        return min([b for b in begins if b > local], default=today + timedelta(days=1))


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
        f"The active hours {quoted(text)} are not understood; write for example 08:00-18:00.",
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
    number = number_of(word, WEEKDAYS)
    if number is not None:
        return (number - 1) % 7
    raise InvalidInputError(
        f"The active days {quoted(text)} are not understood; write for example mon-fri or sat,sun.",
        field="active_days",
    )
