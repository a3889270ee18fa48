"""Calendars of days off, on their owner's behalf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rota.domain.errors import ConflictError, NotFoundError
from rota.domain.ids import UserId
from rota.domain.schedules.calendars import Calendar, CalendarDay
from rota.domain.text.storable import storable_text
from rota.services.schedules.calendar_files import day_summary, read_icalendar
from rota.services.schedules.service import check_name
from rota.store.database import Connection, Database
from rota.store.schedules import calendars as rows

YEARS_AHEAD: Final = 20
"""So far events that recur are expanded when a file is imported."""

_YEAR: Final = timedelta(days=366)


class CalendarService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def import_file(self, user_id: UserId, name: str, data: bytes, source: str) -> Calendar:
        """Make the all-day events of an iCalendar file the days of a calendar.

        An earlier calendar of that name keeps its schedules and takes these days. Raises
        InvalidInputError.
        """
        check_name(name)
        today = self._clock().date()
        file = read_icalendar(data, first=today - _YEAR, last=today + YEARS_AHEAD * _YEAR)
        async with self._database.acting_as(user_id) as conn:
            calendar_id = await rows.upsert_calendar(
                conn,
                user_id=user_id,
                name=name,
                source=day_summary(source),
                covers_until=today + YEARS_AHEAD * _YEAR if file.recurs else None,
            )
            await rows.replace_days(conn, calendar_id, user_id, file.days)
            return await self._find(conn, name)

    async def add_days(self, user_id: UserId, name: str, days: Sequence[CalendarDay]) -> Calendar:
        """Add days to a calendar, which is made if there is none of that name."""
        check_name(name)
        async with self._database.acting_as(user_id) as conn:
            known = await rows.list_calendars(conn, today=self._clock().date(), name=name)
            calendar_id = (
                known[0].id
                if known
                else await rows.upsert_calendar(
                    conn, user_id=user_id, name=name, source="", covers_until=None
                )
            )
            named = [replace(day, summary=day_summary(day.summary)) for day in days]
            await rows.add_days(conn, calendar_id, user_id, named)
            return await self._find(conn, name)

    async def all(self, user_id: UserId) -> tuple[Calendar, ...]:
        """Return the person's calendars by name."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_calendars(conn, today=self._clock().date())

    async def get(self, user_id: UserId, name: str) -> tuple[Calendar, tuple[CalendarDay, ...]]:
        """Return a calendar and its days; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, name)
            return found, await rows.list_days(conn, found.id)

    async def remove(self, user_id: UserId, name: str) -> None:
        """Delete a calendar; raises NotFoundError, and ConflictError while schedules keep it."""
        async with self._database.acting_as(user_id) as conn:
            calendar_id = await rows.lock_calendar(conn, storable_text(name))
            if calendar_id is None:
                raise _not_found(name)
            users = await rows.schedules_of_calendar(conn, calendar_id)
            if users:
                raise ConflictError(
                    f"{name} is kept by {', '.join(users)}. Change them first: "
                    "`rota schedules edit SCHEDULE --except-calendar none`."
                )
            await rows.delete_calendar(conn, calendar_id)

    async def _find(self, conn: Connection, name: str) -> Calendar:
        today = self._clock().date()
        found = await rows.list_calendars(conn, today=today, name=storable_text(name))
        if not found:
            raise _not_found(name)
        return found[0]


def _not_found(name: str) -> NotFoundError:
    return NotFoundError("calendar", name, hint="See `rota calendars list`.")
