"""Calendars of days off, on their owner's behalf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from rota.domain.errors import ChangedMeanwhileError, ConflictError, NotFoundError
from rota.domain.ids import CalendarId, UserId
from rota.domain.schedules.calendars import Calendar, CalendarDay
from rota.domain.text.storable import storable_text
from rota.services.schedules.calendar_files import day_summary, read_icalendar
from rota.services.schedules.service import check_name
from rota.store.database import Connection, Database
from rota.store.schedules import calendars as rows

Seen: TypeAlias = tuple[CalendarDay, ...] | None
"""The days of a calendar as a person saw them; None: there was none of that name."""

YEARS_AHEAD: Final = 20
"""So far events that recur are expanded when a file is imported."""

_YEAR: Final = timedelta(days=366)


class CalendarService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def import_file(
        self,
        user_id: UserId,
        name: str,
        data: bytes,
        source: str,
        *,
        seen: Seen | Literal["any"] = "any",
    ) -> Calendar:
        """Make the all-day events of an iCalendar file the days of a calendar.

        An earlier calendar of that name keeps its schedules and takes these days. Raises
        InvalidInputError, and ChangedMeanwhileError as `put`.
        """
        check_name(name)
        today = self._clock().date()
        until = today + YEARS_AHEAD * _YEAR
        # It may take seconds, in which others are served.
        file = await asyncio.to_thread(read_icalendar, data, first=today - _YEAR, last=until)
        async with self._database.acting_as(user_id) as conn:
            if seen != "any":
                await self._as_seen(conn, user_id, name, seen)
            calendar_id = await rows.upsert_calendar(
                conn,
                user_id=user_id,
                name=name,
                source=day_summary(source),
                covers_until=until if file.recurs else None,
            )
            await rows.replace_days(conn, calendar_id, user_id, file.days)
            return await self._find(conn, name)

    async def put(
        self, user_id: UserId, name: str, days: Sequence[CalendarDay], *, seen: Seen
    ) -> Calendar:
        """Make these the days of a calendar, which is made if its person saw none.

        ChangedMeanwhileError: its days are not those that the person saw.
        """
        check_name(name)
        async with self._database.acting_as(user_id) as conn:
            calendar_id = await self._as_seen(conn, user_id, name, seen)
            await rows.upsert_calendar(
                conn, user_id=user_id, name=name, source="", covers_until=None
            )
            await rows.replace_days(conn, calendar_id, user_id, _named(days))
            return await self._find(conn, name)

    async def add_days(self, user_id: UserId, name: str, days: Sequence[CalendarDay]) -> Calendar:
        """Add days to a calendar, which is made if there is none of that name."""
        check_name(name)
        async with self._database.acting_as(user_id) as conn:
            calendar_id = await rows.lock_calendar(conn, storable_text(name))
            if calendar_id is None:
                calendar_id = await rows.upsert_calendar(
                    conn, user_id=user_id, name=name, source="", covers_until=None
                )
            await rows.add_days(conn, calendar_id, user_id, _named(days))
            return await self._find(conn, name)

    async def remove_day(self, user_id: UserId, name: str, day: CalendarDay) -> None:
        """Remove the entry of just these days; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, name)
            if not await rows.remove_day(conn, found.id, day):
                raise NotFoundError("day off", f"{day.first}..{day.last}")

    async def all(self, user_id: UserId) -> tuple[Calendar, ...]:
        """Return the person's calendars by name."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_calendars(conn, today=self._clock().date())

    async def page(
        self, user_id: UserId, *, after: str | None, limit: int, counted: bool = False
    ) -> tuple[tuple[Calendar, ...], int | None]:
        """Return the person's calendars by name from after a name on, and how many there are."""
        today = self._clock().date()
        async with self._database.acting_as(user_id) as conn:
            found = await rows.list_calendars(conn, today=today, after=after, limit=limit)
            return found, await rows.count_calendars(conn) if counted else None

    async def find(
        self, user_id: UserId, name: str
    ) -> tuple[Calendar, tuple[CalendarDay, ...]] | None:
        """Return a calendar and its days, None where there is none."""
        today = self._clock().date()
        async with self._database.acting_as(user_id) as conn:
            found = await rows.list_calendars(conn, today=today, name=storable_text(name))
            return (found[0], await rows.list_days(conn, found[0].id)) if found else None

    async def get(self, user_id: UserId, name: str) -> tuple[Calendar, tuple[CalendarDay, ...]]:
        """Return a calendar and its days; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, name)
            return found, await rows.list_days(conn, found.id)

    async def remove(
        self, user_id: UserId, name: str, *, seen: Seen | Literal["any"] = "any"
    ) -> None:
        """Delete a calendar; raises NotFoundError, and ConflictError while schedules keep it.

        ChangedMeanwhileError: as `put`.
        """
        async with self._database.acting_as(user_id) as conn:
            calendar_id = await rows.lock_calendar(conn, storable_text(name))
            if calendar_id is None:
                raise _not_found(name)
            if seen != "any":
                await self._as_seen(conn, user_id, name, seen)
            users = await rows.schedules_of_calendar(conn, calendar_id)
            if users:
                raise ConflictError(
                    f"{name} is kept by {', '.join(users)}. Change them first: "
                    "`rota schedules edit SCHEDULE --except-calendar none`."
                )
            await rows.delete_calendar(conn, calendar_id)

    async def _as_seen(
        self, conn: Connection, user_id: UserId, name: str, seen: Seen
    ) -> CalendarId:
        """Lock a calendar, or make it where none was seen; return its id if it is as it was."""
        found = await rows.lock_calendar(conn, storable_text(name))
        if found is None and seen is None:
            found = await rows.insert_calendar(conn, user_id=user_id, name=name)
        elif found is not None and seen != await rows.list_days(conn, found):
            found = None
        if found is None:
            raise ChangedMeanwhileError(f"{name} was changed meanwhile. Read it again.")
        return found

    async def _find(self, conn: Connection, name: str) -> Calendar:
        today = self._clock().date()
        found = await rows.list_calendars(conn, today=today, name=storable_text(name))
        if not found:
            raise _not_found(name)
        return found[0]


def _named(days: Sequence[CalendarDay]) -> list[CalendarDay]:
    return [replace(day, summary=day_summary(day.summary)) for day in days]


def _not_found(name: str) -> NotFoundError:
    return NotFoundError("calendar", name, hint="See `rota calendars list`.")
