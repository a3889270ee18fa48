"""iCalendar files: which days they make days off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from rota.domain.calendars import CalendarDay
from rota.domain.content import storable_text
from rota.domain.errors import InvalidInputError

LARGEST_FILE: Final = 5 * 1024 * 1024
MOST_DAYS: Final = 5_000
"""Entries that one file may come to, events that recur expanded."""

_SUMMARY: Final = 200
_SUB_DAILY: Final = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
_DAY: Final = timedelta(days=1)
_YEAR: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class CalendarFile:
    """The days of a file.

    `skipped` counts events that are shorter than a day; `recurs`: some event comes again.
    """

    days: tuple[CalendarDay, ...]
    skipped: int
    recurs: bool


def read_icalendar(data: bytes, *, first: date, last: date) -> CalendarFile:
    """Return the all-day events of a file between two dates; raises InvalidInputError.

    Events that recur are expanded, with their exceptions. What is shorter than a day is no day
    off, and cancelled events are none.
    """
    # 150 ms that only an import pays.
    import icalendar  # noqa: PLC0415  see above
    import recurring_ical_events  # type: ignore[import-untyped]  # noqa: PLC0415  see above; untyped

    if len(data) > LARGEST_FILE:
        raise InvalidInputError(f"The file is larger than {LARGEST_FILE // 1024**2} MiB.")
    try:
        calendars = icalendar.Calendar.from_ical(_decoded(data), multiple=True)
    except (ValueError, IndexError, KeyError, RecursionError) as error:
        raise _not_icalendar() from error
    days: list[CalendarDay] = []
    skipped, recurs = 0, False
    for calendar in calendars:
        if calendar.name != "VCALENDAR":
            raise _not_icalendar()
        events = [event for event in calendar.walk("VEVENT") if not _is_cancelled(event)]
        whole = [event for event in events if _is_whole_days(event)]
        skipped += len(events) - len(whole)
        recurs = recurs or any("RRULE" in event for event in whole)
        calendar.subcomponents = whole
        try:
            days += _expanded(recurring_ical_events.of(calendar), first, last, len(days))
        except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
            raise InvalidInputError(f"An event of the file cannot be read: {error}.") from error
    if not days:
        raise InvalidInputError(
            f"The file has no all-day event between {first} and {last}"
            + (f" ({skipped} shorter ones)." if skipped else ".")
        )
    return CalendarFile(tuple(days), skipped, recurs)


def _expanded(query: Any, first: date, last: date, before: int) -> Iterator[CalendarDay]:
    count = before
    year = first
    while year <= last:  # year by year, so that a rule without an end is stopped early
        following = min(year + _YEAR, last + _DAY)
        for event in query.between(year, following):
            start = event["DTSTART"].dt
            if start < year > first or start >= following:  # it spans the turn of the year
                continue
            count += 1
            if count > MOST_DAYS:
                raise InvalidInputError(f"The file comes to more than {MOST_DAYS} days off.")
            end = event["DTEND"].dt if "DTEND" in event else start + _DAY
            # The end of an all-day event is the day after it (RFC 5545, 3.6.1).
            yield CalendarDay(start, max(start, end - _DAY), _summary(event))
        year = following


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
    except (KeyError, AttributeError, ValueError):  # a broken property is a ValueError
        return False
    return (
        isinstance(start, date)
        and not isinstance(start, datetime)
        and not (frequencies & _SUB_DAILY)
    )


def _summary(event: Any) -> str:
    text = re.sub(r"[\x00-\x1f\x7f]", " ", storable_text(str(event.get("SUMMARY", ""))))
    return " ".join(text.split())[:_SUMMARY]


def _decoded(data: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "BEGIN:VCALENDAR" not in text.upper():
            raise _not_icalendar()
        return text
    raise _not_icalendar()


def _not_icalendar() -> InvalidInputError:
    return InvalidInputError("This is not an iCalendar file (.ics).")
