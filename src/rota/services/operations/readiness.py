"""Whether rota does its work, for a monitor that is nobody in particular."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from rota.domain.errors import MigrationError, RotaError
from rota.domain.operations.processes import SILENT_AFTER
from rota.store.database import Database
from rota.store.migrations import pending_migrations
from rota.store.operations import processes

KEPT_FOR: Final = 1.0
"""Seconds that an answer is kept for, so that many monitors ask the database once."""

ANSWERED_WITHIN: Final = 3.0
"""Seconds that the database has to answer in."""


class ReadinessService:
    """Says why rota is not ready, in sentences that a stranger may read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[tuple[str, ...]] | None = None

    async def problems(self) -> tuple[str, ...]:
        """Return what is wrong: the database, the schema, the scheduler; nothing where all work."""
        now = time.monotonic()
        if self._asking is None or (self._asking.done() and now - self._asked_at > KEPT_FOR):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(ANSWERED_WITHIN), self._database.connection() as conn:
                if await pending_migrations(conn):
                    return ("The schema of the database is older than this rota.",)
                silent, _ = await processes.scheduler_silence(conn)
        except MigrationError:
            return ("The database cannot be used by this rota.",)
        except (RotaError, TimeoutError):
            return ("The database does not answer.",)
        if silent is None:
            return ("No scheduler is running.",)
        if silent > SILENT_AFTER:
            return ("No scheduler has looked at the clock in time.",)
        return ()
