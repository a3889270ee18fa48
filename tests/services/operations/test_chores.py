"""Chores that nobody awaits go on, and keep nothing else from being done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import structlog

from rota.domain.errors import SetupRequiredError, StatementError, UnavailableError
from rota.services.operations.chores import Chore, cancel, repeat, reporting
from rota.services.operations.scheduler_loop import SchedulerLoop
from tests.services.harness import clock


@pytest.mark.parametrize(
    ("error", "level", "has_trace"),
    [
        (KeyError("a chain"), "error", True),
        (UnavailableError("Away.", service="database"), "warning", False),
        (SetupRequiredError("No folder.", what="mail_folder"), "error", False),
        (StatementError("NotNullViolation"), "error", False),
    ],
)
async def test_work_that_fails_is_told_of_and_done_again(error, level, has_trace):
    done = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal done
        done += 1
        if done == 3:
            enough.set()
        raise error

    with structlog.testing.capture_logs() as logs:
        loop = asyncio.create_task(repeat(Chore("count", 0, work)))
        async with asyncio.timeout(30):
            await enough.wait()
        await cancel(loop)

    told = [line for line in logs if line["event"] == "chore_failed"]
    assert len(told) >= 2
    assert told[0]["chore"] == "count"
    assert (told[0]["log_level"], "exc_info" in told[0]) == (level, has_trace)


@pytest.mark.parametrize("error", [None, UnavailableError("Lost.", service="database")])
async def test_chore_ends_although_its_work_loses_the_cancellation(error):
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if error is not None:
                raise error from None

    loop = asyncio.create_task(repeat(Chore("wait", 3_600, work)))
    await begun.wait()
    async with asyncio.timeout(30):
        await cancel(loop)
    assert loop.cancelled()


async def test_process_whose_row_cannot_be_removed_ends_as_it_would(workshop):
    with structlog.testing.capture_logs() as logs:
        async with reporting(workshop.database, "worker"):
            await workshop.owner.execute("ALTER TABLE rota.processes RENAME TO mislaid")
    # Before it ends, it may have had the time to report once more.
    assert {line["event"] for line in logs} - {"chore_failed"} == {"process_row_left"}
    assert "processes" in logs[-1]["error"]


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
