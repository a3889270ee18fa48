"""Reads the days off from an iCalendar file."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Any, Final

from rota.agents.tools.calendar.icalendar_text import decode
from rota.domain.errors import InvalidInputError
from rota.domain.schedules.calendars import CalendarDay
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import storable_text

LARGEST_FILE: Final = 5 * 1024 * 1024
MOST_DAYS: Final = 5_000
"""Entries that one file may come to, events that recur expanded."""

LONGEST_READING: Final = 10.0
"""Seconds after which no further event is expanded; one alone takes a few at worst."""

SUMMARY_LIMIT: Final = 200
"""Characters of what a day off is called."""

_MIDNIGHT: Final = clock_time(0)
_DAY: Final = timedelta(days=1)
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_UNREADABLE: Final = (ValueError, TypeError, OverflowError, AttributeError, LookupError)
"""What the two libraries raise on a property that they do not expect."""


@dataclass(frozen=True, slots=True)
class CalendarFile:
    """The days off of a file.

    `skipped` counts events that are not whole days. `recurs`: the file has a recurring event.
    """

    days: tuple[CalendarDay, ...]
    skipped: int
    recurs: bool


def read_icalendar(data: bytes, *, first: date, last: date) -> CalendarFile:
    """Return the all-day events of a file between two dates; raises InvalidInputError.

    Events that recur are expanded, with their exceptions. What is not of whole days is no day off,
    and cancelled events are none. An event from one midnight to another is of whole days, unless it
    recurs.
    """
    # 150 ms that only an import pays.
    import icalendar  # noqa: PLC0415  see above

    if len(data) > LARGEST_FILE:
        raise InvalidInputError(f"The file is larger than {LARGEST_FILE // 1024**2} MiB.")
    try:
        calendars = icalendar.Calendar.from_ical(decode(data), multiple=True)
        if any(calendar.name != "VCALENDAR" for calendar in calendars):
            raise _not_icalendar()
        groups = [group for calendar in calendars for group in _series(calendar.walk("VEVENT"))]
    except (*_UNREADABLE, RecursionError) as error:
        raise _not_icalendar() from error
    deadline = time.monotonic() + LONGEST_READING
    days: list[CalendarDay] = []
    skipped, recurs = 0, False
    for events in groups:
        if time.monotonic() > deadline:
            raise InvalidInputError("The file has too many events, or rules that never come true.")
        kept = _whole_day_events(events)
        skipped += sum(not _is_cancelled(e) and not _is_whole_days(e) for e in events)
        if not kept:
            continue
        recurs = recurs or any("RRULE" in event for event in kept)
        try:
            days += _expand(kept, first, last)
        except _UNREADABLE as error:
            raise InvalidInputError(
                f"The event {_summary(kept[0])!r} of the file cannot be read."
            ) from error
        if len(days) > MOST_DAYS:
            raise InvalidInputError(f"The file comes to more than {MOST_DAYS} days off.")
    if not days:
        raise InvalidInputError(
            f"The file has no all-day event between {first} and {last}"
            + (f" ({skipped} shorter ones)." if skipped else ".")
        )
    return CalendarFile(tuple(days), skipped, recurs)


def _series(events: Iterable[Any]) -> list[list[Any]]:
    """Return events with what changes or cancels their recurrences (same UID, RFC 5545 3.8.4.4)."""
    groups: dict[object, list[Any]] = {}
    for event in events:
        groups.setdefault(str(event["UID"]) if "UID" in event else id(event), []).append(event)
    return list(groups.values())


def _whole_day_events(events: Sequence[Any]) -> list[Any]:
    """Return what of a series is to be expanded: all of it, or the changes that are whole days."""
    for event in events:
        _midnights_as_dates(event)
    if any("RECURRENCE-ID" not in event and _is_whole_days(event) for event in events):
        # A recurrence that was cancelled, or became a meeting, has to replace the day it was.
        return [event for event in events if "RECURRENCE-ID" in event or _is_whole_days(event)]
    return [event for event in events if _is_whole_days(event) and not _is_cancelled(event)]


def _expand(events: Sequence[Any], first: date, last: date) -> Iterator[CalendarDay]:
    import icalendar  # noqa: PLC0415  see above
    import recurring_ical_events  # type: ignore[import-untyped]  # noqa: PLC0415  see above; untyped

    calendar = icalendar.Calendar()
    for event in events:
        _bound_rule(event)
        calendar.add_component(event)
    # One rule comes once a day at most, so this ends.
    for event in recurring_ical_events.of(calendar).between(first, last + _DAY):
        if _is_cancelled(event) or not _is_whole_days(event):
            continue
        start = event["DTSTART"].dt
        end = event["DTEND"].dt if "DTEND" in event else start + _DAY
        # The end of an all-day event is the day after it (RFC 5545, 3.6.1).
        yield CalendarDay(start, max(start, end - _DAY), _summary(event))


def _bound_rule(event: Any) -> None:
    """Take away what a rule for days must ignore; raises ValueError for one that has no end."""
    if "RRULE" not in event:
        return
    rule = event["RRULE"]
    if isinstance(rule, list):
        raise ValueError("more than one rule")  # noqa: TRY004  the file is wrong, not the caller
    if any(interval < 1 for interval in rule.get("INTERVAL", ())):
        raise ValueError("an interval of nothing")
    for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):  # RFC 5545, 3.3.10: ignored for dates
        rule.pop(part, None)


def _midnights_as_dates(event: Any) -> None:
    """Make an event from one midnight to another, as Exchange writes it, one of dates."""
    if any(key in event for key in ("RRULE", "RDATE", "RECURRENCE-ID")):
        return
    try:
        start, end = event["DTSTART"].dt, event["DTEND"].dt
        is_whole = start.time() == end.time() == _MIDNIGHT and start.date() < end.date()
    except _UNREADABLE:  # or of dates already, which have no time
        return
    if is_whole:
        for key, day in (("DTSTART", start.date()), ("DTEND", end.date())):
            del event[key]
            event.add(key, day)


def _is_cancelled(event: Any) -> bool:
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


def _is_whole_days(event: Any) -> bool:
    try:
        start = event["DTSTART"].dt
        rules = event.get("RRULE", {})
        frequencies = {
            str(frequency).upper()
            for rule in (rules if isinstance(rules, list) else [rules])
            for frequency in rule.get("FREQ", ())
        }
    except _UNREADABLE:  # a broken property is a ValueError
        return False
    return (
        isinstance(start, date) and not isinstance(start, datetime) and frequencies <= _FREQUENCIES
    )


def _summary(event: Any) -> str:
    found = event.get("SUMMARY", "")
    return day_summary(str(found[0] if isinstance(found, list) else found))


def day_summary(text: str) -> str:
    """Return text as one line that a calendar's day can be called."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", storable_text(text))
    return shorten(" ".join(text.split()), SUMMARY_LIMIT)


def _not_icalendar() -> InvalidInputError:
    return InvalidInputError("This is not an iCalendar file (.ics).")
