"""Events of calendars as tools see them, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Protocol

from rota.domain.text.cleaning import clean_line, clean_text
from rota.domain.text.shortening import shorten

MOST_EVENTS: Final = 1_000
"""Events that one calendar is read for at most."""

MOST_NOTES: Final = 5
"""Faults of one calendar that are told one by one."""

TITLE_LIMIT: Final = 200
PLACE_LIMIT: Final = 200
DESCRIPTION_LIMIT: Final = 500
"""Characters of what others wrote into an event."""

NO_TITLE: Final = "(no title)"


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """One event, or one recurrence of one.

    `start` and `end` are aware, in the reader's zone; both are dates if the event is of whole
    days, and `end` is then the day after the last. `response` is what the calendar's owner
    answered to the invitation: "" where they were not asked. `notes` say what is odd about it.
    """

    uid: str
    title: str
    start: date
    end: date
    calendar: str = ""
    location: str = ""
    description: str = ""
    organizer: str = ""
    is_busy: bool = True
    is_tentative: bool = False
    response: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_all_day(self) -> bool:
        """Whether it is of whole days, which are the same in every zone."""
        return not isinstance(self.start, datetime)


@dataclass(frozen=True, slots=True)
class Reading:
    """The events of one calendar, and a sentence for each that could not be read."""

    events: tuple[CalendarEvent, ...] = ()
    unread: tuple[str, ...] = ()


class CalendarSource(Protocol):
    """A calendar, or all calendars of one account.

    Methods raise SetupRequiredError for what its owner has to mend, UnavailableError for what may
    pass.
    """

    async def events(self, start: datetime, end: datetime) -> Reading:
        """Return what takes place between two instants, recurrences expanded, in no order.

        Both are aware and in the reader's zone, which floating times are of.
        """

    async def count(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return how many calendars there are, and how many events between two instants."""


def instant(moment: date, zone_of: datetime) -> datetime:
    """Return when a date begins in the zone of another time; a time as it is."""
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time(), tzinfo=zone_of.tzinfo)


def is_between(event: CalendarEvent, start: datetime, end: datetime) -> bool:
    """Return whether an event takes place, in part at least, from `start` until before `end`."""
    begins, ends = instant(event.start, start), instant(event.end, start)
    return begins < end and (ends > start or begins == ends == start)


def days_after(moment: datetime, lasts: timedelta) -> datetime:
    """Add a duration: its days by the calendar, the rest by the clock (RFC 5545, 3.3.6)."""
    day = moment + timedelta(days=lasts.days)
    rest = lasts - timedelta(days=lasts.days)
    if not rest or day.tzinfo is None:
        return day + rest
    # The difference of two times of one zone is that of their clocks, so it is added to the stamp.
    return datetime.fromtimestamp(day.timestamp() + rest.total_seconds(), tz=day.tzinfo)


def title(text: str) -> str:
    """Return a title as it is shown."""
    return shorten(clean_line(text), TITLE_LIMIT) or NO_TITLE


def place(text: str) -> str:
    """Return a place, or a name, as it is shown."""
    return shorten(clean_line(text), PLACE_LIMIT)


def description(text: str) -> str:
    """Return a description as it is shown."""
    return shorten(clean_text(text[: DESCRIPTION_LIMIT * 4]).strip(), DESCRIPTION_LIMIT)


def noted(faults: list[str]) -> tuple[str, ...]:
    """Return the first faults, and how many more there are."""
    if len(faults) <= MOST_NOTES:
        return tuple(faults)
    return (*faults[:MOST_NOTES], f"{len(faults) - MOST_NOTES} more events could not be read.")
