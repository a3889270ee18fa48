"""Runs the scheduler's loop, the worker's loop, or both, in one process.

All state is in the database: a process can be killed at any time and started again anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import structlog

from rota.domain.errors import RotaError, SuspendedError, UnavailableError
from rota.domain.ids import RunId
from rota.domain.runs.run import FencedError, Outcome, RowsLockedError, Run
from rota.domain.schedules.schedule import Schedule
from rota.engine.agent_loop import CANCEL_GRACE, Work
from rota.engine.queue import HandedOverError, QueueWorker
from rota.services.operations.agent_hosts import AgentHost, AgentHosts
from rota.services.operations.chores import Chore, cancel, first_of, repeat, reporting
from rota.services.operations.health import CHECK_EVERY, SchedulerWatch
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.services.runs.intake import TakenRun
from rota.services.runs.scheduled_execution_service import ScheduledExecutionService
from rota.store.database import Database
from rota.store.runs import rows as run_rows

STOP_GRACE: Final = 3.0
"""Seconds that runs under way have to finish when a worker stops; then they are handed over."""

SWEEP_EVERY: Final = 30.0

CANCEL_CHECK_EVERY: Final = 1.0
"""Seconds after which a worker hears at the latest that a run of its own is to stop."""

CANCELLED_WITHIN: Final = 0.75
"""Seconds that a cancelled run has to store what it has; then another attempt does it."""

LOCKED_FOR: Final = timedelta(seconds=30)
"""How long a run goes back to the queue whose rows somebody keeps locked."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _UnderWay:
    """A run that this process executes. `stopped` is the reason why it has to stop."""

    host: AgentHost
    work: Work[None]
    stopped: Literal["cancelled", "handed over"] | None = None

    def stop(self, why: Literal["cancelled", "handed over"], *, grace: float) -> None:
        """Cancel it, and give it up where it has not ended after `grace` seconds."""
        if self.stopped is None:
            self.stopped = why
            self.work.cancel()
            asyncio.get_running_loop().call_later(grace, self.work.done.cancel)


class BackgroundTaskService:
    """Runs the scheduler and the worker of one process, either or both.

    `database` belongs to the calling event loop. The service that executes runs has its own pool,
    on `hosts`. The worker does the `chores` beside its own. `settings` are the names of this
    process's settings, and `key_ids` gives the fingerprints of its keys, for `rota doctor`.
    """

    def __init__(
        self,
        database: Database,
        *,
        scheduler_loop: SchedulerLoop,
        worker: QueueWorker,
        hosts: AgentHosts,
        watch: SchedulerWatch,
        chores: Sequence[Chore] = (),
        settings: Sequence[str] | None = None,
        key_ids: Callable[[], Sequence[str] | None] = lambda: None,
    ) -> None:
        self._chores = chores
        self._settings = settings
        self._key_ids = key_ids
        self._database = database
        self._scheduler_loop = scheduler_loop
        self._worker = worker
        self._hosts = hosts
        self._watch = watch
        self._under_way: dict[RunId, _UnderWay] = {}

    async def run_scheduler(self, stop: asyncio.Event) -> None:
        """Fire schedules until `stop` is set."""
        await self._scheduler_loop.run(stop)

    async def run_admission(self, stop: asyncio.Event) -> None:
        """Admit waiting runs until `stop` is set, and fire nothing."""
        await self._scheduler_loop.admit_only(stop)

    async def run_worker(self, stop: asyncio.Event) -> None:
        """Execute queued runs until `stop` is set, then hand over what is still under way."""
        async with reporting(
            self._database, "worker", settings=self._settings, key_ids=self._key_ids
        ):
            chores = (
                Chore("write missing notifications", SWEEP_EVERY, self._write_missing),
                Chore("stop cancelled runs", CANCEL_CHECK_EVERY, self._stop_cancelled),
                Chore("watch the scheduler", CHECK_EVERY, self._watch.check),
                *self._chores,
            )
            helpers = (
                *(asyncio.create_task(repeat(chore)) for chore in chores),
                asyncio.create_task(self._hosts.watch(self._hand_over_host)),
                asyncio.create_task(self._hand_over_after(stop)),
            )
            for helper in helpers:
                helper.add_done_callback(_log_failure)
            try:
                await self._keep_working(stop)
            finally:
                await cancel(*helpers)

    async def _keep_working(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._worker.run(self._execute, stop)
            except RotaError as error:
                await first_of(stop, seconds=self._worker.patience.failed(error))

    async def _execute(self, run_id: RunId) -> None:
        """Execute a queued run; raises HandedOverError when another worker is to go on with it."""
        host = self._hosts.current
        entry = _UnderWay(host, host.loop.begin(self._take(host.execution, run_id)))
        self._under_way[run_id] = entry
        try:
            await entry.work.done
        except RowsLockedError as error:
            log.warning("run_kept_back", run_id=str(run_id), reason=error.message)
            raise HandedOverError(LOCKED_FOR) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if entry.stopped is None and (task is None or task.cancelling()):
                entry.work.cancel()
                raise
            # A cancelled run that did not end in time is another attempt's to end.
            log.info("run_handed_over", run_id=str(run_id), why=entry.stopped or "cut off")
            raise HandedOverError from None
        finally:
            if self._under_way.get(run_id) is entry:
                del self._under_way[run_id]

    async def _hand_over_after(self, stop: asyncio.Event) -> None:
        """Hand over what is still under way a while after `stop`, for as long as there is some."""
        await stop.wait()
        while True:
            await asyncio.sleep(STOP_GRACE)
            self._hand_over(self._under_way.values())

    def _hand_over_host(self, host: AgentHost) -> None:
        self._hand_over([entry for entry in self._under_way.values() if entry.host is host])

    def _hand_over(self, entries: Iterable[_UnderWay]) -> None:
        for entry in entries:
            entry.stop("handed over", grace=CANCEL_GRACE)

    async def _stop_cancelled(self) -> None:
        if not self._under_way:
            return
        async with self._database.connection() as conn:
            for run_id in await run_rows.cancel_requests(conn, list(self._under_way)):
                if (entry := self._under_way.get(run_id)) is not None:
                    log.info("run_cancelled", run_id=str(run_id))
                    entry.stop("cancelled", grace=CANCELLED_WITHIN)

    async def _take(self, execution: ScheduledExecutionService, run_id: RunId) -> None:
        """Execute a queued run, on the agents' loop."""
        taken: TakenRun | None = None
        try:
            taken = await execution.take(run_id)
            if taken is None:  # over already, or its owner was deleted and it with them
                return
            await self._execute_scheduled_agent(
                taken.schedule, taken.run, taken=taken, execution=execution
            )
        except FencedError:
            log.warning("run_fenced", run_id=str(run_id))
        except SuspendedError:
            return  # its owner decides how it goes on
        except (UnavailableError, RowsLockedError):  # its job is lost and made anew, or comes back
            raise
        except Exception as error:  # noqa: BLE001  whatever its rows hold, it ends here: nothing takes it again and again
            await execution.set_aside(run_id, error, taken.claim.token if taken else None)

    async def _execute_scheduled_agent(
        self,
        schedule: Schedule | None,
        run: Run | None = None,
        *,
        taken: TakenRun | None = None,
        execution: ScheduledExecutionService | None = None,
    ) -> Outcome:
        """Hand a schedule's run to ScheduledExecutionService (SPEC-003, AC-9).

        `schedule` is None for a run that belongs to none, or whose schedule was deleted since;
        `taken` is the hold on the run, where there is one already.
        """
        execution = execution or self._hosts.current.execution
        if schedule is not None:
            return await execution.execute(schedule, run, taken=taken)
        if run is None:
            raise ValueError("a schedule or a run is needed")
        return await execution.execute_run(run, taken=taken)

    async def _write_missing(self) -> None:
        host = self._hosts.current
        written = await host.loop.run(host.execution.write_missing_notifications())
        if written:
            log.info("late_notifications_written", count=written)


def _log_failure(helper: asyncio.Task[None]) -> None:
    """Nobody awaits a helper while the worker works: what broke it is to be read in the log."""
    if not helper.cancelled() and (error := helper.exception()) is not None:
        log.error("worker_helper_failed", exc_info=error)
