"""Rows of schedules and their occurrences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row

from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.notifications import Category
from rota.domain.schedules import MissedFires, Schedule
from rota.store.database import Connection
from rota.store.statements import statement


@dataclass(frozen=True, slots=True)
class Fire:
    """A fire to write: its occurrence and the waiting run that it leads to."""

    run_id: RunId
    schedule: Schedule
    fire_time: datetime
    is_catch_up: bool


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What became of a fire time, or of a range of missed ones."""

    fire_time: datetime
    last_fire_time: datetime | None
    fire_count: int | None
    outcome: str
    reason: str
    run_id: UUID | None
    result_status: str | None


async def claim_unplanned(conn: Connection, *, limit: int) -> tuple[Schedule, ...]:
    """Lock active schedules without a next fire time; other schedulers skip them."""
    return await _schedules(conn, "claim_unplanned_schedules", {"limit": limit})


async def claim_due(conn: Connection, *, now: datetime, limit: int) -> tuple[Schedule, ...]:
    """Lock active schedules that are due at `now`, the longest due first; others skip them."""
    return await _schedules(conn, "claim_due_schedules", {"now": now, "limit": limit})


async def next_fire_time(conn: Connection) -> datetime | None:
    """Return the earliest fire time of all active schedules."""
    cursor = await conn.execute(statement("next_fire_time"))
    row = await cursor.fetchone()
    return row[0] if row is not None else None


async def set_next_fires(
    conn: Connection, plans: Sequence[tuple[ScheduleId, datetime | None]]
) -> None:
    """Set the next fire times; a schedule that never fires again is paused with a note."""
    await conn.execute(
        statement("set_next_fires"),
        {"ids": [plan[0] for plan in plans], "next_fires": [plan[1] for plan in plans]},
    )


async def pause(conn: Connection, schedule_id: ScheduleId, note: str) -> bool:
    """Pause an active schedule; False if it is paused or gone."""
    cursor = await conn.execute(
        statement("pause_schedule"), {"schedule_id": schedule_id, "note": note}
    )
    return cursor.rowcount > 0


async def insert_fires(conn: Connection, fires: Sequence[Fire]) -> None:
    """Write runs and their occurrences; a fire time that has a row already writes neither."""
    await conn.execute(
        statement("insert_fires"),
        {
            "run_ids": [f.run_id for f in fires],
            "user_ids": [f.schedule.user_id for f in fires],
            "schedule_ids": [f.schedule.id for f in fires],
            "fire_times": [f.fire_time for f in fires],
            "agent_names": [f.schedule.agent_name for f in fires],
            "prompts": [f.schedule.prompt or "" for f in fires],
            "triggers": ["catch_up" if f.is_catch_up else "schedule" for f in fires],
        },
    )


async def insert_missed(conn: Connection, missed: Sequence[tuple[Schedule, MissedFires]]) -> None:
    """Write rows for fire times that nobody ran."""
    await conn.execute(
        statement("insert_missed"),
        {
            "schedule_ids": [s.id for s, _ in missed],
            "user_ids": [s.user_id for s, _ in missed],
            "fire_times": [m.first for _, m in missed],
            "last_fire_times": [m.last if m.count != 1 else None for _, m in missed],
            "fire_counts": [m.count for _, m in missed],
            "reasons": [m.reason for _, m in missed],
        },
    )


async def fetch_schedule(conn: Connection, schedule_id: ScheduleId) -> Schedule | None:
    """Return a schedule, or None; under row-level security only one's own."""
    found = await _schedules(conn, "fetch_schedule", {"schedule_id": schedule_id})
    return found[0] if found else None


async def insert_schedule(
    conn: Connection,
    *,
    user_id: UserId,
    name: str,
    agent_name: str,
    cron: str,
    time_zone: str | None,
    prompt: str | None,
    catch_up_window_seconds: int,
) -> ScheduleId:
    """Insert a schedule and return its id; raises UniqueViolation for a name that is taken."""
    cursor = await conn.execute(
        statement("insert_schedule"),
        {
            "user_id": user_id,
            "name": name,
            "agent_name": agent_name,
            "cron": cron,
            "time_zone": time_zone,
            "prompt": prompt,
            "catch_up_window_seconds": catch_up_window_seconds,
        },
    )
    row = await cursor.fetchone()
    if row is None:  # INSERT ... RETURNING of one row always returns it
        raise RuntimeError("insert_schedule returned no row")
    return ScheduleId(row[0])


async def update_schedule(
    conn: Connection,
    schedule_id: ScheduleId,
    *,
    agent_name: str,
    cron: str,
    time_zone: str | None,
    prompt: str | None,
) -> None:
    """Change a schedule; a changed rule is planned anew from the present."""
    await conn.execute(
        statement("update_schedule"),
        {
            "schedule_id": schedule_id,
            "agent_name": agent_name,
            "cron": cron,
            "time_zone": time_zone,
            "prompt": prompt,
        },
    )


async def list_schedules(conn: Connection) -> tuple[Schedule, ...]:
    """Return the schedules that the transaction's person sees, by name."""
    return await _schedules(conn, "list_schedules", {})


async def find_schedules(conn: Connection, reference: str) -> tuple[Schedule, ...]:
    """Return those of the transaction's person with this name, or whose id begins so."""
    return await _schedules(
        conn, "find_schedules", {"reference": reference, "prefix": reference.lower()}
    )


async def set_active(
    conn: Connection, schedule_id: ScheduleId, *, active: bool, note: str | None
) -> None:
    """Pause or resume a schedule."""
    await conn.execute(
        statement("set_schedule_active"),
        {"schedule_id": schedule_id, "active": active, "note": note},
    )


async def delete_schedule(conn: Connection, schedule_id: ScheduleId) -> None:
    """Delete a schedule; its occurrences go with it, its runs and results stay."""
    await conn.execute(statement("delete_schedule"), {"schedule_id": schedule_id})


async def list_occurrences(
    conn: Connection, schedule_id: ScheduleId, *, limit: int
) -> tuple[Occurrence, ...]:
    """Return a schedule's occurrences, newest first."""
    async with conn.cursor(row_factory=class_row(Occurrence)) as cursor:
        await cursor.execute(
            statement("list_occurrences"), {"schedule_id": schedule_id, "limit": limit}
        )
        return tuple(await cursor.fetchall())


async def _schedules(
    conn: Connection, name: str, parameters: Mapping[str, Any]
) -> tuple[Schedule, ...]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement(name), parameters)
        return tuple(schedule_from_row(row) for row in await cursor.fetchall())


def schedule_from_row(row: Mapping[str, Any]) -> Schedule:
    """Make the value from the columns that every schedule query selects."""
    return Schedule(
        id=ScheduleId(row["id"]),
        user_id=UserId(row["user_id"]),
        name=row["name"],
        agent_name=row["agent_name"],
        prompt=row["prompt"],
        cron=row["cron"],
        time_zone=row["time_zone"],
        follows_owner_zone=row["follows_owner_zone"],
        result_category=Category(row["result_category"]),
        catch_up_window=timedelta(seconds=row["catch_up_window_seconds"]),
        is_active=row["is_active"],
        pause_note=row["pause_note"],
        next_fire_at=row["next_fire_at"],
        created_at=row["created_at"],
    )
