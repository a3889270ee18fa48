"""Lists the coming fire times of a schedule, and says which of them will not run, and why.

Used when a schedule is added, shown or previewed, and by the calendar. It knows days off, active
time and the pause of all schedules. It cannot know how overlap or a schedule's own pause will
decide. `firing` decides on a fire time that is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Final

from rota.domain.errors import InvalidInputError
from rota.domain.ids import ScheduleId
from rota.domain.schedules.firing import WALK_LIMIT
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.schedule import Schedule
from rota.domain.schedules.timing import NamedDay, Timing

NEXT_FIRES: Final = 5
"""How many fires of one schedule are shown, unless told otherwise."""

_TICK: Final = timedelta(microseconds=1)

_HORIZON: Final = timedelta(days=366 * 30)
"""29 February is a Saturday once in 28 years."""

_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)

_STRETCHES: Final = 2_000
"""Days or hours in which nothing may run that are stepped over: more than five years of days."""


@dataclass(frozen=True, slots=True)
class UpcomingFire:
    """A coming fire time (UTC). `suppressed` says why it will not run; None: it will run."""

    fire_time: datetime
    suppressed: str | None


@dataclass(frozen=True, slots=True)
class ForecastFire:
    """A coming fire time (UTC) of one of several schedules; `suppressed` as in UpcomingFire."""

    fire_time: datetime
    schedule_name: str
    agent_name: str
    suppressed: str | None

    @property
    def place(self) -> tuple[datetime, str]:
        """Return what a forecast is ordered by."""
        return self.fire_time, self.schedule_name


@dataclass(frozen=True, slots=True)
class Forecast:
    """The coming fires of many schedules, from `now` to `until`; their days off by their ids.

    Fires are worked out as they are taken, so the first hundred cost the same however many follow.
    """

    schedules: Sequence[Schedule]
    days_off: Mapping[ScheduleId, Sequence[NamedDay]]
    pauses: Sequence[Pause]
    now: datetime
    until: datetime

    def page(self, *, after: tuple[datetime, str] | None, limit: int) -> tuple[ForecastFire, ...]:
        """Return fires by time and name, those after this fire time and name.

        A schedule whose rule cannot be read has none: its scheduler pauses it and says so.
        """
        start = self.now if after is None else max(self.now, after[0] - _TICK)
        fires = (self._fires(schedule, start) for schedule in self.schedules)
        merged = merge(*fires, key=lambda fire: fire.place)
        return tuple(islice((f for f in merged if after is None or f.place > after), limit))

    def _fires(self, schedule: Schedule, start: datetime) -> Iterator[ForecastFire]:
        left = schedule.runs_left
        try:
            rule = schedule.timing.rule()
            allowed = schedule.timing.filter(self.days_off.get(schedule.id, ()), self.pauses)
        except InvalidInputError:
            return
        # Whose runs are counted is looked at from now on: some of them lie before the start.
        first = start if left is None else self.now
        if left == 0:
            return
        for fire_time in islice(rule.fires_after(first), None if left is None else WALK_LIMIT):
            if fire_time > self.until:
                return
            suppressed = allowed.objection(fire_time)
            if fire_time > start:
                yield ForecastFire(fire_time, schedule.name, schedule.agent_name, suppressed)
            if left is not None and suppressed is None:
                left -= 1
                if not left:
                    return


def next_run(
    timing: Timing, days_off: Sequence[NamedDay] = (), *, after: datetime
) -> datetime | None:
    """Return the first fire time after `after` that nothing suppresses, or None.

    However many are suppressed before it: it steps over the days and hours of which nothing may
    run, 2,000 of them or 30 years from the first at most. Pauses of everything are not looked at.
    """
    rule, allowed = timing.rule(), timing.filter(days_off)
    first = rule.next_after(after)
    if first is None:
        return None
    last = min(first, _LAST - _HORIZON) + _HORIZON
    for _ in range(_STRETCHES):
        fire_time = rule.next_after(after)
        if fire_time is None or fire_time > last:
            break
        if allowed.suppression(fire_time) is None:
            return fire_time
        after = max(fire_time, allowed.runs_again_from(fire_time) - _TICK)
    return None


def check_that_it_runs(timing: Timing, *, now: datetime) -> None:
    """Raise InvalidInputError for a rule that never runs by what it says itself.

    Calendars and pauses are others' to change, and not looked at.
    """
    timing = timing.anchored(now)
    rule = timing.rule()
    first = rule.next_after(now)
    if first is None:
        raise InvalidInputError("This never fires: all of its times are in the past.", field="when")
    if next_run(timing, after=now) is None:
        why = timing.filter(()).suppression(first)
        raise InvalidInputError(
            "This never runs: every fire time is suppressed. The first one is "
            f"suppressed because {why} (rule: {rule.in_words()}).",
            field="active_days" if timing.active_days else "active_hours",
        )


def upcoming_fires(
    timing: Timing,
    days_off: Sequence[NamedDay] = (),
    pauses: Sequence[Pause] = (),
    *,
    after: datetime,
    until: datetime | None = None,
    runs: int | None = None,
    looks: int = WALK_LIMIT,
) -> tuple[UpcomingFire, ...]:
    """Return the fire times in (after, until], earliest first; raises InvalidInputError.

    Up to the last of `runs` fires that will run, and of `looks` fire times at most; the first that
    runs is there however many are suppressed before it. Where `runs` are counted, of the fires in a
    pause of everything the first stands for all.
    """
    if runs == 0:
        return ()
    rule, allowed = timing.rule(), timing.filter(days_off, pauses)
    found: list[UpcomingFire] = []
    fire_times = rule.fires_after(after)
    for _ in range(looks):
        fire_time = next(fire_times, None)
        if fire_time is None or (until is not None and fire_time > until):
            break
        fire = UpcomingFire(fire_time, allowed.objection(fire_time))
        found.append(fire)
        if runs is None:
            continue
        if fire.suppressed is None:
            runs -= 1
            if not runs:
                break
        elif (pause := allowed.pause_at(fire_time)) is not None:
            if pause.ends_at is None:
                break
            fire_times = rule.fires_after(pause.ends_at - _TICK)
    else:
        if runs is not None and all(fire.suppressed for fire in found):
            first = next_run(timing, days_off, after=found[-1].fire_time)
            found += [UpcomingFire(first, allowed.hold(first))] if first is not None else []
    return tuple(found)
