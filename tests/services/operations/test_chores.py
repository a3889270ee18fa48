"""Chores that nobody awaits go on, and keep nothing else from being done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from rota.services.operations.chores import Chore, cancel, repeat
from rota.services.operations.scheduler_loop import SchedulerLoop
from tests.services.harness import clock


async def test_work_that_fails_is_told_of_and_done_again():
    done = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal done
        done += 1
        if done == 3:
            enough.set()
        raise KeyError("a chain")

    with structlog.testing.capture_logs() as logs:
        loop = asyncio.create_task(repeat(Chore("count", 0, work)))
        async with asyncio.timeout(5):
            await enough.wait()
        await cancel(loop)

    told = [line for line in logs if line["event"] == "chore_failed"]
    assert len(told) >= 2
    assert told[0]["chore"] == "count"
    assert told[0]["exc_info"]


async def test_chore_that_fails_or_hangs_stops_no_other_and_no_fire(workshop):
    done = asyncio.Event()

    async def fail() -> None:
        raise KeyError("a chain")

    async def finish() -> None:
        done.set()

    stop = asyncio.Event()
    loop = SchedulerLoop(
        workshop.database,
        workshop.scheduler(),
        clock=clock,
        chores=[Chore("fail", 0.01, fail), Chore("hang", 0, stop.wait), Chore("do", 60, finish)],
    )
    await workshop.schedule(every_seconds=1, anchor_at=datetime(2026, 1, 1, tzinfo=UTC))
    running = asyncio.create_task(loop.run(stop))
    async with asyncio.timeout(30):
        await done.wait()
        while not await workshop.rows("schedule_occurrences"):
            await asyncio.sleep(0.02)
    stop.set()
    await running
