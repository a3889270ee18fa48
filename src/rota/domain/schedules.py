"""A schedule, and what to do with it at an instant: pure, `now` is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rota.domain.cron import CronSchedule
from rota.domain.ids import ScheduleId, UserId
from rota.domain.notifications import Category

MISSED_ROWS_LIMIT: Final = 1_000
"""More missed fire times in a row than this become one range row (design, "Once")."""

ON_TIME: Final = timedelta(seconds=5)
"""A fire this late is still an ordinary one; later, it is a catch-up and its row says so."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One row of `agent_schedules`; `time_zone` is resolved: the schedule's own or its owner's."""

    id: ScheduleId
    user_id: UserId
    name: str
    agent_name: str
    prompt: str | None
    cron: str
    time_zone: str
    follows_owner_zone: bool
    result_category: Category
    catch_up_window: timedelta
    is_active: bool
    pause_note: str | None
    next_fire_at: datetime | None
    created_at: datetime

    def rule(self) -> CronSchedule:
        """Return the parsed rule; raises InvalidInputError."""
        return CronSchedule.parse(self.cron, self.time_zone)


@dataclass(frozen=True, slots=True)
class MissedFires:
    """Fire times that nobody ran, from `first` to `last`; `count` None: more than the limit."""

    first: datetime
    last: datetime
    count: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class FirePlan:
    """What a due schedule leads to: at most one run, rows for what was missed, the next fire."""

    fire_time: datetime | None
    is_catch_up: bool
    missed: tuple[MissedFires, ...]
    next_fire_at: datetime | None


def plan_fires(
    rule: CronSchedule, *, due_since: datetime, window: timedelta, now: datetime
) -> FirePlan:
    """Decide what a schedule does at `now` that has been due since `due_since` (both aware).

    The latest fire time runs, once, if it lies within the catch-up window; everything before it,
    and it too if it is older than the window, is missed. A fire at most `ON_TIME` late is an
    ordinary one whatever the window.
    """
    fires = [due_since, *rule.fires_between(due_since, now, limit=MISSED_ROWS_LIMIT + 1)]
    many = len(fires) > MISSED_ROWS_LIMIT
    latest = rule.latest_at_or_before(now) or fires[-1] if many else fires[-1]
    runs = now - latest <= max(window, ON_TIME)
    reason = (
        f"missed while no scheduler was running; the fire of {latest:%Y-%m-%d %H:%M:%S} UTC ran"
        if runs
        else f"missed while no scheduler was running; past the catch-up window of {window}"
    )
    missed: tuple[MissedFires, ...]
    if many:
        last = rule.latest_at_or_before(latest - timedelta(seconds=1)) or latest
        missed = (MissedFires(due_since, last if runs else latest, None, reason),)
    else:
        missed = tuple(MissedFires(t, t, 1, reason) for t in (fires[:-1] if runs else fires))
    return FirePlan(
        fire_time=latest if runs else None,
        is_catch_up=runs and now - latest > ON_TIME,
        missed=missed,
        next_fire_at=rule.next_after(max(now, latest)),
    )
