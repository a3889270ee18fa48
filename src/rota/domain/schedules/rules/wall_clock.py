"""Converts wall-clock times to instants, also at changes of the clock.

A zone's clock jumps forward over times that never come (a gap) and back over times that come twice
(an overlap). The owner of a schedule chooses what it does there; the default is Vixie cron's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

_NEAR: Final = timedelta(hours=40)  # offsets differ by 26 hours at most; the clock jumps 24 at most
_DAY: Final = timedelta(days=1)


class DstGap(StrEnum):
    """What happens to a fire whose local time the clock jumps over."""

    VIXIE = "vixie"
    """A job at a fixed time runs right after the jump; one with `*` or `*/n` follows real time."""
    SKIP = "skip"
    """It does not fire that day."""
    SHIFT = "shift"
    """It fires later by as much as the clock jumped: 02:30 fires at 03:30."""


class DstOverlap(StrEnum):
    """What happens to a fire whose local time comes twice."""

    VIXIE = "vixie"
    """A job at a fixed time runs once; one with `*` or `*/n` follows real time."""
    ONCE = "once"
    """It fires at the first pass only."""
    TWICE = "twice"
    """It fires at both."""


@dataclass(frozen=True, slots=True)
class ClockChange:
    """One change of a zone's clock: at `at` (UTC), from one UTC offset to another."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def is_gap(self) -> bool:
        """Return whether local times are jumped over, rather than repeated."""
        return self.after > self.before


def offsets_near(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """Return the least and the greatest UTC offset around a local time (naive)."""
    middle = wall.replace(tzinfo=UTC)
    offsets = [_offset(middle + shift, zone) for shift in (-_NEAR, timedelta(0), _NEAR)]
    return min(offsets), max(offsets)


def instants_at(
    wall: datetime, zone: ZoneInfo, *, gap: DstGap, overlap: DstOverlap, fixed: bool
) -> tuple[datetime, ...]:
    """Return the instants (UTC, ascending) at which a local time (naive) fires.

    `fixed`: it comes from a job at a fixed time, which Vixie cron treats apart.
    """
    first, second = (_folded_offset(wall, zone, fold) for fold in (0, 1))
    utc = wall.replace(tzinfo=UTC)
    if first == second:
        return (utc - first,)
    if first > second:  # an overlap
        twice = overlap is DstOverlap.TWICE or (overlap is DstOverlap.VIXIE and not fixed)
        return (utc - first, utc - second) if twice else (utc - first,)
    if gap is DstGap.SHIFT:
        return (utc - first,)
    if gap is DstGap.VIXIE and fixed:
        return (_change_between(utc - second, utc - first, zone),)
    return ()


def clock_changes(zone: ZoneInfo, start: datetime, end: datetime) -> tuple[ClockChange, ...]:
    """Return the changes of a zone's clock in (start, end], earliest first."""
    found: list[ClockChange] = []
    before = start.astimezone(UTC)
    while before < end:
        after = min(before + _DAY, end.astimezone(UTC))
        if _offset(before, zone) != _offset(after, zone):
            at = _change_between(before, after, zone)
            offsets = _offset(at - timedelta(seconds=1), zone), _offset(at, zone)
            found.append(ClockChange(at, *offsets))
        before = after
    return tuple(found)


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Bisect to the second at which the offset changes in (before, after]."""
    old = _offset(before, zone)
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle <= before:
            break
        if _offset(middle, zone) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _folded_offset(wall: datetime, zone: ZoneInfo, fold: int) -> timedelta:
    return wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0)
