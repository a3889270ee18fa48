"""Seals what was written to the audit log into its people's chains, in groups, about once a second.

Not in the transactions of runs: a lock on a person's chain there would let only one of their runs
commit at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from rota.domain.audit import NOBODYS, AuditEntry, block_after
from rota.store import audit as rows
from rota.store.audit import Unsealed
from rota.store.database import Connection, Database

SEAL_EVERY: Final = 1.0
"""Seconds between looks."""

BATCH: Final = 2_000
"""Entries that are sealed in one transaction at most."""


class AuditSealer:
    """Acts as the backend. Any number of processes may seal: one at a time does."""

    def __init__(self, database: Database, *, batch: int = BATCH) -> None:
        self._database = database
        self._batch = batch

    async def seal(self, now: datetime) -> int:
        """Seal all that was committed by now; returns how many entries that was.

        What transactions that are still under way will commit is for a later call, whatever was
        committed beside them meanwhile.
        """
        async with self._database.connection() as conn:
            cursor = await rows.fetch_cursor(conn)
        sealed, after = 0, None
        while cursor.may_be_more:
            async with self._database.transaction() as conn:
                if not await rows.lock_sealing(conn):
                    break
                found = await rows.find_unsealed(conn, cursor.sealed, after, limit=self._batch)
                if found:
                    await self._seal(conn, found, now)
                if len(found) < self._batch:
                    # Each look saw all that the first one did: so much is sealed, at the least.
                    await rows.move_cursor(conn, cursor.visible)
            sealed += len(found)
            if len(found) < self._batch:
                break
            after = found[-1]
        return sealed

    async def _seal(self, conn: Connection, unsealed: Sequence[Unsealed], now: datetime) -> None:
        people = sorted({entry.user_id for entry in unsealed if entry.user_id is not None})
        await rows.ensure_chains(conn, people)
        chains = {chain.id: chain for chain in await rows.lock_chains(conn, people)}
        chain_of = {c.user_id: c.id for c in chains.values() if c.user_id is not None}
        entries: defaultdict[UUID, list[AuditEntry]] = defaultdict(list)
        # Read under the lock: somebody may have been deleted just before it.
        for entry in await rows.fetch_entries(conn, [entry.id for entry in unsealed]):
            owner = entry.user_id
            entries[chain_of[owner] if owner is not None else NOBODYS].append(entry)
        sealed_at = await rows.written_time(conn, now)
        await rows.insert_blocks(
            conn,
            [
                block_after(chains[chain_id].end, tuple(own), sealed_at)
                for chain_id, own in entries.items()
            ],
        )
