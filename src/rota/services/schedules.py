"""Schedules on their owner's behalf: added, read, paused, resumed, removed, previewed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg

from rota.domain.cron import CronSchedule
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import UserId
from rota.domain.schedules import Schedule
from rota.store import agents as agent_rows
from rota.store import schedules as rows
from rota.store import users
from rota.store.database import Connection, Database
from rota.store.schedules import Occurrence

SHORTEST_PREFIX = 4
"""Characters of an id that are enough, if they fit one alone."""


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What a person says of a schedule. `time_zone` None follows the person's own zone."""

    name: str
    agent_name: str
    cron: str
    time_zone: str | None = None
    prompt: str | None = None
    catch_up_window_seconds: int = 3_600


class ScheduleService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def add(self, user_id: UserId, new: NewSchedule) -> Schedule:
        """Store a schedule; raises InvalidInputError, NotFoundError, ConflictError.

        The agent must be there for this person. Name and cron are checked as the scheduler reads
        them.
        """
        check_name(new.name)
        async with self._database.acting_as(user_id) as conn:
            if await agent_rows.fetch_agent(conn, new.agent_name, user_id) is None:
                raise NotFoundError("agent", new.agent_name, hint="See `rota agents list`.")
            zone = new.time_zone or await users.fetch_time_zone(conn, user_id)
            CronSchedule.parse(new.cron, zone)
            try:
                async with conn.transaction():
                    schedule_id = await rows.insert_schedule(
                        conn,
                        user_id=user_id,
                        name=new.name,
                        agent_name=new.agent_name,
                        cron=new.cron,
                        time_zone=new.time_zone,
                        prompt=new.prompt,
                        catch_up_window_seconds=new.catch_up_window_seconds,
                    )
            except psycopg.errors.UniqueViolation as error:
                raise ConflictError(
                    f"There is a schedule named {new.name!r} already; choose another --name."
                ) from error
            added = await rows.fetch_schedule(conn, schedule_id)
        if added is None:  # inserted in this very transaction
            raise RuntimeError("insert_schedule left no row")
        return added

    async def all(self, user_id: UserId) -> tuple[Schedule, ...]:
        """Return the person's schedules by name."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_schedules(conn)

    async def get(self, user_id: UserId, reference: str) -> Schedule:
        """Return a schedule by name, id, or the beginning of its id; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            return await self._find(conn, reference)

    async def occurrences(
        self, user_id: UserId, schedule: Schedule, *, limit: int
    ) -> tuple[Occurrence, ...]:
        """Return what became of a schedule's latest fire times, newest first."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_occurrences(conn, schedule.id, limit=limit)

    async def pause(self, user_id: UserId, reference: str, note: str = "") -> Schedule:
        """Pause a schedule; one that is paused already keeps its note unless a new one is given."""
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, reference)
            await rows.set_active(conn, found.id, active=False, note=note or found.pause_note)
            return await self._find(conn, str(found.id))

    async def resume(self, user_id: UserId, reference: str) -> Schedule:
        """Resume a schedule: it fires next in the future, never a time that has passed."""
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, reference)
            found.rule()
            await rows.set_active(conn, found.id, active=True, note=None)
            return await self._find(conn, str(found.id))

    async def remove(self, user_id: UserId, reference: str) -> Schedule:
        """Delete a schedule and return it; its results stay."""
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, reference)
            await rows.delete_schedule(conn, found.id)
            return found

    async def zone(self, user_id: UserId) -> str:
        """Return the person's own zone."""
        async with self._database.acting_as(user_id) as conn:
            return await users.fetch_time_zone(conn, user_id)

    async def set_zone(self, user_id: UserId, time_zone: str) -> None:
        """Set the person's own zone; schedules that follow it are planned anew."""
        CronSchedule.parse("0 0 * * *", time_zone)
        async with self._database.acting_as(user_id) as conn:
            await users.set_time_zone(conn, user_id, time_zone)

    def preview(self, cron: str, time_zone: str, count: int) -> list[datetime]:
        """Return the next fires (aware, UTC) of a rule from now; raises InvalidInputError."""
        return CronSchedule.parse(cron, time_zone).fires_after(self._clock(), count)

    async def _find(self, conn: Connection, reference: str) -> Schedule:
        found = await rows.find_schedules(conn, reference)
        named = [s for s in found if reference in {s.name, str(s.id)}]
        if len(named) == 1:
            return named[0]
        if not found or len(reference) < SHORTEST_PREFIX:
            raise NotFoundError("schedule", reference, hint="See `rota schedules list`.")
        if len(found) > 1:
            raise InvalidInputError(f"{reference!r} fits more than one schedule; write more of it.")
        return found[0]


def check_name(name: str) -> None:
    """Raise InvalidInputError for a name that the database would refuse."""
    if not name or len(name) > 100 or name != name.strip() or not name.isprintable():
        raise InvalidInputError(
            f"The name {name!r} must be one line of 1 to 100 characters, without spaces around it.",
            field="name",
        )
