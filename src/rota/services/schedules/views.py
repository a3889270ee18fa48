"""Schedules as people look at them: a list, one in detail, its past, and what lies ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.schedules.clock_notes import clock_notes
from rota.domain.schedules.forecast import NEXT_FIRES, Forecast, ForecastFire, UpcomingFire
from rota.domain.schedules.occurrences import LastRun, Occurrence, Outcome
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.schedule import Schedule, WhichSchedules
from rota.services.agents.option_checks import NOBODY_KNOWS, Registered
from rota.services.schedules.service import doubt_of, find_schedule, upcoming
from rota.store import users
from rota.store.database import Database
from rota.store.schedules import calendars as calendar_rows
from rota.store.schedules import pauses as pause_rows
from rota.store.schedules import rows

MOST_LISTED: Final = 1_000_000
"""As many as there are."""


@dataclass(frozen=True, slots=True)
class ListedSchedule:
    """A schedule with its next fires, up to the first that will run, and its last run."""

    schedule: Schedule
    fires: tuple[UpcomingFire, ...]
    last_run: LastRun | None


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """Schedules by name, all that there are if that was asked, and the pause of all of them."""

    listed: tuple[ListedSchedule, ...]
    count: int | None
    pause: Pause | None
    time_zone: str


@dataclass(frozen=True, slots=True)
class ScheduleDetail:
    """A schedule with what there is to know of it.

    `clock_notes` say what changes of the clock mean for it. `doubt` says what may not be as it was
    meant, as `ScheduleService.doubt`.
    """

    schedule: Schedule
    fires: tuple[UpcomingFire, ...]
    calendars: tuple[str, ...]
    last_run: LastRun | None
    occurrences: tuple[Occurrence, ...]
    clock_notes: tuple[str, ...]
    doubt: str | None


class ScheduleViewService:
    """Acts as the person. Each method is one transaction, whatever the number of schedules."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        registered: Registered = NOBODY_KNOWS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._registered = registered

    async def page(
        self,
        user_id: UserId,
        which: WhichSchedules,
        *,
        after: str | None = None,
        limit: int = MOST_LISTED,
        fetched: int | None = None,
        counted: bool = False,
    ) -> ScheduleList:
        """Return these schedules by name, from after a name on.

        `fetched` rows are read, to see whether there are more than `limit`; only of `limit` of them
        the next fires are worked out.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await rows.page_of_schedules(conn, which, after=after, limit=fetched or limit)
            shown = found[:limit]
            fires = await upcoming(conn, user_id, shown, now=self._clock(), runs=1)
            last_runs = await rows.list_last_runs(conn, [schedule.id for schedule in shown])
            pauses = await pause_rows.pauses_of_people(conn, [user_id])
            zone = await users.fetch_time_zone(conn, user_id)
            count = await rows.count_schedules(conn, which) if counted else None
        last = {one.schedule_id: one for one in last_runs}
        ahead = [*fires, *[()] * (len(found) - len(shown))]
        listed = tuple(
            ListedSchedule(schedule, near, last.get(schedule.id))
            for schedule, near in zip(found, ahead, strict=True)
        )
        return ScheduleList(listed, count, next(iter(pauses[user_id]), None), zone)

    async def detail(
        self, user_id: UserId, reference: str, *, runs: int = NEXT_FIRES, occurrences: int = 10
    ) -> ScheduleDetail:
        """Return a schedule by name, id, or the beginning of its id; raises NotFoundError.

        With the fires up to the last of `runs` that will run, and the latest occurrences.
        """
        now = self._clock()
        async with self._database.acting_as(user_id) as conn:
            found = await find_schedule(conn, reference)
            (fires,) = await upcoming(conn, user_id, [found], now=now, runs=runs)
            last = await rows.list_last_runs(conn, [found.id])
            return ScheduleDetail(
                found,
                fires,
                await calendar_rows.calendars_of_schedule(conn, found.id),
                next(iter(last), None),
                await rows.page_of_occurrences(conn, found.id, limit=occurrences),
                _clock_notes(found, now),
                await doubt_of(conn, user_id, found, self._registered),
            )

    async def occurrences(
        self,
        user_id: UserId,
        reference: str,
        *,
        outcome: Outcome | None,
        before: datetime | None,
        limit: int,
        counted: bool = False,
    ) -> tuple[Schedule, tuple[Occurrence, ...], int | None]:
        """Return a schedule, and its occurrences from before a fire time on, newest first."""
        async with self._database.acting_as(user_id) as conn:
            found = await find_schedule(conn, reference)
            past = await rows.page_of_occurrences(
                conn, found.id, outcome=outcome, before=before, limit=limit
            )
            count = (
                await rows.count_occurrences(conn, found.id, outcome=outcome) if counted else None
            )
            return found, past, count

    async def forecast(
        self,
        user_id: UserId,
        which: WhichSchedules,
        *,
        until: datetime,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> tuple[ForecastFire, ...]:
        """Return the fires of all active schedules up to `until`, by time and name.

        `after`: those that come after this fire time and name.
        """
        now = self._clock()
        active = WhichSchedules(which.agent_name, "active", which.prefix)
        async with self._database.acting_as(user_id) as conn:
            found = await rows.page_of_schedules(conn, active, after=None, limit=MOST_LISTED)
            asking = [schedule.id for schedule in found if schedule.uses_calendars]
            days_off = await calendar_rows.days_of_schedules(conn, asking, now, until)
            pauses = await pause_rows.pauses_of_people(conn, [user_id])
        forecast = Forecast(found, days_off, pauses[user_id], now=now, until=until)
        # With a thousand schedules it takes a while, in which others are served.
        return await asyncio.to_thread(forecast.page, after=after, limit=limit)


def _clock_notes(schedule: Schedule, now: datetime) -> tuple[str, ...]:
    try:
        return clock_notes(schedule.timing, now)
    except InvalidInputError:  # written past rota; whoever shows its rule says so
        return ()
