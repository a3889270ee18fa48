"""The queue's worker hears the database from its first moment."""

from __future__ import annotations

import asyncio

from rota.engine.queue import QueueWorker


async def test_no_worker_misses_its_own_first_notification(workshop, capsys):
    """PgQueuer probes at start; a probe unheard costs ten seconds and the connection."""
    stop = asyncio.Event()

    async def handle(_run_id):
        raise AssertionError("there is no job")

    workers = [QueueWorker(workshop.database, concurrency=2) for _ in range(12)]
    tasks = [asyncio.create_task(worker.run(handle, stop)) for worker in workers]
    await asyncio.sleep(12)  # an unheard probe fails after ten
    stop.set()

    assert await asyncio.gather(*tasks) == [None] * len(workers)
