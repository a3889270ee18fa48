"""What long-lived loops share: waiting, repeating, and saying that they are alive."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

import rota
from rota.domain.errors import UnavailableError
from rota.domain.operations.processes import Kind
from rota.store.database import Database
from rota.store.operations import processes

REPORT_EVERY: Final = 5.0
"""Seconds between two signs of life of a process."""

log = structlog.get_logger(__name__)


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Return when any event is set, or after `seconds`."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await cancel(*waits)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def repeat(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something now and every so often, whatever becomes of it: a failure is logged.

    A database that is away is waited for.
    """
    while True:
        try:
            await work()
        except UnavailableError as error:
            log.warning("background_task_failed", error=str(error))
        except Exception:
            # Nobody awaits these: one that ended would seal, prune or expire nothing, unseen.
            log.exception("background_task_failed")
        await asyncio.sleep(seconds)


@asynccontextmanager
async def reporting(
    database: Database, kind: Kind, *, ticked_ago: Callable[[], float | None] = lambda: None
) -> AsyncIterator[None]:
    """Keep this process's row in `rota.processes` fresh for the life of the block.

    `ticked_ago` gives the seconds since a scheduler last looked at the clock: being alive is not
    the same as doing one's work.
    """
    process_id = uuid.uuid4()

    async def report() -> None:
        async with database.connection() as conn:
            await processes.report(
                conn,
                process_id,
                kind=kind,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=rota.__version__,
                ticked_ago=ticked_ago(),
            )

    await report()
    reporter = asyncio.create_task(repeat(REPORT_EVERY, report))
    try:
        yield
    finally:
        await cancel(reporter)
        try:
            async with database.connection() as conn:
                await processes.forget(conn, process_id)
        except UnavailableError:
            log.warning("process_row_left", kind=kind)
