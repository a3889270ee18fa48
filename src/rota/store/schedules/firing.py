"""Rows of schedules as a scheduler claims them, plans them, and fires them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.schedules.firing import NextFire, PassedFires
from rota.domain.schedules.overlap import Overlap, OverlapPolicy
from rota.domain.schedules.schedule import Schedule
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.records import columns_of, records, row_of
from rota.store.schedules.rows import schedule_from_row
from rota.store.statements import each, execute, has_effect, many, one, value, values
from rota.store.unreadable import UnreadableRow


@dataclass(frozen=True, slots=True)
class Fire:
    """A fire time to store: its occurrence, and the waiting run that it starts."""

    run_id: RunId
    schedule: Schedule
    fire_time: datetime
    is_catch_up: bool
    is_serial: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """The earliest fire time of all schedules, and other work for a scheduler.

    `unplanned`: there are schedules to plan. `planned_ahead`: some schedules must be planned again,
    because they were planned by a clock that was ahead. `runs_waiting`: a run waits whose time has
    come. `next_run_in`: seconds until the next run that waits for its time. `incident`: an incident
    of missed fire times has to be announced or ended.
    """

    next_fire_at: datetime | None
    unplanned: bool
    planned_ahead: bool
    runs_waiting: bool
    next_run_in: float | None
    incident: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """The next fire time of a schedule, and how many runs it has just started."""

    schedule_id: ScheduleId
    next: NextFire | None
    started: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a person may run agents, and how many more of their runs may wait (None: any)."""

    user_id: UserId
    may_run: bool
    room: int | None


async def claim_unplanned(conn: Connection, *, limit: int) -> tuple[Schedule | UnreadableRow, ...]:
    """Lock active schedules without a next fire time, as `claim_due` does; others skip them."""
    return await each(conn, "schedules/claim_unplanned_schedules", schedule_from_row, limit=limit)


async def plan_unplanned_from(conn: Connection, now: datetime) -> None:
    """Have schedules without a next fire time count from `now`, by another clock than the server's.

    For tests, whose clock may stand anywhere.
    """
    await execute(conn, "schedules/plan_unplanned_from", now=now)


async def claim_due(
    conn: Connection, *, now: datetime, limit: int
) -> tuple[Schedule | UnreadableRow, ...]:
    """Lock active schedules that are due at `now`, those of each person in turn; others skip them.

    Without prompt and options, which firing does not need: a due herd would fill the memory.
    """
    return await each(
        conn, "schedules/claim_due_schedules", schedule_from_row, now=now, limit=limit
    )


async def claim_planned_ahead(
    conn: Connection, *, planned_after: datetime, limit: int
) -> tuple[Schedule | UnreadableRow, ...]:
    """Lock active schedules that were planned by a clock past this time; others skip them."""
    return await each(
        conn,
        "schedules/claim_planned_ahead",
        schedule_from_row,
        planned_after=planned_after,
        limit=limit,
    )


async def delete_ahead(
    conn: Connection, schedule_ids: Sequence[ScheduleId], now: datetime
) -> dict[ScheduleId, datetime]:
    """Take back what was written of fire times past `now`; returns the first of each schedule."""
    rows = await many(
        conn,
        "schedules/delete_ahead",
        itemgetter("schedule_id", "fire_time"),
        schedule_ids=schedule_ids,
        now=now,
    )
    return dict(rows)


async def outlook(conn: Connection, *, planned_after: datetime) -> Outlook:
    """Return what a scheduler has to look forward to, in one statement.

    `planned_after`: what was planned by a clock past this time was planned by a wrong one.
    """
    return await one(conn, "schedules/scheduler_outlook", Outlook, planned_after=planned_after)


async def set_next_fires(conn: Connection, plans: Sequence[Planned], now: datetime) -> None:
    """Set what schedules look forward to at `now`; one without a next fire is completed."""
    if not plans:
        return
    await execute(conn, "schedules/set_next_fires", plans=records(map(columns_of, plans)), now=now)


async def delete_missed(conn: Connection, fires: Sequence[tuple[ScheduleId, datetime]]) -> None:
    """Take back that these fire times were missed: they will fire."""
    if not fires:
        return
    await execute(
        conn,
        "schedules/delete_missed",
        schedule_ids=[schedule_id for schedule_id, _ in fires],
        fire_times=[fire_time for _, fire_time in fires],
    )


async def standings(conn: Connection, people: Iterable[UserId]) -> dict[UserId, Standing]:
    """Return how these people stand."""
    found = await many(conn, "schedules/standings_of_people", Standing, people=list(people))
    return {standing.user_id: standing for standing in found}


async def claim_telling(conn: Connection, user_id: UserId) -> bool:
    """Note that somebody hears that they may not run agents; False where they have heard."""
    return await has_effect(conn, "schedules/claim_telling", user_id=user_id)


async def judge_overlaps(
    conn: Connection, policies: Mapping[ScheduleId, OverlapPolicy]
) -> dict[ScheduleId, Overlap]:
    """Return what a fire of each schedule does by the policy named, given its unfinished runs."""
    rows = await many(
        conn,
        "schedules/judge_overlaps",
        lambda row: (row["id"], read(Overlap, row)),
        schedule_ids=policies.keys(),
        policies=policies.values(),
    )
    return dict(rows)


async def lock_runs(conn: Connection, schedule_ids: Sequence[ScheduleId]) -> frozenset[ScheduleId]:
    """Lock the unfinished runs of schedules; returns those schedules of which another has one."""
    found = await values(
        conn, "schedules/list_schedules_with_locked_runs", ScheduleId, schedule_ids=schedule_ids
    )
    return frozenset(found)


async def cancel_runs(conn: Connection, schedule_id: ScheduleId, reason: str) -> int:
    """Ask a schedule's unfinished runs to stop; returns how many were asked."""
    return await value(conn, "schedules/cancel_runs", int, schedule_id=schedule_id, reason=reason)


async def insert_fires(conn: Connection, fires: Sequence[Fire]) -> None:
    """Write runs and their occurrences; a fire time that was taken already writes neither."""
    if not fires:
        return
    await execute(
        conn,
        "schedules/insert_fires",
        run_ids=[f.run_id for f in fires],
        schedule_ids=[f.schedule.id for f in fires],
        fire_times=[f.fire_time for f in fires],
        triggers=["catch_up" if f.is_catch_up else "schedule" for f in fires],
        serial=[f.is_serial for f in fires],
    )


async def insert_passed(conn: Connection, passed: Sequence[tuple[Schedule, PassedFires]]) -> None:
    """Write rows for fire times that lead to no run."""
    if not passed:
        return
    await execute(
        conn,
        "schedules/insert_passed",
        passed=records(
            {"schedule_id": s.id, "user_id": s.user_id, **row_of(fires)} for s, fires in passed
        ),
    )
