"""Rows of schedules and their occurrences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.notifications.notification import Category
from rota.domain.schedules.occurrences import Occurrence
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.rules.wall_clock import DstGap, DstOverlap
from rota.domain.schedules.schedule import CatchUp, Policy, Schedule, ScheduleContent
from rota.domain.schedules.timing import Timing
from rota.store.database import Connection
from rota.store.records import jsonb
from rota.store.statements import execute, many, one_or_none, value, values


async def pause(conn: Connection, schedule_id: ScheduleId, note: str) -> bool:
    """Pause an active schedule; False if it is paused or gone."""
    return await execute(conn, "schedules/pause_schedule", schedule_id=schedule_id, note=note) > 0


async def count_failure(
    conn: Connection, schedule_id: ScheduleId, *, failed: bool
) -> tuple[int, int] | None:
    """Count a result; returns failures in a row and the limit, None where there is no limit."""
    return await one_or_none(
        conn,
        "schedules/count_failure",
        lambda row: (row["failures_in_row"], row["pause_after_failures"]),
        schedule_id=schedule_id,
        failed=failed,
    )


async def fetch_schedule(conn: Connection, schedule_id: ScheduleId) -> Schedule | None:
    """Return a schedule, or None; under row-level security only one's own."""
    return await one_or_none(
        conn, "schedules/fetch_schedule", schedule_from_row, schedule_id=schedule_id
    )


async def lock_schedule(conn: Connection, schedule_id: ScheduleId) -> Schedule | None:
    """Return a schedule as `fetch_schedule` does, locked until the transaction ends."""
    return await one_or_none(
        conn, "schedules/lock_schedule", schedule_from_row, schedule_id=schedule_id
    )


async def schedule_at(
    conn: Connection, schedule_id: ScheduleId, at: datetime
) -> tuple[Schedule, datetime] | None:
    """Return a schedule as it was at `at`, and when it was changed; None: it is so still."""
    return await one_or_none(
        conn,
        "schedules/schedule_at",
        lambda row: (schedule_from_row(row), row["changed_at"]),
        schedule_id=schedule_id,
        at=at,
    )


async def insert_schedule(
    conn: Connection, user_id: UserId, content: ScheduleContent, *, paused: str | None = None
) -> ScheduleId:
    """Insert a schedule and return its id; raises ConflictError for a name that is taken.

    `paused` is the note of one that does not begin at once.
    """
    return await value(
        conn,
        "schedules/insert_schedule",
        ScheduleId,
        user_id=user_id,
        is_active=paused is None,
        pause_note=paused,
        **_columns(content),
    )


async def update_schedule(
    conn: Connection, schedule_id: ScheduleId, content: ScheduleContent
) -> None:
    """Change a schedule, its rule from the present on; raises ConflictError for a taken name."""
    await execute(conn, "schedules/update_schedule", schedule_id=schedule_id, **_columns(content))


async def list_schedules(conn: Connection) -> tuple[Schedule, ...]:
    """Return the schedules that the transaction's person sees, by name."""
    return await many(conn, "schedules/list_schedules", schedule_from_row)


async def find_schedules(conn: Connection, reference: str) -> tuple[Schedule, ...]:
    """Return those of the transaction's person with this name, or whose id begins so."""
    return await many(
        conn,
        "schedules/find_schedules",
        schedule_from_row,
        reference=reference,
        prefix=reference.lower(),
    )


async def set_active(
    conn: Connection, schedule_id: ScheduleId, *, active: bool, note: str | None
) -> None:
    """Pause or resume a schedule."""
    await execute(
        conn, "schedules/set_schedule_active", schedule_id=schedule_id, active=active, note=note
    )


async def delete_schedule(conn: Connection, schedule_id: ScheduleId) -> None:
    """Delete a schedule; its occurrences go with it, its runs and results stay."""
    await execute(conn, "schedules/delete_schedule", schedule_id=schedule_id)


async def request_backfill(
    conn: Connection, schedule_id: ScheduleId, times: Sequence[datetime], overlap: OverlapPolicy
) -> tuple[RunId, ...]:
    """Ask, as the transaction's person, for runs of past fire times; raises NotFoundError."""
    return await values(
        conn,
        "schedules/request_backfill",
        RunId,
        schedule_id=schedule_id,
        fire_times=list(times),
        overlap=overlap.value,
    )


async def list_occurrences(
    conn: Connection, schedule_id: ScheduleId, *, limit: int
) -> tuple[Occurrence, ...]:
    """Return a schedule's occurrences, newest first."""
    return await many(
        conn, "schedules/list_occurrences", Occurrence, schedule_id=schedule_id, limit=limit
    )


async def occurrence_between(
    conn: Connection, schedule_id: ScheduleId, start: datetime, end: datetime
) -> Occurrence | None:
    """Return the first occurrence in [start, end), a single one before a range."""
    return await one_or_none(
        conn, "schedules/occurrence_at", Occurrence, schedule_id=schedule_id, start=start, end=end
    )


def schedule_from_row(row: Mapping[str, Any]) -> Schedule:
    """Make the value from a row of `agent_schedules` and its `resolved_time_zone`."""
    every = row["every_seconds"]
    return Schedule(
        id=ScheduleId(row["id"]),
        user_id=UserId(row["user_id"]),
        name=row["name"],
        agent_name=row["agent_name"],
        prompt=row["prompt"],
        timing=Timing(
            time_zone=row["resolved_time_zone"],
            cron=row["cron"],
            every=timedelta(seconds=every) if every is not None else None,
            anchor=row["anchor_at"],
            instants=tuple(row["instants"] or ()),
            dst_gap=DstGap(row["dst_gap"]),
            dst_overlap=DstOverlap(row["dst_overlap"]),
            starts_at=row["starts_at"],
            ends_at=row["ends_at"],
            jitter=timedelta(seconds=row["jitter_seconds"]),
            active_hours=row["active_hours"],
            active_days=row["active_days"],
            excluded_days=row["excluded_days"],
        ),
        policy=Policy(
            overlap=OverlapPolicy(row["overlap_policy"]),
            catch_up=CatchUp(row["catch_up"]),
            catch_up_window=timedelta(seconds=row["catch_up_window_seconds"]),
            max_runs=row["max_runs"],
            pause_after_failures=row["pause_after_failures"],
        ),
        follows_owner_zone=row["time_zone"] is None,
        result_category=Category(row["result_category"]),
        is_active=row["is_active"],
        pause_note=row["pause_note"],
        next_fire_at=row["next_fire_at"],
        next_fire_time=row["next_fire_time"] or row["next_fire_at"],
        plan_from=row["plan_from"],
        paused_at=row["paused_at"],
        completed_at=row["completed_at"],
        runs_started=row["runs_started"],
        failures_in_row=row["failures_in_row"],
        revision=row["revision"],
        created_at=row["created_at"],
        uses_calendars=row["uses_calendars"],
        options=row["options"],
    )


def _columns(content: ScheduleContent) -> dict[str, Any]:
    """Return the columns that a person fills; the anchor only where there is an interval."""
    timing, policy = content.timing, content.policy
    return {
        "name": content.name,
        "agent_name": content.agent_name,
        "prompt": content.prompt,
        "time_zone": content.time_zone,
        "options": jsonb(content.options),
        "cron": timing.cron,
        "every_seconds": round(timing.every.total_seconds()) if timing.every else None,
        "anchor_at": timing.anchor if timing.every else None,
        "instants": list(timing.instants) or None,
        "dst_gap": timing.dst_gap.value,
        "dst_overlap": timing.dst_overlap.value,
        "starts_at": timing.starts_at,
        "ends_at": timing.ends_at,
        "jitter_seconds": round(timing.jitter.total_seconds()),
        "active_hours": timing.active_hours,
        "active_days": timing.active_days,
        "excluded_days": timing.excluded_days,
        "overlap_policy": policy.overlap.value,
        "catch_up": policy.catch_up.value,
        "catch_up_window_seconds": round(policy.catch_up_window.total_seconds()),
        "max_runs": policy.max_runs,
        "pause_after_failures": policy.pause_after_failures,
    }
