"""The fire times of a cron expression, found slowly: a second opinion on rota's own.

It shares nothing with what it judges: neither rota nor cronsim is imported, and no fire time is
computed by arithmetic on dates. It walks the real line one UTC minute at a time, asks zoneinfo what
the clock on the wall shows, and matches that against the five fields. It learns of a change of the
clock as a person watching would: the wall clock leaps over minutes (a gap) or shows again what it
has shown (an overlap). Hence it holds for a change of any length, at any hour, for any reason.

What a change of the clock means, where a "wildcard" has a minute or an hour that begins with `*`:

- a gap: `skip` drops the minutes that the wall clock left out; `shift` fires when a clock that
  nobody changed would show them; `vixie` fires once, at the change, unless it is a wildcard.
- an overlap: `once` fires the first time that the wall clock shows a minute; `twice` each time;
  `vixie` each time for a wildcard, else the first time.

Changes of the clock happen on whole minutes, and two of them lie days apart: so it is in every zone
from 1990 to 2060.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
# A minute that was shown before, or that is late by a gap, is at most a day from its double. The
# minute before tells a gap.
LOOK_BACK = DAY + MINUTE

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
SUNDAY_TOO = 7


class Expression:
    """The minutes of the wall clock that a cron expression names, and the seconds in them."""

    def __init__(self, written: str) -> None:
        fields = MACROS.get(written.lower(), written).lower().replace("?", "*").split()
        self.seconds = _numbers(fields.pop(0), 0, 59) if len(fields) == 6 else {0}
        minute, hour, self.days, month, self.weekdays = fields
        self.minutes = _numbers(minute, 0, 59)
        self.hours = _numbers(hour, 0, 23)
        self.months = _numbers(month, 1, 12)
        self.is_wildcard = minute.startswith("*") or hour.startswith("*")
        self.names_day = cache(self._names_day)

    def names(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes and wall.hour in self.hours and self.names_day(wall.date())
        )

    def _names_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month = any(_is_day_of_month(term, day) for term in self.days.split(","))
        of_week = any(_is_day_of_week(term, day) for term in self.weekdays.split(","))
        if self.days.startswith("*") or self.weekdays.startswith("*"):
            return of_month and of_week
        return of_month or of_week


def fire_times(
    written: str,
    zone: ZoneInfo,
    start_exclusive: datetime,
    end_inclusive: datetime,
    *,
    gap: str = "vixie",
    overlap: str = "vixie",
) -> list[datetime]:
    """Give every fire time in the window, in UTC and ascending."""
    start, end = start_exclusive.astimezone(UTC), end_inclusive.astimezone(UTC)
    expression = Expression(written)
    minutes = _firing_minutes(expression, zone, start, end, gap, overlap)
    return [
        fire
        for minute in sorted(minutes)
        for second in sorted(expression.seconds)
        if start < (fire := minute + timedelta(seconds=second)) <= end
    ]


def _firing_minutes(
    expression: Expression, zone: ZoneInfo, start: datetime, end: datetime, gap: str, overlap: str
) -> set[datetime]:
    firing: set[datetime] = set()
    shown: set[datetime] = set()
    expected = None
    for instant, wall in _walk(zone, start - LOOK_BACK, end):
        left_out = expected
        while left_out is not None and left_out < wall:
            if expression.names(left_out):
                if gap == "shift":
                    firing.add(instant + (left_out - expected))
                elif gap == "vixie" and not expression.is_wildcard:
                    firing.add(instant)
            left_out += MINUTE
        if expression.names(wall):
            again = overlap == "twice" or (overlap == "vixie" and expression.is_wildcard)
            if again or wall not in shown:
                firing.add(instant)
        shown.add(wall)
        expected = wall + MINUTE
    return firing


def _walk(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Give each UTC minute, with what the clock on the wall shows then."""
    instant = start.replace(second=0, microsecond=0)
    while instant <= end:
        wall = instant.astimezone(zone).replace(tzinfo=None, fold=0)
        assert wall.second == 0, f"{zone} is not whole minutes from UTC at {instant}"
        yield instant, wall
        instant += MINUTE


def _is_day_of_month(term: str, day: date) -> bool:
    if term == "l":
        return _is_last_of_month(day)
    if term == "lw":
        later = [day + n * DAY for n in range(1, 8)]
        rest = [d for d in later if d.month == day.month]
        return day.isoweekday() <= 5 and not any(d.isoweekday() <= 5 for d in rest)
    return day.day in _numbers(term, 1, 31)


def _is_day_of_week(term: str, day: date) -> bool:
    weekday = day.isoweekday() % 7
    if "#" in term:
        name, count = term.split("#")
        return weekday in _numbers(name, 0, SUNDAY_TOO) and (day.day + 6) // 7 == int(count)
    if term.endswith("l"):
        return weekday in _numbers(term[:-1], 0, SUNDAY_TOO) and (day + 7 * DAY).month != day.month
    return weekday in _numbers(term, 0, SUNDAY_TOO)


def _is_last_of_month(day: date) -> bool:
    return (day + DAY).month != day.month


@cache
def _numbers(field: str, first: int, last: int) -> frozenset[int]:
    """Give what a list of `*`, `a`, `a-b`, each perhaps with `/step`, names; 7 counts as 0."""
    found: set[int] = set()
    for term in field.split(","):
        matched = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", term)
        assert matched, f"{term!r} in {field!r}"
        low, high, step = matched.groups()
        if low is None:
            numbers = [*range(first, last + 1)]
        elif high is not None:
            numbers = _around(_number(low, first), _number(high, first), first, last)
        elif step is not None:
            numbers = [*range(_number(low, first), last + 1)]
        else:
            numbers = [_number(low, first)]
        found.update(numbers[:: int(step or 1)])
    return frozenset(n % 7 for n in found) if last == SUNDAY_TOO else frozenset(found)


def _around(low: int, high: int, first: int, last: int) -> list[int]:
    """Count from low to high, past the end of the field if need be, where Sunday is one day."""
    if low > high and last == SUNDAY_TOO:
        low, last = low % 7, SUNDAY_TOO - 1
    if low > high:
        return [*range(low, last + 1), *range(first, high + 1)]
    return [*range(low, high + 1)]


def _number(word: str, first: int) -> int:
    if word.isdecimal():
        return int(word)
    names = MONTHS if first == 1 else WEEKDAYS
    return names.index(word[:3]) + first
