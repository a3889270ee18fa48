"""Rows of calendars, their days off, and the schedules that use them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from rota.domain.errors import NotFoundError
from rota.domain.ids import CalendarId, ScheduleId, UserId
from rota.domain.schedules.calendars import Calendar, CalendarDay
from rota.domain.schedules.timing import NamedDay
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.statements import Row, execute, has_effect, many, value, value_or_none, values

_DAY: Final = timedelta(days=1)
"""Zones differ by about as much from UTC."""


async def upsert_calendar(
    conn: Connection, *, user_id: UserId, name: str, source: str, covers_until: date | None
) -> CalendarId:
    """Write a calendar without its days and return its id."""
    return await value(
        conn,
        "schedules/upsert_calendar",
        CalendarId,
        user_id=user_id,
        name=name,
        source=source,
        covers_until=covers_until,
    )


async def insert_calendar(conn: Connection, *, user_id: UserId, name: str) -> CalendarId | None:
    """Write a new calendar without days and return its id; None if one of that name is there."""
    return await value_or_none(
        conn, "schedules/insert_calendar", CalendarId, user_id=user_id, name=name
    )


async def remove_day(conn: Connection, calendar_id: CalendarId, day: CalendarDay) -> bool:
    """Delete the entry of just these days; False if there is none."""
    return await has_effect(
        conn,
        "schedules/delete_calendar_day",
        calendar_id=calendar_id,
        first=day.first,
        last=day.last,
    )


async def replace_days(
    conn: Connection, calendar_id: CalendarId, user_id: UserId, days: Sequence[CalendarDay]
) -> None:
    """Make these the days of a calendar."""
    await execute(conn, "schedules/delete_calendar_days", calendar_id=calendar_id)
    await add_days(conn, calendar_id, user_id, days)


async def add_days(
    conn: Connection, calendar_id: CalendarId, user_id: UserId, days: Sequence[CalendarDay]
) -> None:
    """Add days to a calendar; one that is there already takes the new summary."""
    unique = {(day.first, day.last): day for day in days}.values()
    await execute(
        conn,
        "schedules/insert_calendar_days",
        calendar_id=calendar_id,
        user_id=user_id,
        first_days=[day.first for day in unique],
        last_days=[day.last for day in unique],
        summaries=[day.summary for day in unique],
    )


async def list_calendars(
    conn: Connection,
    *,
    today: date,
    name: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> tuple[Calendar, ...]:
    """Return the calendars of the transaction's person by name, or the one of that name."""
    return await many(
        conn,
        "schedules/list_calendars",
        Calendar,
        today=today,
        name=name,
        after=after,
        limit=limit,
    )


async def count_calendars(conn: Connection) -> int:
    """Return how many calendars the transaction's person has."""
    return await value(conn, "schedules/count_calendars", int)


async def list_days(conn: Connection, calendar_id: CalendarId) -> tuple[CalendarDay, ...]:
    """Return the days of a calendar, earliest first."""
    return await many(conn, "schedules/list_calendar_days", CalendarDay, calendar_id=calendar_id)


async def list_all_days(conn: Connection) -> dict[CalendarId, tuple[CalendarDay, ...]]:
    """Return the days of all calendars of the transaction's person, earliest first."""
    found: dict[CalendarId, list[CalendarDay]] = defaultdict(list)
    for row in await many(conn, "schedules/list_all_calendar_days", Row):
        found[row["calendar_id"]].append(read(CalendarDay, row))
    return {calendar_id: tuple(days) for calendar_id, days in found.items()}


async def lock_calendar(conn: Connection, name: str) -> CalendarId | None:
    """Keep schedules from taking a calendar until the transaction ends; None if there is none."""
    return await value_or_none(conn, "schedules/lock_calendar", CalendarId, name=name)


async def schedules_of_calendar(conn: Connection, calendar_id: CalendarId) -> tuple[str, ...]:
    """Return the names of the schedules that keep a calendar."""
    return await values(conn, "schedules/list_calendar_users", str, calendar_id=calendar_id)


async def delete_calendar(conn: Connection, calendar_id: CalendarId) -> None:
    """Delete a calendar and its days."""
    await execute(conn, "schedules/delete_calendar", calendar_id=calendar_id)


async def link_calendars(conn: Connection, schedule_id: ScheduleId, names: Collection[str]) -> None:
    """Make these the calendars that a schedule keeps; raises NotFoundError for an unknown one."""
    wanted = set(names)
    await execute(conn, "schedules/unlink_calendars", schedule_id=schedule_id, names=wanted)
    if not wanted:
        return
    linked = await values(
        conn, "schedules/link_calendars", str, schedule_id=schedule_id, names=wanted
    )
    if unknown := wanted.difference(linked):
        raise NotFoundError("calendar", min(unknown), hint="See `rota calendars list`.")


async def calendars_of_schedule(conn: Connection, schedule_id: ScheduleId) -> tuple[str, ...]:
    """Return the names of the calendars that a schedule keeps."""
    return await values(conn, "schedules/calendars_of_schedule", str, schedule_id=schedule_id)


async def calendars_of_schedules(conn: Connection) -> dict[ScheduleId, tuple[str, ...]]:
    """Return the names of the calendars that each schedule of the transaction's person keeps."""
    found = await many(conn, "schedules/list_schedule_calendars", Row)
    return {row["schedule_id"]: tuple(row["names"]) for row in found}


async def days_of_schedules(
    conn: Connection, schedule_ids: Sequence[ScheduleId], start: datetime, end: datetime
) -> dict[ScheduleId, tuple[NamedDay, ...]]:
    """Return the days off from `start` to `end` (aware) in any zone, by schedule."""
    found: dict[ScheduleId, list[NamedDay]] = defaultdict(list)
    for row in await many(
        conn,
        "schedules/days_of_schedules",
        Row,
        schedule_ids=schedule_ids,
        first=start.astimezone(UTC).date() - _DAY,
        last=end.astimezone(UTC).date() + _DAY,
    ):
        found[row["schedule_id"]].append((row["name"], read(CalendarDay, row)))
    return {schedule_id: tuple(days) for schedule_id, days in found.items()}
