"""Says in words what changes of the clock mean for a schedule."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from rota.domain.schedules.rules.cron import CronSchedule
from rota.domain.schedules.rules.intervals import length_in_words
from rota.domain.schedules.rules.wall_clock import (
    ClockChange,
    DstGap,
    DstOverlap,
    clock_changes,
    instants_at,
)
from rota.domain.schedules.timing import Timing
from rota.domain.text.zones import zone_shown

_NAMED: Final = 3


def clock_notes(timing: Timing, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each change of the clock in the coming year that concerns a schedule.

    None for a zone whose clock does not change, or where no fire is touched.
    """
    zone = zone_shown(timing.time_zone)
    notes: list[str] = []
    for change in clock_changes(zone, now, now + timedelta(days=366)):
        crons = timing.crons()
        effects = [effect for cron in crons for effect in _effects(cron, change, zone)]
        if timing.every is not None and timing.every >= timedelta(hours=1):
            effects = [_describe_interval_shift(change)]
        notes += [f"{_describe_change(change)}: {effect}" for effect in effects]
    return tuple(notes)


def _describe_change(change: ClockChange) -> str:
    before, after = _wall_times(change)
    way = "forward" if change.is_gap else "back"
    return f"{before:%a %Y-%m-%d}, the clock goes {way} from {before:%H:%M} to {after:%H:%M}"


def _wall_times(change: ClockChange) -> tuple[datetime, datetime]:
    utc = change.at.replace(tzinfo=None)
    return utc + change.before, utc + change.after


def _effects(cron: CronSchedule, change: ClockChange, zone: ZoneInfo) -> list[str]:
    start, end = sorted(_wall_times(change))
    walls = cron.local_times(start, end, limit=_NAMED + 1)
    is_vixie = (cron.gap, cron.overlap) == (DstGap.VIXIE, DstOverlap.VIXIE)
    if walls and is_vixie and not cron.is_fixed:
        return [
            "it follows real time: "
            + ("the times in between do not exist" if change.is_gap else "it fires in both passes")
        ]
    sentences: list[str] = []
    for wall in walls[:_NAMED]:
        instants = instants_at(wall, zone, gap=cron.gap, overlap=cron.overlap, fixed=cron.is_fixed)
        fire_times = " and ".join(f"{at.astimezone(zone):%H:%M %Z}" for at in instants)
        if change.is_gap:
            fate = f"it fires at {fire_times}" if instants else "it does not fire"
            sentences.append(f"{wall:%H:%M} does not exist; {fate}")
        else:
            count = "both times" if len(instants) > 1 else "once"
            sentences.append(f"{wall:%H:%M} comes twice; it fires {count}, at {fire_times}")
    if len(walls) > _NAMED:
        sentences.append("the same for the other fires of that hour")
    return sentences


def _describe_interval_shift(change: ClockChange) -> str:
    length = length_in_words(abs(change.after - change.before))
    way = "later" if change.is_gap else "earlier"
    return f"the interval is real time, so by the clock it fires {length} {way} from then on"
