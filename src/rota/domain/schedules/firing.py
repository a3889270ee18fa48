"""Decides what a due schedule leads to at an instant. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from rota.domain.schedules.occurrences import Outcome
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.rules.fire_times import FireTimes
from rota.domain.schedules.schedule import CatchUp, Schedule
from rota.domain.schedules.timing import FireFilter, NamedDay, due_time

MISSED_ROWS_LIMIT: Final = 1_000
"""Fire times without a run that get a row each; more at once become rows of ranges."""

WALK_LIMIT: Final = 10_000
"""Fire times that one plan looks at one by one: half a second of work at most."""

_TICK: Final = timedelta(microseconds=1)

ON_TIME: Final = timedelta(seconds=5)
"""A fire this late is still an ordinary one; later, it is a catch-up and its row says so."""


@dataclass(frozen=True, slots=True)
class PlannedFire:
    """A fire time whose run is due now. `late`: it is late by more than `ON_TIME`."""

    fire_time: datetime
    late: bool


@dataclass(frozen=True, slots=True)
class PassedFires:
    """Fire times that lead to no run, from `first` to `last`. `count` None: too many to count.

    `outcome` is never "fired".
    """

    first: datetime
    last: datetime
    count: int | None
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class NextFire:
    """The next fire time, and when it is due: the fire time plus its jitter."""

    fire_time: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class FirePlan:
    """What a due schedule leads to. `next` None: the schedule has no further fire time."""

    fires: tuple[PlannedFire, ...]
    passed: tuple[PassedFires, ...]
    next: NextFire | None


def next_fire(schedule: Schedule, rule: FireTimes, after: datetime) -> NextFire | None:
    """Return the first fire strictly after `after`, or None."""
    fire_time = rule.next_after(after)
    if fire_time is None:
        return None
    return NextFire(fire_time, due_time(rule, schedule.id, fire_time, schedule.timing.jitter))


def plan_fires(
    schedule: Schedule,
    *,
    due_since: datetime,
    days_off: Sequence[NamedDay] = (),
    pauses: Sequence[Pause] = (),
    now: datetime,
) -> FirePlan:
    """Decide what a schedule does at `now` whose fire time `due_since` is due (both aware).

    A fire time on a day off or outside the active time is suppressed. One in a pause of everything
    is skipped, and so is whatever would begin in it. Of the others, those within the catch-up
    window run: the latest, or all. A fire at most `ON_TIME` late is an ordinary one whatever the
    window. What is neither is missed. Raises InvalidInputError for a rule that cannot be read.
    """
    rule = schedule.timing.rule()
    times, unseen = _due_times(schedule, rule, due_since, now)
    filter_ = schedule.timing.filter(days_off, pauses)
    chosen = _fires_to_run(schedule, times, filter_, now)[: schedule.runs_left]
    following = next_fire(schedule, rule, times[-1]) if times else None
    if len(chosen) == schedule.runs_left:
        times = [time for time in times if not chosen or time <= chosen[-1].fire_time]
    return FirePlan(
        fires=tuple(chosen),
        passed=tuple(_passed_fires(schedule, times, unseen, chosen, filter_, now)),
        next=following,
    )


def _due_times(
    schedule: Schedule, rule: FireTimes, due_since: datetime, now: datetime
) -> tuple[list[datetime], tuple[datetime, datetime] | None]:
    """Return the fire times due at `now`, and the range of those too many to look at."""
    times = [due_since, *rule.fires_between(due_since, now, limit=WALK_LIMIT)]
    unseen = None
    if len(times) > WALK_LIMIT:
        recent = max(now - max(schedule.policy.catch_up_window, ON_TIME), due_since)
        fresh = rule.fires_between(recent - _TICK, now, limit=WALK_LIMIT)
        if len(fresh) == WALK_LIMIT and schedule.policy.catch_up is CatchUp.LATEST:
            latest = rule.latest_at_or_before(now)
            fresh = [latest] if latest is not None else fresh
        # Where all are to run, those past the limit stay due, and come at the next look.
        before = fresh[0] if fresh else now + _TICK
        if before > due_since:
            last = rule.latest_at_or_before(before - _TICK) or due_since
            unseen = (due_since, last)
        times = fresh or [unseen[1] if unseen is not None else due_since]
    jitter = schedule.timing.jitter
    if len(times) > 1 and jitter and due_time(rule, schedule.id, times[-1], jitter) > now:
        times.pop()
    return times, unseen


def _fires_to_run(
    schedule: Schedule, times: Sequence[datetime], filter_: FireFilter, now: datetime
) -> list[PlannedFire]:
    """Return the fire times that run, earliest first."""
    jitter = schedule.timing.jitter
    chosen: list[PlannedFire] = []
    for time in reversed(times):
        lateness = now - time - jitter if jitter else now - time
        if lateness > max(schedule.policy.catch_up_window, ON_TIME):
            break
        if filter_.suppression(time) is None and filter_.pause_at(time, now) is None:
            chosen.append(PlannedFire(time, late=lateness > ON_TIME))
            if schedule.policy.catch_up is CatchUp.LATEST:
                break
    return chosen[::-1]


def _passed_fires(
    schedule: Schedule,
    times: Sequence[datetime],
    unseen: tuple[datetime, datetime] | None,
    chosen: Sequence[PlannedFire],
    filter_: FireFilter,
    now: datetime,
) -> Iterator[PassedFires]:
    """Return rows for the fire times that do not run: one each, or ranges where they are many."""
    run = {fire.fire_time for fire in chosen}
    missed = _why_missed(schedule, chosen)
    if unseen is not None:
        # One range up to the fire time that runs: its single fire times were not listed.
        end = chosen[0].fire_time if chosen else None
        last = max([unseen[1], *(time for time in times if end is None or time < end)])
        yield PassedFires(unseen[0], last, None, "missed", missed)
        times = [time for time in times if time > last]

    verdicts: list[tuple[datetime, tuple[Outcome, str]]] = [
        (time, ("fired", "") if time in run else _why_passed(time, filter_, now, missed))
        for time in times
    ]
    if len(verdicts) - len(run) <= MISSED_ROWS_LIMIT:
        for time, (outcome, reason) in verdicts:
            if outcome != "fired":
                yield PassedFires(time, time, 1, outcome, reason)
        return
    # A range ends where a fire runs in between, or where the reason is another.
    for (outcome, reason), group in groupby(
        verdicts, key=lambda item: (item[1][0], _without_clock_time(item[1][1]))
    ):
        members = [time for time, _ in group]
        if outcome != "fired":
            yield PassedFires(members[0], members[-1], len(members), outcome, reason)


def _why_passed(
    time: datetime, filter_: FireFilter, now: datetime, missed: str
) -> tuple[Outcome, str]:
    if (suppression := filter_.suppression(time)) is not None:
        return "suppressed", suppression
    if (hold := filter_.hold(time, now)) is not None:
        return "skipped", hold
    return "missed", missed


def _without_clock_time(reason: str) -> str:
    """Return the reason without the clock time that it begins with, so that a range has one."""
    head, _, tail = reason.partition(" is outside ")
    return f"outside {tail}" if tail and head else reason


def _why_missed(schedule: Schedule, chosen: Sequence[PlannedFire]) -> str:
    if chosen:
        return (
            "missed while no scheduler was running; the fire of "
            f"{chosen[-1].fire_time:%Y-%m-%d %H:%M:%S} UTC ran"
        )
    return (
        "missed while no scheduler was running; past the catch-up window of "
        f"{schedule.policy.catch_up_window}"
    )
