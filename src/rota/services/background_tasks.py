"""A process's part in the work: the scheduler's loop, the worker's loop, or both.

No state in memory that matters: kill either at any moment and start it anywhere.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
import structlog

from rota.domain.errors import ConflictError, UnavailableError
from rota.domain.ids import RunId
from rota.domain.runs import Outcome, Run
from rota.domain.schedules import Schedule
from rota.engine.agent_loop import AgentLoop
from rota.engine.queue import HandedOverError, QueueWorker
from rota.services.periodic import cancel, first_of, repeat, reporting
from rota.services.run_recorder import FencedError
from rota.services.scheduled_execution_service import ScheduledExecutionService
from rota.services.scheduler_loop import SchedulerLoop
from rota.services.watch import CHECK_EVERY, SchedulerWatch
from rota.store import runs as run_rows
from rota.store import schedules as schedule_rows
from rota.store.database import Database

STOP_GRACE: Final = 3.0
"""Seconds that runs under way have to finish when a worker stops; then they are handed over."""

SWEEP_EVERY: Final = 30.0

CANCEL_CHECK_EVERY: Final = 1.0
"""Seconds after which a worker hears at the latest that a run of its own is to stop."""

log = structlog.get_logger(__name__)


class BackgroundTaskService:
    """Runs the scheduler and the worker of one process, either or both.

    `database` belongs to the calling loop; `execution` and `agent_database` to that of `agents`.
    """

    def __init__(
        self,
        database: Database,
        *,
        scheduler_loop: SchedulerLoop,
        worker: QueueWorker,
        execution: ScheduledExecutionService,
        agent_database: Database,
        agents: AgentLoop,
        watch: SchedulerWatch,
    ) -> None:
        self._database = database
        self._scheduler_loop = scheduler_loop
        self._worker = worker
        self._execution = execution
        self._agent_database = agent_database
        self._agents = agents
        self._watch = watch
        self._under_way: dict[RunId, asyncio.Event] = {}

    async def run_scheduler(self, stop: asyncio.Event) -> None:
        """Fire schedules until `stop` is set."""
        await self._scheduler_loop.run(stop)

    async def run_admission(self, stop: asyncio.Event) -> None:
        """Admit waiting runs until `stop` is set, and fire nothing."""
        await self._scheduler_loop.admit_only(stop)

    async def run_worker(self, stop: asyncio.Event) -> None:
        """Execute queued runs until `stop` is set, then hand over what is still under way."""
        overdue = asyncio.Event()
        async with reporting(self._database, "worker"):
            sweeper = asyncio.create_task(repeat(SWEEP_EVERY, self._sweep_notifications))
            canceller = asyncio.create_task(repeat(CANCEL_CHECK_EVERY, self._check_cancelled))
            watcher = asyncio.create_task(repeat(CHECK_EVERY, self._watch.check))
            deadline = asyncio.create_task(_set_after(stop, overdue, STOP_GRACE))
            try:
                await self._keep_working(stop, overdue)
            finally:
                await cancel(sweeper, canceller, watcher, deadline)

    async def _keep_working(self, stop: asyncio.Event, overdue: asyncio.Event) -> None:
        async def handle(run_id: RunId) -> None:
            await self._take_until(run_id, overdue)

        while not stop.is_set():
            try:
                await self._worker.run(handle, stop)
            except (psycopg.OperationalError, UnavailableError) as error:
                log.warning("worker_lost_database", error=str(error))
                await first_of(stop, seconds=1.0)

    async def _take_until(self, run_id: RunId, overdue: asyncio.Event) -> None:
        """Take a run; end it when it is cancelled; hand it to another when the worker stops."""
        cancelled = self._under_way.setdefault(run_id, asyncio.Event())
        work = asyncio.ensure_future(self._agents.run(self._take(run_id)))
        signals = [asyncio.ensure_future(event.wait()) for event in (cancelled, overdue)]
        try:
            await asyncio.wait({work, *signals}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            work.cancel()
            await asyncio.wait({work})
            if cancelled.is_set():  # its result is stored, or will be by whoever takes it next
                log.info("run_cancelled", run_id=str(run_id))
                return
            log.info("run_handed_over", run_id=str(run_id))
            raise HandedOverError
        finally:
            self._under_way.pop(run_id, None)
            await cancel(*signals, work)

    async def _check_cancelled(self) -> None:
        if not self._under_way:
            return
        async with self._database.connection() as conn:
            for run_id in await run_rows.cancel_requests(conn, list(self._under_way)):
                if (event := self._under_way.get(run_id)) is not None:
                    event.set()

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
        except ConflictError:
            log.info("run_was_cancelled", run_id=str(run_id))

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

    async def _sweep_notifications(self) -> None:
        written = await self._agents.run(self._execution.write_missing_notifications())
        if written:
            log.info("late_notifications_written", count=written)


async def _set_after(stop: asyncio.Event, overdue: asyncio.Event, seconds: float) -> None:
    await stop.wait()
    await asyncio.sleep(seconds)
    overdue.set()
