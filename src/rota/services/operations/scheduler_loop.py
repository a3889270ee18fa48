"""The scheduler's loop: asleep until the next fire time, woken by NOTIFY, wary of the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from rota.domain.errors import UnavailableError
from rota.domain.operations.processes import SILENT_AFTER
from rota.engine.admission import admit, requeue_lost
from rota.services.approvals.expiry import LOOK_EVERY as EXPIRE_EVERY
from rota.services.approvals.expiry import ApprovalTimes
from rota.services.audit.sealing import SEAL_EVERY, AuditSealer
from rota.services.operations.periodic import cancel, first_of, repeat, reporting
from rota.services.operations.retention import LOOK_EVERY, RetentionService
from rota.services.operations.watch import PING_EVERY, DeadMansSwitch
from rota.services.schedules.firing import Scheduler
from rota.store.database import WAKE_CHANNEL, Database, listen

LONGEST_SLEEP: Final = 15.0
"""Seconds after which the scheduler looks at the wall clock again, whatever it waits for: laptops
suspend, and connections die half."""

UNHEARD_SLEEP: Final = 1.0
"""Seconds between looks where LISTEN is not heard (a transaction pooler drops it)."""

ADMISSION_SLEEP: Final = 0.2
"""Seconds between looks while runs wait for room in the queue."""

LOCKED_SLEEP: Final = 0.05
"""Seconds between looks at what somebody else has locked: a due schedule, or admission."""

SWEEP_EVERY: Final = 30.0
LOST_AFTER: Final = 60.0
"""Seconds after which a queued run without a job counts as lost."""

log = structlog.get_logger(__name__)


class SchedulerLoop:
    """Runs a Scheduler by the wall clock; outlives a database that goes away and comes back."""

    def __init__(
        self,
        database: Database,
        scheduler: Scheduler,
        *,
        clock: Callable[[], datetime],
        dead_mans_switch: DeadMansSwitch | None = None,
        retention: RetentionService | None = None,
        approval_times: ApprovalTimes | None = None,
        audit_sealer: AuditSealer | None = None,
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._clock = clock
        self._dead_mans_switch = dead_mans_switch
        self._retention = retention
        self._approval_times = approval_times
        self._audit_sealer = audit_sealer
        self._ticked: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Fire schedules and admit runs until `stop` is set."""
        async with reporting(self._database, "scheduler", ticked_ago=self._ticked_ago):
            heard = await self._database.hears_notifications()
            if not heard:
                log.warning(
                    "listen_unheard",
                    hint="notifications do not arrive (a transaction pooler?); polling each "
                    "second. Set ROTA_DATABASE_LISTEN_URL to a direct connection.",
                )
            wake = asyncio.Event()
            listener = asyncio.create_task(self._listen(wake))
            sweeper = asyncio.create_task(repeat(SWEEP_EVERY, self._sweep_lost))
            pinger = asyncio.create_task(repeat(PING_EVERY / 4, self._ping))
            pruner = asyncio.create_task(repeat(LOOK_EVERY, self._prune))
            expirer = asyncio.create_task(repeat(EXPIRE_EVERY, self._expire))
            sealer = asyncio.create_task(repeat(SEAL_EVERY, self._seal))
            try:
                while not stop.is_set():
                    wake.clear()
                    delay = await self._tick(LONGEST_SLEEP if heard else UNHEARD_SLEEP)
                    await first_of(stop, wake, seconds=delay)
            finally:
                await cancel(listener, sweeper, pinger, pruner, expirer, sealer)

    async def admit_only(self, stop: asyncio.Event) -> None:
        """Admit waiting runs until `stop` is set, and fire nothing."""
        while not stop.is_set():
            async with self._database.transaction() as conn:
                await admit(conn)
            await first_of(stop, seconds=ADMISSION_SLEEP)

    async def _tick(self, longest: float) -> float:
        """Look at the clock once; returns the seconds to sleep."""
        try:
            tick = await self._scheduler.tick(self._clock())
        except UnavailableError as error:
            log.warning("scheduler_lost_database", error=str(error))
            return 1.0
        self._ticked = time.monotonic()
        delays = [longest]
        if tick.admission_locked:
            delays.append(LOCKED_SLEEP)
        elif tick.runs_waiting:
            # Found half empty, the queue may run dry before the next look.
            delays.append(0.0 if tick.queue_ran_low else ADMISSION_SLEEP)
        if tick.next_run_in is not None:
            delays.append(max(0.0, tick.next_run_in))
        if tick.next_fire_at is not None:
            until = (tick.next_fire_at - self._clock()).total_seconds()
            # What is due and was not taken is locked: by another scheduler, or by an editor.
            soonest = 0.0 if tick.fired or tick.planned else LOCKED_SLEEP
            delays.append(max(until, soonest if until <= 0 else 0.0))
        return min(delays)

    async def _listen(self, wake: asyncio.Event) -> None:
        """Set `wake` at each NOTIFY; reconnects for ever."""
        while True:
            try:
                async with self._database.dedicated(listening=True) as conn:
                    await listen(conn, WAKE_CHANNEL)
                    wake.set()  # whatever came while nobody listened
                    async for _ in conn.notifies():
                        wake.set()
            except UnavailableError as error:
                log.warning("listener_lost_database", error=str(error))
            await asyncio.sleep(1.0)

    def _ticked_ago(self) -> float | None:
        return time.monotonic() - self._ticked if self._ticked is not None else None

    async def _ping(self) -> None:
        ago = self._ticked_ago()
        if self._dead_mans_switch is not None and ago is not None and ago < SILENT_AFTER:
            await self._dead_mans_switch.ping()

    async def _prune(self) -> None:
        if self._retention is not None:
            await self._retention.prune_hourly(self._clock())

    async def _expire(self) -> None:
        if self._approval_times is not None:
            await self._approval_times.look()

    async def _seal(self) -> None:
        if self._audit_sealer is not None:
            await self._audit_sealer.seal(self._clock())

    async def _sweep_lost(self) -> None:
        async with self._database.transaction() as conn:
            requeued = await requeue_lost(conn, older_than_seconds=LOST_AFTER)
        if requeued:
            log.warning("runs_requeued", count=requeued)
