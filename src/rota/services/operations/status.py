"""The overview that `rota status` shows to one person.

It holds today's runs and usage, what waits for a decision or for a worker, the next fire times, and
whether schedulers and workers are alive. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from typing import Final

from rota.domain.ids import UserId
from rota.domain.operations.status import ComingFire, PausedSchedule, Status, System
from rota.domain.schedules.forecast import UpcomingFire
from rota.domain.schedules.schedule import Schedule
from rota.domain.text.zones import zone_shown
from rota.services.schedules.pauses import PauseService
from rota.services.schedules.service import ScheduleService
from rota.store import users
from rota.store.database import Database
from rota.store.operations import processes
from rota.store.operations import status as rows
from rota.version import __version__

MOST_SHOWN: Final = 5
"""Failures and fires that are named."""

OVERDUE_AFTER: Final = timedelta(minutes=1)


class StatusService:
    """Reads as the person. Everybody may know whether schedulers and workers are alive."""

    def __init__(
        self,
        database: Database,
        schedules: ScheduleService,
        pauses: PauseService,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._schedules = schedules
        self._pauses = pauses
        self._clock = clock

    async def system(self, *, for_operator: bool) -> System:
        """Return how rota itself is; with what concerns everybody, for an operator."""
        async with self._database.connection() as conn:
            alive = tuple(one for one in await processes.list_processes(conn) if one.is_alive)
            server = await processes.server_state(conn)
            silent_for, overdue = await processes.scheduler_silence(conn)
            queue = await rows.count_queue(conn) if for_operator else None
        kinds = {one.kind for one in alive}
        return System(
            now=self._clock(),
            version=__version__,
            is_writable=not (server.is_read_only or server.is_standby),
            is_scheduler_alive="scheduler" in kinds,
            is_worker_alive="worker" in kinds,
            scheduler_silent_for=silent_for,
            processes=alive,
            overdue_fires=overdue if for_operator else None,
            queue=queue,
        )

    async def server_url(self) -> str | None:
        """Return where a server that is alive is opened; None where there is none."""
        async with self._database.connection() as conn:
            known = await processes.list_processes(conn)
        return next((p.url for p in known if p.is_alive and p.url is not None), None)

    async def get(self, user_id: UserId) -> Status:
        """Return how things stand now; today begins at midnight of the person's zone."""
        now = self._clock()
        async with self._database.acting_as(user_id) as conn:
            name = await users.fetch_time_zone(conn, user_id)
            zone = zone_shown(name)
            day = now.astimezone(zone).date()
            since = datetime.combine(day, time(), zone)
            today = await rows.count_today(conn, user_id, since=since, day=day)
            failures = await rows.failures_since(conn, user_id, since=since, limit=MOST_SHOWN)
            waiting = await rows.count_waiting(conn, user_id)
        async with self._database.connection() as conn:
            alive = tuple(p for p in await processes.list_processes(conn) if p.is_alive)
        schedules = await self._schedules.all(user_id)
        active = [schedule for schedule in schedules if schedule.state == "active"]
        ahead = await self._schedules.upcoming(user_id, active, runs=1)
        return Status(
            now=now,
            time_zone=name,
            since=since,
            processes=alive,
            pause=await self._pauses.get(user_id),
            today=today,
            failures=failures,
            waiting=waiting,
            paused_schedules=tuple(
                PausedSchedule(schedule.name, schedule.pause_note or "")
                for schedule in schedules
                if schedule.state == "paused"
            ),
            overdue=tuple(
                schedule.name
                for schedule in active
                if schedule.next_fire_at is not None and schedule.next_fire_at < now - OVERDUE_AFTER
            ),
            next_fires=_merged(active, ahead),
        )


def _merged(
    schedules: Sequence[Schedule], ahead: Sequence[Sequence[UpcomingFire]]
) -> tuple[ComingFire, ...]:
    """Return the next fire of each that will run, the earliest first."""
    coming = [
        ComingFire(schedule.name, schedule.agent_name, _due(schedule, fire.fire_time))
        for schedule, fires in zip(schedules, ahead, strict=True)
        for fire in fires
        if fire.suppressed is None
    ]
    return tuple(sorted(coming, key=lambda fire: (fire.at, fire.schedule))[:MOST_SHOWN])


def _due(schedule: Schedule, fire_time: datetime) -> datetime:
    """Return when a fire is due: with its jitter as far as a scheduler has planned it."""
    is_planned = schedule.next_fire_at is not None and schedule.next_fire_time == fire_time
    return schedule.next_fire_at or fire_time if is_planned else fire_time
