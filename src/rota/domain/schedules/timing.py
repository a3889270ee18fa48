"""A schedule's timing: its rule, bounds, jitter, and the times at which it may not fire."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.active_time import ActiveTime
from rota.domain.schedules.calendars import CalendarDay, parse_days
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.rules.cron import CronSchedule, parse_zone
from rota.domain.schedules.rules.fire_times import FireTimes
from rota.domain.schedules.rules.intervals import AnyOf, Instants, Interval, Within
from rota.domain.schedules.rules.wall_clock import DstGap, DstOverlap

LONGEST_JITTER: Final = timedelta(days=1)
MOST_CRONS: Final = 20

NamedDay = tuple[str, CalendarDay]
"""A day off, and the name of the calendar that has it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule fires. Exactly one of `cron`, `every` and `instants` is given.

    `cron` may hold several expressions, separated by semicolons. `anchor` is where an interval is
    counted from. `active_hours`, `active_days` and `excluded_days` are kept as a person wrote them.
    """

    time_zone: str
    cron: str | None = None
    every: timedelta | None = None
    anchor: datetime | None = None
    instants: tuple[datetime, ...] = ()
    dst_gap: DstGap = DstGap.VIXIE
    dst_overlap: DstOverlap = DstOverlap.VIXIE
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    jitter: timedelta = timedelta(0)
    active_hours: str | None = None
    active_days: str | None = None
    excluded_days: str | None = None

    def check(self) -> None:
        """Raise InvalidInputError, naming the field, unless every part of it can be used."""
        self.rule()
        self.filter(())
        if self.starts_at and self.ends_at and self.ends_at < self.starts_at:
            raise InvalidInputError("The end lies before the start.", field="ends_at")
        if not timedelta(0) <= self.jitter <= LONGEST_JITTER:
            raise InvalidInputError("The jitter lies between 0 and a day.", field="jitter")

    def anchored(self, now: datetime) -> Timing:
        """Return it with the anchor that an interval without one is given when it is stored."""
        return replace(self, anchor=self.anchor or self.starts_at or now)

    def rule(self) -> FireTimes:
        """Return the parsed rule within its bounds; raises InvalidInputError."""
        return Within(self._unbounded(), self.starts_at, self.ends_at)

    def filter(self, days_off: Sequence[NamedDay], pauses: Sequence[Pause] = ()) -> FireFilter:
        """Return what says whether a fire time runs; raises InvalidInputError."""
        own = [("its own exclusions", day) for day in parse_days(self.excluded_days or "")]
        return FireFilter(
            parse_zone(self.time_zone),
            ActiveTime.parse(self.active_hours, self.active_days),
            (*own, *days_off),
            tuple(pauses),
        )

    def crons(self) -> tuple[CronSchedule, ...]:
        """Return the parsed cron expressions, none for another kind."""
        if self.cron is None:
            return ()
        written = self.cron.split(";")
        if len(written) > MOST_CRONS:
            raise InvalidInputError(
                f"A schedule has at most {MOST_CRONS} cron expressions.", field="cron"
            )
        return tuple(
            CronSchedule.parse(part, self.time_zone, gap=self.dst_gap, overlap=self.dst_overlap)
            for part in written
        )

    def _unbounded(self) -> FireTimes:
        zone = str(parse_zone(self.time_zone))
        crons = self.crons()
        if crons:
            return crons[0] if len(crons) == 1 else AnyOf(crons)
        if self.every is not None:
            anchor = self.anchor or self.starts_at
            if anchor is None:
                raise InvalidInputError("An interval needs an anchor.", field="anchor")
            return Interval(self.every, anchor, zone)
        return Instants(self.instants, zone)


@dataclass(frozen=True, slots=True)
class FireFilter:
    """Says why a schedule does not fire at a time that its rule names."""

    zone: ZoneInfo
    active: ActiveTime
    days_off: tuple[NamedDay, ...]
    pauses: tuple[Pause, ...] = ()

    def objection(self, fire_time: datetime) -> str | None:
        """Return the reason why this fire does not run, or None if it does."""
        return self.suppression(fire_time) or self.hold(fire_time)

    def pause_at(self, *instants: datetime) -> Pause | None:
        """Return the pause of everything that one of these instants lies in."""
        return next((p for p in self.pauses if any(map(p.covers, instants))), None)

    def hold(self, *instants: datetime) -> str | None:
        """Return the reason why a pause of everything holds a fire at one of these instants."""
        pause = self.pause_at(*instants)
        return pause.in_words(self.zone) if pause is not None else None

    def runs_again_from(self, fire_time: datetime) -> datetime:
        """Return an instant that no fire time after this suppressed one runs before."""
        local = fire_time.astimezone(self.zone).replace(tzinfo=None)
        begin = self.active.may_begin(local)
        for _, day in self.days_off:
            if day.first <= local.date() <= day.last and day.last.year < MAXYEAR:
                begin = datetime.combine(day.last + timedelta(days=1), time())
        # A time that the clock jumps over: the instant of the jump lies after the earlier of these.
        return min(begin.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))

    def suppression(self, fire_time: datetime) -> str | None:
        """Return the reason why a day off or the active time suppresses this fire, or None."""
        local = fire_time.astimezone(self.zone)
        for calendar, day in self.days_off:
            if day.first <= local.date() <= day.last:
                what = f" ({day.summary})" if day.summary else ""
                return f"{local:%Y-%m-%d} is a day off{what} by {calendar}"
        return self.active.objection(local)


def jitter_delay(schedule_id: UUID, fire_time: datetime, jitter: timedelta) -> timedelta:
    """Return how much later than `fire_time` it fires: from 0 to `jitter`, the same every time.

    By SHA-256 of schedule and fire time, so that every scheduler finds the same delay, and many
    schedules at one instant spread evenly.
    """
    text = f"{schedule_id}|{int(fire_time.timestamp() * 1_000_000)}"
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
    return timedelta(milliseconds=round(share * jitter.total_seconds() * 1000))


def due_time(
    rule: FireTimes, schedule_id: UUID, fire_time: datetime, jitter: timedelta
) -> datetime:
    """Return when a fire time is due: jittered, yet before the fire time that follows it."""
    if not jitter:
        return fire_time
    following = rule.next_after(fire_time)
    most = min(jitter, following - fire_time) if following is not None else jitter
    return fire_time + jitter_delay(schedule_id, fire_time, most)
