"""The two long-lived loops, scheduler and worker, and what they do between events.

No state in memory that matters: kill either at any moment and start it anywhere.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import psycopg
import structlog

import rota
from rota.domain.errors import UnavailableError
from rota.domain.ids import RunId
from rota.domain.runs import Outcome, Run
from rota.domain.schedules import Schedule
from rota.engine.admission import requeue_lost
from rota.engine.agent_loop import AgentLoop
from rota.engine.queue import HandedOverError, QueueWorker
from rota.services.run_recorder import FencedError
from rota.services.scheduled_execution_service import ScheduledExecutionService
from rota.services.scheduler import Scheduler
from rota.store import processes
from rota.store import runs as run_rows
from rota.store import schedules as schedule_rows
from rota.store.database import WAKE_CHANNEL, Database
from rota.store.processes import Kind

LONGEST_SLEEP: Final = 15.0
"""Seconds after which the scheduler looks at the wall clock again, whatever it waits for: laptops
suspend, and connections die half."""

UNHEARD_SLEEP: Final = 1.0
"""Seconds between looks where LISTEN is not heard (a transaction pooler drops it)."""

ADMISSION_SLEEP: Final = 0.2
"""Seconds between looks while runs wait for room in the queue."""

STOP_GRACE: Final = 3.0
"""Seconds that runs under way have to finish when a worker stops; then they are handed over."""

REPORT_EVERY: Final = 5.0
SWEEP_EVERY: Final = 30.0
LOST_AFTER: Final = 60.0

log = structlog.get_logger(__name__)


class BackgroundTaskService:
    """Runs the scheduler and the worker of one process, either or both.

    `database` belongs to the calling loop; `execution` to the loop of `agents`.
    """

    def __init__(
        self,
        database: Database,
        *,
        scheduler: Scheduler,
        worker: QueueWorker,
        execution: ScheduledExecutionService,
        agent_database: Database,
        agents: AgentLoop,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._worker = worker
        self._execution = execution
        self._agent_database = agent_database
        self._agents = agents
        self._clock = clock

    async def run_scheduler(self, stop: asyncio.Event) -> None:
        """Fire schedules until `stop` is set; outlives a database that goes away and comes back."""
        async with self._reporting("scheduler"):
            heard = await self._database.hears_notifications()
            if not heard:
                log.warning(
                    "listen_unheard",
                    hint="notifications do not arrive (a transaction pooler?); polling each "
                    "second. Set ROTA_DATABASE_LISTEN_URL to a direct connection.",
                )
            wake = asyncio.Event()
            listener = asyncio.create_task(self._listen(wake))
            sweeper = asyncio.create_task(self._every(SWEEP_EVERY, self._sweep_lost))
            try:
                while not stop.is_set():
                    wake.clear()
                    delay = await self._tick(UNHEARD_SLEEP if not heard else LONGEST_SLEEP)
                    await _first_of(stop, wake, seconds=delay)
            finally:
                await _cancel(listener, sweeper)

    async def run_worker(self, stop: asyncio.Event) -> None:
        """Execute queued runs until `stop` is set, then hand over what is still under way."""
        overdue = asyncio.Event()
        async with self._reporting("worker"):
            sweeper = asyncio.create_task(self._every(SWEEP_EVERY, self._sweep_notifications))
            deadline = asyncio.create_task(_set_after(stop, overdue, STOP_GRACE))
            try:
                await self._keep_working(stop, overdue)
            finally:
                await _cancel(sweeper, deadline)

    async def _keep_working(self, stop: asyncio.Event, overdue: asyncio.Event) -> None:
        async def handle(run_id: RunId) -> None:
            await self._take_until(run_id, overdue)

        while not stop.is_set():
            try:
                await self._worker.run(handle, stop)
            except (psycopg.OperationalError, UnavailableError) as error:
                log.warning("worker_lost_database", error=str(error))
                await _first_of(stop, seconds=1.0)

    async def _take_until(self, run_id: RunId, overdue: asyncio.Event) -> None:
        """Take a run; when the worker stops and grace is over, hand it to another."""
        work = asyncio.ensure_future(self._agents.run(self._take(run_id)))
        limit = asyncio.ensure_future(overdue.wait())
        try:
            await asyncio.wait({work, limit}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            work.cancel()
            await asyncio.wait({work})
            log.info("run_handed_over", run_id=str(run_id))
            raise HandedOverError
        finally:
            await _cancel(limit, work)

    async def _take(self, run_id: RunId) -> None:
        """Execute a queued run, on the agents' loop."""
        async with self._agent_database.connection() as conn:
            run = await run_rows.fetch_run(conn, run_id)
            if run is None:  # its owner was deleted, and it with them
                return
            schedule = (
                await schedule_rows.fetch_schedule(conn, run.schedule_id)
                if run.schedule_id is not None
                else None
            )
        try:
            await self._execute_scheduled_agent(schedule, run)
        except FencedError:
            log.warning("run_fenced", run_id=str(run_id))

    async def _execute_scheduled_agent(
        self, schedule: Schedule | None, run: Run | None = None
    ) -> Outcome:
        """Hand a schedule's run to ScheduledExecutionService (SPEC-003, AC-9).

        `schedule` is None for a run that belongs to none, or whose schedule was deleted since.
        """
        if schedule is not None:
            return await self._execution.execute(schedule, run)
        if run is None:
            raise ValueError("a schedule or a run is needed")
        return await self._execution.execute_run(run)

    async def _tick(self, longest: float) -> float:
        """Look at the clock once; returns the seconds to sleep."""
        try:
            tick = await self._scheduler.tick(self._clock())
        except (psycopg.OperationalError, UnavailableError) as error:
            log.warning("scheduler_lost_database", error=str(error))
            return 1.0
        if tick.runs_waiting:
            return ADMISSION_SLEEP
        if tick.next_fire_at is None:
            return longest
        until = (tick.next_fire_at - self._clock()).total_seconds()
        return min(longest, max(0.0, until))

    async def _listen(self, wake: asyncio.Event) -> None:
        """Set `wake` at each NOTIFY; reconnects for ever."""
        while True:
            try:
                async with self._database.dedicated(listening=True) as conn:
                    await conn.execute(f"LISTEN {WAKE_CHANNEL}")
                    wake.set()  # whatever came while nobody listened
                    async for _ in conn.notifies():
                        wake.set()
            except (psycopg.OperationalError, UnavailableError) as error:
                log.warning("listener_lost_database", error=str(error))
            await asyncio.sleep(1.0)

    async def _sweep_lost(self) -> None:
        async with self._database.transaction() as conn:
            requeued = await requeue_lost(conn, older_than_seconds=LOST_AFTER)
        if requeued:
            log.warning("runs_requeued", count=requeued)

    async def _sweep_notifications(self) -> None:
        written = await self._agents.run(self._execution.write_missing_notifications())
        if written:
            log.info("late_notifications_written", count=written)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (psycopg.Error, UnavailableError) as error:
                log.warning("background_task_failed", error=str(error))
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def _reporting(self, kind: Kind) -> AsyncIterator[None]:
        """Keep this process's row in `rota.processes` fresh for the life of the block."""
        process_id = uuid.uuid4()

        async def report() -> None:
            async with self._database.connection() as conn:
                await processes.report(
                    conn,
                    process_id,
                    kind=kind,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    version=rota.__version__,
                )

        await report()
        reporter = asyncio.create_task(self._every(REPORT_EVERY, report))
        try:
            yield
        finally:
            await _cancel(reporter)
            try:
                async with self._database.connection() as conn:
                    await processes.forget(conn, process_id)
            except (psycopg.Error, UnavailableError):
                log.warning("process_row_left", kind=kind)


async def _set_after(stop: asyncio.Event, overdue: asyncio.Event, seconds: float) -> None:
    await stop.wait()
    await asyncio.sleep(seconds)
    overdue.set()


async def _first_of(*events: asyncio.Event, seconds: float) -> None:
    """Return when any event is set, or after `seconds`."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await _cancel(*waits)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
