"""Waits for the locks of a migration in short attempts, and says who is in the way.

While a statement waits for the lock of a table, all later statements on the table wait behind it.
So one open transaction of a reader could stop everybody. Therefore an attempt waits briefly, gives
up, and is repeated after a growing pause. Only `migrate` waits like this.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import psycopg

from rota.domain.errors import LostTransactionError, MigrationError, RotaError
from rota.store.database import Connection
from rota.store.statements import many

T = TypeVar("T")

_WAITED: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

_LOOKS: Final = 8
"""How often a second connection looks who is in the way, while an attempt waits for a lock."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one attempt waits for each lock, and the pauses between attempts, in seconds."""

    lock_timeout: float = 2.0
    pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that holds a lock for which another session waits.

    `since` is the time when its transaction began, or when the session became idle. None: this role
    may not see it.
    """

    pid: int
    role: str | None
    application: str | None
    since: datetime | None
    held: str

    def __str__(self) -> str:
        """Say who it is, what it has, and since when."""
        since = (
            f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
            if self.since is not None
            else "a time that this role may not see"
        )
        named = f"role {self.role}, application {self.application or 'without a name'}"
        return f"process {self.pid} ({named}) has {self.held} since {since}"


async def despite_locks(
    conn: Connection,
    url: str,
    patience: Patience,
    attempt: Callable[[], Awaitable[T]],
) -> T:
    """Make attempts, each in a transaction of its own with `limit_waiting`, until one passes.

    Raises MigrationError that names who was in the way at the last.
    """
    holders: list[Holder] = []
    for number, pause in enumerate((*patience.pauses, None)):
        try:
            if number == 0:  # most often nobody is in the way
                return await attempt()
            async with _watching(url, conn.info.backend_pid, patience, holders):
                return await attempt()
        except (*_WAITED, LostTransactionError) as error:
            if isinstance(error, LostTransactionError) and not isinstance(error.__cause__, _WAITED):
                raise
            if pause is None:
                raise MigrationError(_in_the_way(holders)) from error
            await asyncio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


async def limit_waiting(conn: Connection, patience: Patience) -> None:
    """Have this transaction fail where it waits longer than that for one lock."""
    timeout = f"{patience.lock_timeout * 1000:.0f}ms"
    await conn.execute("SELECT set_config('lock_timeout', %s, true)", [timeout])


@asynccontextmanager
async def _watching(
    url: str, pid: int, patience: Patience, holders: list[Holder]
) -> AsyncIterator[None]:
    """Keep in `holders` who was last seen in the way of a session."""
    # Without a second connection the migration is tried all the same.
    try:
        other = await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError:
        yield
        return

    async def watch() -> None:
        while True:
            await asyncio.sleep(patience.lock_timeout / _LOOKS)
            if found := await many(other, "list_lock_holders", Holder, pid=pid):
                holders[:] = found

    async with other:
        watcher = asyncio.create_task(watch())
        try:
            yield
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError, RotaError, psycopg.Error):
                await watcher


def _in_the_way(holders: list[Holder]) -> str:
    said = "; ".join(map(str, holders)) or "they were gone before they could be named"
    return (
        f"Nothing was changed, because others hold what the migration needs: {said}. End them "
        "(SELECT pg_terminate_backend(PROCESS)) or wait, and run `rota migrate` again."
    )
