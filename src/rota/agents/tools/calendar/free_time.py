"""Finds when somebody is free, from the times when they are not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from rota.agents.tools.calendar.events import CalendarEvent, instant

_QUARTER: Final = 15 * 60
_DAY: Final = timedelta(days=1)

Span = tuple[datetime, datetime]
"""A start and an end, in UTC: the difference of two times of another zone is that of its clocks."""


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """The hours of a day, and the days of a week from Monday as 0, that are to be looked at."""

    starts: time
    ends: time
    weekdays: Collection[int]


def free_times(
    events: Iterable[CalendarEvent],
    start: datetime,
    end: datetime,
    hours: WorkingHours,
    *,
    minutes: int,
    most: int,
) -> list[Span]:
    """Return the free times of at least so many minutes, earliest first, at most `most`.

    `start` and `end` are in the zone that the hours are of, and so is what is returned.
    """
    busy = _merged(
        (_utc(instant(event.start, start)), _utc(instant(event.end, start)))
        for event in events
        if event.is_busy
    )
    needed = timedelta(minutes=minutes)
    found: list[Span] = []
    for window in _windows(start, end, hours):
        for begins, ends in _without(window, busy):
            if ends - begins >= needed:
                found.append((begins.astimezone(start.tzinfo), ends.astimezone(start.tzinfo)))
                if len(found) == most:
                    return found
    return found


def next_quarter(moment: datetime) -> datetime:
    """Return the next full quarter of an hour: nobody meets at 9:07."""
    seconds = moment.timestamp()
    return datetime.fromtimestamp(-(-seconds // _QUARTER) * _QUARTER, tz=moment.tzinfo)


def _windows(start: datetime, end: datetime, hours: WorkingHours) -> Iterator[Span]:
    day: date = start.date() - _DAY  # hours may begin the evening before
    while day <= end.date():
        if day.weekday() in hours.weekdays:
            last = day if hours.ends > hours.starts else day + _DAY
            begins = datetime.combine(day, hours.starts, tzinfo=start.tzinfo)
            ends = datetime.combine(last, hours.ends, tzinfo=start.tzinfo)
            window = max(_utc(begins), _utc(start)), min(_utc(ends), _utc(end))
            if window[0] < window[1]:
                yield window
        day += _DAY


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for begins, ends in sorted(spans):
        if merged and begins <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], ends)
        elif begins < ends:
            merged.append((begins, ends))
    return merged


def _without(window: Span, busy: Sequence[Span]) -> Iterator[Span]:
    at, until = window
    for begins, ends in busy:
        if ends <= at:
            continue
        if begins >= until:
            break
        if begins > at:
            yield at, begins
        at = max(at, ends)
    if at < until:
        yield at, until


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
