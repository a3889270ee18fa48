"""Loops that nobody awaits go on."""

from __future__ import annotations

import asyncio

import structlog

from rota.services.operations.periodic import cancel, repeat


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
        loop = asyncio.create_task(repeat(0, work))
        async with asyncio.timeout(5):
            await enough.wait()
        await cancel(loop)

    told = [line for line in logs if line["event"] == "background_task_failed"]
    assert len(told) >= 2
    assert told[0]["exc_info"]
