"""Firing: plans schedules, claims due ones, writes occurrences and runs, and admits runs.

Any number of schedulers may run at once: rows are claimed with SKIP LOCKED, and claim, occurrence,
waiting run and next fire time commit together.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from rota.domain.errors import InvalidInputError
from rota.domain.ids import RunId, ScheduleId
from rota.domain.notifications import Category
from rota.domain.schedules import MissedFires, Schedule, plan_fires
from rota.engine.admission import AHEAD, admit
from rota.services.notification_service import NotificationService
from rota.store import runs as run_rows
from rota.store import schedules as rows
from rota.store.database import Connection, Database
from rota.store.schedules import Fire

BATCH: Final = 500
"""Schedules that one transaction claims: few enough that a crash repeats little."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """What one look at the clock led to."""

    planned: int
    fired: int
    missed: int
    admitted: int
    next_fire_at: datetime | None
    runs_waiting: bool


class Scheduler:
    """Fires what is due at a given instant. Holds no state: the rows are the state."""

    def __init__(
        self, database: Database, notifications: NotificationService, *, ahead: int = AHEAD
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._ahead = ahead

    async def tick(self, now: datetime) -> Tick:
        """Plan, fire and admit everything that is due at `now` (aware)."""
        planned = await self._plan_all(now)
        fired = missed = admitted = 0
        while True:
            async with self._database.transaction() as conn:
                due = await rows.claim_due(conn, now=now, limit=BATCH)
                if not due:
                    break
                batch_fired, batch_missed = await self._fire(conn, due, now)
                fired, missed = fired + batch_fired, missed + batch_missed
                admitted += await admit(conn, ahead=self._ahead)
        async with self._database.transaction() as conn:
            admitted += await admit(conn, ahead=self._ahead)
            return Tick(
                planned=planned,
                fired=fired,
                missed=missed,
                admitted=admitted,
                next_fire_at=await rows.next_fire_time(conn),
                runs_waiting=await run_rows.any_waiting(conn),
            )

    async def _plan_all(self, now: datetime) -> int:
        planned = 0
        while True:
            async with self._database.transaction() as conn:
                found = await rows.claim_unplanned(conn, limit=BATCH)
                if not found:
                    return planned
                plans: list[tuple[ScheduleId, datetime | None]] = []
                for schedule in found:
                    try:
                        plans.append((schedule.id, schedule.rule().next_after(now)))
                    except InvalidInputError as error:
                        await self._pause_invalid(conn, schedule, error)
                await rows.set_next_fires(conn, plans)
                planned += len(plans)

    async def _fire(
        self, conn: Connection, due: tuple[Schedule, ...], now: datetime
    ) -> tuple[int, int]:
        fires: list[Fire] = []
        missed: list[tuple[Schedule, MissedFires]] = []
        next_fires: list[tuple[ScheduleId, datetime | None]] = []
        for schedule in due:
            if schedule.next_fire_at is None:  # claim_due selects by it
                continue
            try:
                plan = plan_fires(
                    schedule.rule(),
                    due_since=schedule.next_fire_at,
                    window=schedule.catch_up_window,
                    now=now,
                )
            except InvalidInputError as error:
                await self._pause_invalid(conn, schedule, error)
                continue
            missed += [(schedule, item) for item in plan.missed]
            next_fires.append((schedule.id, plan.next_fire_at))
            if plan.fire_time is not None:
                run_id = RunId(uuid.uuid4())
                fires.append(Fire(run_id, schedule, plan.fire_time, plan.is_catch_up))
        await rows.insert_fires(conn, fires)
        await rows.insert_missed(conn, missed)
        await rows.set_next_fires(conn, next_fires)
        if missed:
            log.warning("fires_missed", count=len(missed))
        return len(fires), len(missed)

    async def _pause_invalid(
        self, conn: Connection, schedule: Schedule, error: InvalidInputError
    ) -> None:
        """Pause a schedule that cannot be planned, and tell its owner."""
        await rows.pause(conn, schedule.id, error.message)
        await self._notifications.notify_user(
            schedule.user_id,
            f"{schedule.name} is paused",
            f"The schedule cannot be planned: {error.message}",
            category=Category.ERROR,
            metadata={"schedule_id": str(schedule.id)},
            conn=conn,
        )
        log.warning("schedule_paused", schedule_id=str(schedule.id), reason=error.message)
