"""The queue and the worker loop, on PgQueuer, behind a narrow port: enqueue, run, stop.

Delivery is at least once: if a worker is silent for the lease, its job goes to another worker. So
the handler of a job needs a fencing token. The migration `queue` makes PgQueuer's tables and
channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Self
from uuid import UUID

from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import FailingListenerError, RetryRequested
from pgqueuer.domain.models import Job
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import NotifyCallback

from rota.domain.errors import RotaError, UnavailableError
from rota.domain.ids import RunId
from rota.domain.runs.priority import BEGUN
from rota.engine.notifications import NotificationFilter
from rota.engine.pace import Pace
from rota.engine.patience import Patience
from rota.store.database import Connection, Database, listen
from rota.store.errors import domain_errors
from rota.store.runs.admission import raise_job

ENTRYPOINT: Final = "rota.run"
LEASE: Final = timedelta(seconds=10)
"""A worker silent for longer loses its jobs to others."""


def queue_settings() -> DBSettings:
    """PgQueuer's names as our migration has them, whatever PGQUEUER_* the environment holds."""
    return DBSettings(
        prefix="",
        db_schema="rota",
        durability=Durability.balanced,
        channel=Channel("rota_queue"),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
    )


async def enqueue(conn: Connection, runs: Sequence[tuple[RunId, int]]) -> None:
    """Queue runs, (id, priority) in order, in the transaction that `conn` holds.

    A run that is queued already is not queued twice.
    """
    if not runs:
        return
    await _queries(PsycopgDriver(conn)).enqueue(
        [ENTRYPOINT] * len(runs),
        [str(run_id).encode() for run_id, _ in runs],
        [priority for _, priority in runs],
        dedupe_key=[str(run_id) for run_id, _ in runs],
        on_conflict="skip",
    )


class HandedOverError(Exception):
    """Raised by a handler that stopped on purpose: the job goes back to the queue.

    It is taken again at once, or after `delay`.
    """

    def __init__(self, delay: timedelta = timedelta(0)) -> None:
        super().__init__("handed over")
        self.delay = delay


Handler = Callable[[RunId], Awaitable[None]]


class QueueWorker:
    """Takes jobs from the queue and hands each run's id to a handler."""

    def __init__(
        self,
        database: Database,
        *,
        concurrency: int,
        come_round: Callable[[], Awaitable[None]] | None = None,
        lease: timedelta = LEASE,
    ) -> None:
        self._database = database
        self._concurrency = concurrency  # at least 2: PgQueuer takes half of it at a time
        self._pace = Pace(come_round or _at_once)
        self._running = 0
        self._lease = lease
        self.patience = Patience("worker_lost_database")

    async def run(self, handler: Handler, stop: asyncio.Event) -> None:
        """Work until `stop` is set and the jobs under way have ended.

        A database that hands out no jobs is waited for with `patience`, beside the jobs under way.
        Raises UnavailableError when a connection is lost; call again, as patiently.
        """
        # Behind a transaction pooler nothing is heard, ever: then silence is no fault.
        heard = await self._database.hears_notifications()
        async with (
            self._database.dedicated() as conn,
            self._database.dedicated(listening=True) as listener,
        ):
            driver = _SplitDriver(conn, listener)
            queries = _PatientQueries(driver, qbe=_ENVIRONMENT, qbq=_QUEUE, qbs=_SCHEDULER)
            queries.wait_with(
                self.patience,
                stop,
                lambda: conn.closed,
                lambda: self._pace.next_step(lambda: self._running, stop),
            )
            manager = QueueManager(queries, channel=queue_settings().channel)
            driver.probes = lambda: list(manager.pending_health_check)

            @manager.entrypoint(ENTRYPOINT, accepts_context=False)
            async def _(job: Job) -> None:
                self._running += 1
                try:
                    await handler(RunId(UUID((job.payload or b"").decode())))
                except HandedOverError as error:
                    await self._raise(job)
                    raise RetryRequested(error.delay, reason="handed over") from error
                finally:
                    self._running -= 1

            # PgQueuer notifies itself at start to see whether it hears. Its LISTEN goes by another
            # connection than its NOTIFY and may come second; then it waits in vain for ten seconds.
            await listen(listener, queue_settings().channel)
            stopper = asyncio.create_task(_stop_when(stop, manager))
            try:
                await manager.run(
                    # Wake-ups come by NOTIFY; this bounds the wait where one is lost.
                    dequeue_timeout=timedelta(seconds=5),
                    batch_size=max(1, self._concurrency // 2),
                    max_concurrent_tasks=self._concurrency,
                    heartbeat_timeout=self._lease,
                    shutdown_on_listener_failure=heard,
                    # Statistics that nothing of ours reads would grow without end.
                    log_aggregation_interval=timedelta(0),
                )
            except FailingListenerError as error:
                raise UnavailableError(
                    "The worker no longer hears the database.", service="database"
                ) from error
            finally:
                stopper.cancel()
                with suppress(asyncio.CancelledError):
                    await stopper

    async def _raise(self, job: Job) -> None:
        """Put a job that has begun before all others; where that fails it keeps its place."""
        with suppress(RotaError):
            async with self._database.connection() as conn:
                await raise_job(conn, job.id, priority=BEGUN)


class _PatientQueries(Queries):
    """Waits and tries again while the database fails, where PgQueuer's own loop would end.

    PgQueuer would wait for the jobs under way, maybe for hours, and take no other job meanwhile.
    """

    def wait_with(
        self,
        patience: Patience,
        stop: asyncio.Event,
        is_cut: Callable[[], bool],
        next_step: Callable[[], Awaitable[int]],
    ) -> None:
        self._patience, self._stop, self._is_cut = patience, stop, is_cut
        self._next_step = next_step

    async def dequeue(self, batch_size: int, *args: Any, **kwargs: Any) -> list[Job]:
        if not (step := await self._next_step()):
            return []
        try:
            jobs = await super().dequeue(min(batch_size, step), *args, **kwargs)
        except RotaError as error:
            if self._is_cut():
                raise
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience.failed(error)):
                    await self._stop.wait()
            return []
        self._patience.succeeded()
        return jobs


class _SplitDriver(PsycopgDriver):
    """Listens on a connection of its own, so that no query waits for a notification to come.

    Errors of the database are raised as in the rest of the store (store/errors.py).
    """

    def __init__(self, connection: Connection, listener: Connection) -> None:
        super().__init__(connection)
        self._listening = PsycopgDriver(listener)
        self._filters: dict[NotifyCallback, NotificationFilter] = {}
        self.probes: Callable[[], Sequence[object]] = tuple  # of PgQueuer's that are under way

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        with domain_errors():
            return await super().fetch(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        with domain_errors():
            return await super().execute(query, *args)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        heard = NotificationFilter(channel, callback, self._probes_under_way)
        self._filters[callback] = heard
        await self._listening.add_listener(channel, heard)

    def _probes_under_way(self) -> Sequence[object]:
        return self.probes()

    async def remove_listener(self, channel: str, callback: NotifyCallback) -> None:
        await self._listening.remove_listener(channel, self._filters.pop(callback))

    async def __aenter__(self) -> Self:
        await self._listening.__aenter__()
        await super().__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await super().__aexit__(*exc_info)
        await self._listening.__aexit__(*exc_info)


async def _at_once() -> None:
    """Have no loop to wait for."""


async def _stop_when(stop: asyncio.Event, manager: QueueManager) -> None:
    await stop.wait()
    manager.shutdown.set()


_SETTINGS: Final = queue_settings()
_ENVIRONMENT: Final = qb.QueryBuilderEnvironment(settings=_SETTINGS)
_QUEUE: Final = qb.QueryQueueBuilder(settings=_SETTINGS)
_SCHEDULER: Final = qb.QuerySchedulerBuilder(settings=_SETTINGS)


def _queries(driver: PsycopgDriver) -> Queries:
    return Queries(driver, qbe=_ENVIRONMENT, qbq=_QUEUE, qbs=_SCHEDULER)
