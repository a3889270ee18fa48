"""Chores: periodic work of a process beside its main work, such as its heartbeat row.

The scheduler's loop and the workers use it. A chore that fails is logged and tried again at its
next time. The other chores and the process continue. If something must happen only once among many
processes, the chore itself ensures that (`mark_once`, a lock, a compare-and-set).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from rota.domain.errors import RotaError, UnavailableError
from rota.domain.operations.processes import Kind
from rota.engine.patience import Patience
from rota.logs import LazyLogger
from rota.store.database import Database
from rota.store.operations import processes
from rota.version import __version__

REPORT_EVERY: Final = 5.0
"""Seconds between two signs of life of a process."""

CANCEL_AGAIN_AFTER: Final = 2.0
"""Seconds after which a cancelled task that has not ended is cancelled again."""

log = LazyLogger(__name__)


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Return when any event is set, or after `seconds`."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:  # also where this is cancelled: an event that is never set would keep them
        await cancel(*waits)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they have ended.

    A task that goes on is cancelled again: an error of a broken connection can take the place of a
    cancellation, and Python 3.11's `wait_for` can lose one.
    """
    going_on = set(tasks)
    while going_on:
        for task in going_on:
            task.cancel()
        _, going_on = await asyncio.wait(going_on, timeout=CANCEL_AGAIN_AFTER)
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Chore:
    """Work that is done at the start and then every `interval` seconds. `name` is for the log."""

    name: str
    interval: float
    work: Callable[[], Awaitable[object]]


async def repeat(chore: Chore) -> None:
    """Do a chore for ever, whatever becomes of it; one that fails is done again later and later."""
    patience = Patience("chore_failed", chore=chore.name)
    while True:
        pause = chore.interval
        try:
            await chore.work()
        except Exception as error:  # noqa: BLE001
            # Nobody awaits these: one that ended would seal, prune or expire nothing, unseen.
            pause = max(pause, patience.failed(error))
        else:
            patience.succeeded()
        await asyncio.sleep(pause)


@asynccontextmanager
async def reporting(
    database: Database,
    kind: Kind,
    *,
    ticked_ago: Callable[[], float | None] = lambda: None,
    settings: Sequence[str] | None = None,
    key_ids: Callable[[], Sequence[str] | None] = lambda: None,
    url: str | None = None,
) -> AsyncIterator[None]:
    """Keep this process's row in `rota.processes` fresh for the life of the block.

    `ticked_ago` gives the seconds since a scheduler last looked at the clock: being alive is not
    the same as doing one's work. `settings` are the names of those that this process has,
    `key_ids` gives the fingerprints of its keys, which a rotation changes. `url`: where a server is
    opened.
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
                version=__version__,
                ticked_ago=ticked_ago(),
                clock=time.time(),  # this machine's: it is what is reported on
                settings=settings,
                key_ids=key_ids(),
                url=url,
            )

    with suppress(UnavailableError):  # told of by the chore, and waited for
        await report()
    reporter = asyncio.create_task(repeat(Chore("report that it is alive", REPORT_EVERY, report)))
    try:
        yield
    finally:
        await cancel(reporter)
        try:
            async with database.connection() as conn:
                await processes.forget(conn, process_id)
        except RotaError as error:
            log.warning("process_row_left", kind=kind, error=str(error))
