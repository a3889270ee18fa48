"""The floor under any dispatch through the queue: a bare NOTIFY and dequeue, nothing done.

One process enqueues inside a transaction, another takes the job; a sample is from just before the
transaction to the handler's first instruction. PgQueuer's own schema, in a database of its own,
with the driver, durability and two connections that rota gives it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from typing import Self

import psycopg
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.ports.driver import NotifyCallback

ENTRYPOINT = "nothing"
WARM_UP = 20
_PATIENCE = 30.0


def measure_floor(url: str, gaps: Sequence[float]) -> list[float]:
    """Return a sample in seconds for each gap, which is how long to wait before it.

    `url` is of an empty database. Raises RuntimeError if a job was lost or came twice.
    """
    asyncio.run(_install(url))
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    count = WARM_UP + len(gaps)
    consumer = spawn.Process(target=_consume, args=(url, count, theirs), daemon=True)
    consumer.start()
    try:
        _expect(ours)
        asyncio.run(_enqueue_all(url, [0.05] * WARM_UP + list(gaps)))
        samples = _expect(ours)
    finally:
        consumer.terminate()
        consumer.join()
    if len(samples) != count:
        raise RuntimeError(f"{count} jobs were enqueued and {len(samples)} taken")
    return samples[WARM_UP:]


def _expect(pipe: Pipe) -> list[float]:
    if not pipe.poll(_PATIENCE):
        raise RuntimeError(f"the consumer was silent for {_PATIENCE:.0f} s")
    received: list[float] = pipe.recv()
    return received


async def _install(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await queries_on(PsycopgDriver(conn)).install()


async def _enqueue_all(url: str, gaps: Sequence[float]) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        queries = queries_on(PsycopgDriver(conn))
        for gap in gaps:
            await asyncio.sleep(gap)
            began = time.time()
            async with conn.transaction():
                await queries.enqueue(ENTRYPOINT, repr(began).encode())


def _consume(url: str, count: int, pipe: Pipe) -> None:
    asyncio.run(_consume_all(url, count, pipe))


async def _consume_all(url: str, count: int, pipe: Pipe) -> None:
    samples: list[float] = []
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as conn,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as listener,
    ):
        manager = QueueManager(queries_on(SplitDriver(conn, listener)))

        @manager.entrypoint(ENTRYPOINT, accepts_context=False)
        async def _(job: Job) -> None:
            samples.append(time.time() - float((job.payload or b"").decode()))
            if len(samples) == count:
                asyncio.get_running_loop().call_later(1.0, manager.shutdown.set)

        pipe.send([])
        await manager.run(dequeue_timeout=timedelta(seconds=5))
    pipe.send(samples)


def queries_on(driver: PsycopgDriver) -> Queries:
    """Return PgQueuer's statements, with the durability that rota gives it."""
    settings = DBSettings(durability=Durability.balanced)
    return Queries(
        driver,
        qbe=qb.QueryBuilderEnvironment(settings=settings),
        qbq=qb.QueryQueueBuilder(settings=settings),
        qbs=qb.QuerySchedulerBuilder(settings=settings),
    )


class SplitDriver(PsycopgDriver):
    """Listens on a connection of its own, so that no query waits for a notification to come."""

    def __init__(
        self, connection: psycopg.AsyncConnection, listener: psycopg.AsyncConnection
    ) -> None:
        super().__init__(connection)
        self._listening = PsycopgDriver(listener)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        await self._listening.add_listener(channel, callback)

    async def remove_listener(self, channel: str, callback: NotifyCallback) -> None:
        await self._listening.remove_listener(channel, callback)

    async def __aenter__(self) -> Self:
        await self._listening.__aenter__()
        await super().__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await super().__aexit__(*exc_info)
        await self._listening.__aexit__(*exc_info)
