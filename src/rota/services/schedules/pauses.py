"""Pausing all schedules of a person for a while, and resuming them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.schedule import Schedule
from rota.domain.schedules.written_time import parse_duration, parse_moment
from rota.domain.text.storable import storable_text
from rota.domain.text.zones import zone_shown
from rota.services.schedules.service import ScheduleService
from rota.store import users
from rota.store.database import Database
from rota.store.schedules import pauses as rows


class PauseService:
    """Acts as the person. A pause begins and ends by the database's clock.

    A fire time in a pause is skipped: it gets an occurrence with the reason, and is not caught up
    later. Runs under way continue. A person may still start a run by hand.
    """

    def __init__(
        self, database: Database, schedules: ScheduleService, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._schedules = schedules
        self._clock = clock

    async def get(self, user_id: UserId) -> Pause | None:
        """Return the pause that a person has, or is to have; None where nothing is paused."""
        async with self._database.acting_as(user_id) as conn:
            found = (await rows.pauses_of_people(conn, [user_id]))[user_id]
        return found[0] if found else None

    async def pause(
        self,
        user_id: UserId,
        *,
        start: str | None = None,
        until: str | None = None,
        length: str | None = None,
        note: str | None = None,
    ) -> Pause:
        """Pause everything, in place of the pause that there was; without a note it keeps that one.

        From now or `start`, `until` a time as people write it in the person's zone, or for a
        `length` such as "2w"; without either until it is resumed. Raises InvalidInputError.
        """
        if until is not None and length is not None:
            raise InvalidInputError(
                "Give the end or the length of the pause, not both.", field="for"
            )
        async with self._database.acting_as(user_id) as conn:
            zone = zone_shown(await users.fetch_time_zone(conn, user_id))
            starts_at = self._moment(start, zone, field="from")
            ends_at = self._moment(until, zone, field="until")
            if length is not None:
                ends_at = _end(starts_at or self._clock(), length)
            said = None if note is None else " ".join(storable_text(note).split())
            await rows.pause_everything(conn, note=said, starts_at=starts_at, ends_at=ends_at)
            return (await rows.pauses_of_people(conn, [user_id]))[user_id][0]

    async def resume(self, user_id: UserId) -> bool:
        """End a pause, one to come too; returns whether there was one."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.resume_everything(conn)

    async def schedules_without_fire(self, user_id: UserId) -> tuple[Schedule, ...]:
        """Return the active schedules that have no fire time left after the pause."""
        active = [s for s in await self._schedules.all(user_id) if s.state == "active"]
        ahead = await self._schedules.upcoming(user_id, active, runs=1)
        pause = await self.get(user_id)
        if pause is None or pause.ends_at is None:
            return ()
        return tuple(
            schedule
            for schedule, fires in zip(active, ahead, strict=True)
            if any(pause.covers(fire.fire_time) for fire in fires)
            and all(fire.suppressed is not None for fire in fires)
        )

    def _moment(self, written: str | None, zone: ZoneInfo, *, field: str) -> datetime | None:
        if written is None:
            return None
        return parse_moment(written, zone, now=self._clock(), field=field, alone="future")


def _end(start: datetime, length: str) -> datetime:
    """Return when a pause ends: of an hour or more on a full minute, of less on a full second."""
    read = parse_duration(length, field="for")
    if not read:
        raise InvalidInputError("The end of a pause must be after its beginning.", field="for")
    unit = timedelta(minutes=1) if read >= timedelta(hours=1) else timedelta(seconds=1)
    end = start + read
    past = timedelta(seconds=end.timestamp() % unit.total_seconds())
    return end if not past else (end - past + unit).replace(microsecond=0)
