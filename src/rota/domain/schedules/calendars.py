"""Days off, as people type them and as a calendar holds them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from rota.domain.errors import InvalidInputError
from rota.domain.ids import CalendarId
from rota.domain.text.shortening import quoted

MOST_DAYS: Final = 10_000
"""Days that one entry may span."""

_LONGEST_TEXT: Final = 2_000


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """One or more days off in a row, from `first` to `last`, both included."""

    first: date
    last: date
    summary: str = ""


def parse_days(text: str) -> tuple[CalendarDay, ...]:
    """Read "2026-12-24..2027-01-01, 2027-05-01"; raises InvalidInputError."""
    if len(text) > _LONGEST_TEXT:
        raise InvalidInputError(
            f"The days off are longer than {_LONGEST_TEXT} characters; import a calendar instead "
            "(`rota calendars`).",
            field="excluded_days",
        )
    days: list[CalendarDay] = []
    for part in text.split(","):
        entry = part.strip()
        if not entry:
            continue
        first, dots, last = (word.strip() for word in entry.partition(".."))
        start = _date(entry, first)
        end = _date(entry, last) if dots else start
        if end < start or (end - start).days >= MOST_DAYS:
            raise InvalidInputError(
                f"The days off {entry!r} must end on the first day or later, and span at "
                f"most {MOST_DAYS} days.",
                field="excluded_days",
            )
        days.append(CalendarDay(start, end))
    return tuple(days)


def _date(entry: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  a day has no zone
    except ValueError as error:
        raise InvalidInputError(
            f"The days off {quoted(entry)} are not understood; write for example 2026-12-24 or "
            "2026-12-24..2027-01-01.",
            field="excluded_days",
        ) from error


@dataclass(frozen=True, slots=True)
class Calendar:
    """A calendar; `days` counts its entries, `next_day` is the next day off from today on."""

    id: CalendarId
    name: str
    source: str
    covers_until: date | None
    days: int
    next_day: date | None
