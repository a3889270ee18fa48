"""Reads the days and times that a model asks for, in the zone of its run."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Final

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted

_DAY: Final = timedelta(days=1)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK: Final = re.compile(r"(\d{1,2})(?::(\d{2}))?")
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WORDS: Final = {"today": 0, "tomorrow": 1, "yesterday": -1}


def moment(text: str, now: datetime, *, field: str) -> date:
    """Return a day, or a time in the zone of `now`; raises InvalidInputError.

    `today` and `tomorrow` are days. A time without offset is of the zone of `now`.
    """
    text = text.strip()
    if text.lower() == "now":
        return now
    if text.lower() in _WORDS:
        return now.date() + timedelta(days=_WORDS[text.lower()])
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
        return (
            found.replace(tzinfo=now.tzinfo)
            if found.tzinfo is None
            else (found.astimezone(now.tzinfo))
        )
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{quoted(text)} is no day or time. Write 2026-03-02, 2026-03-02T09:00 or today.",
            field=field,
        ) from None


def period(
    start: str, end: str, days: int | None, now: datetime, *, default_days: int, most_days: int
) -> tuple[datetime, datetime]:
    """Return the instants that begin and end a period; raises InvalidInputError.

    A day as `end` counts whole. `days` count from `start`, which is today if it is left out.
    """
    first = moment(start, now, field="start") if start.strip() else now.date()
    begins = _at(first, now)
    if end.strip():
        if days is not None:
            raise InvalidInputError("Give `end` or `days`, not both.", field="days")
        last = moment(end, now, field="end")
        ends = _at(last if isinstance(last, datetime) else last + _DAY, now)
    else:
        # By the calendar: a day is not always of 24 hours.
        ends = begins + timedelta(days=days if days is not None else default_days)
    if ends <= begins:
        raise InvalidInputError("The end is not after the start.", field="end")
    if ends - begins > timedelta(days=most_days):
        raise InvalidInputError(f"Ask for at most {most_days} days at once.", field="end")
    return begins, ends


def hours(text: str) -> tuple[time, time]:
    """Return the times of a day from `9:00-17:00`; `0-24` is the whole day."""
    first, _, last = text.replace("\u2013", "-").partition("-")
    starts, ends = _clock(first), _clock(last)
    if starts is None or ends is None or starts == ends != time():
        raise InvalidInputError(
            f"{quoted(text)} are no hours of a day. Write 09:00-17:00.", field="hours"
        )
    return starts, ends


def weekdays(text: str) -> frozenset[int]:
    """Return days of the week, Monday as 0, from `mon-fri` or `mon, wed, sat`."""
    found: set[int] = set()
    for part in re.split(r"[,;\s]+", text.strip().lower()):
        first, _, last = part.partition("-")
        names = [name[:3] for name in (first, last or first)]
        if any(name not in _WEEKDAYS for name in names):
            raise InvalidInputError(
                f"{quoted(text)} are no days of the week. Write mon-fri, or mon,wed,sat.",
                field="weekdays",
            )
        one, other = (_WEEKDAYS.index(name) for name in names)
        found |= {(one + step) % 7 for step in range((other - one) % 7 + 1)}
    return frozenset(found)


def _at(when: date, now: datetime) -> datetime:
    if isinstance(when, datetime):
        return when
    return datetime.combine(when, time(), tzinfo=now.tzinfo)


def _clock(text: str) -> time | None:
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute = int(found[1]), int(found[2] or 0)
    if (hour, minute) == (24, 0):
        return time()
    return time(hour, minute) if hour < 24 and minute < 60 else None
