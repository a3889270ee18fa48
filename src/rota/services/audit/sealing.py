"""Seals new entries of the audit log into each person's chain, in groups, about once a second.

The transactions of runs do not seal, because they would have to lock the person's chain. Then only
one run of a person could commit at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from rota.domain.audit.chain import NOBODYS, AuditEntry, block_after
from rota.domain.errors import NotFoundError, RotaError, UnavailableError
from rota.domain.ids import UserId
from rota.store.audit import rows
from rota.store.audit.rows import Unsealed
from rota.store.database import Connection, Database

SEAL_EVERY: Final = 1.0
"""Seconds between looks."""

BATCH: Final = 2_000
"""Entries that are sealed in one transaction at most."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _SealFailures:
    """What one round could not seal: the number of entries, and the owners of the chains."""

    left: int = 0
    stuck: set[UserId | None] = field(default_factory=set)


class AuditSealer:
    """Acts as the backend. Any number of processes may call it; only one seals at a time.

    A chain that cannot be sealed delays no other chain, and is tried again in each round. A round
    begins where the last complete round ended.
    """

    def __init__(self, database: Database, *, batch: int = BATCH) -> None:
        self._database = database
        self._batch = batch
        self._reported: set[UserId | None] = set()  # whose chains the log has said to be stuck

    async def seal(self, now: datetime) -> int:
        """Seal all that was committed by now; returns how many entries that was.

        What transactions that are still under way will commit is for a later call, whatever was
        committed beside them meanwhile.
        """
        async with self._database.connection() as conn:
            cursor = await rows.fetch_cursor(conn)
        sealed, after = 0, None
        failures = _SealFailures()
        while cursor.may_be_more:
            async with self._database.transaction() as conn:
                if not await rows.lock_sealing(conn):
                    break
                found = await rows.find_unsealed(conn, cursor.sealed, after, limit=self._batch)
                sealed += await self._seal_batch(conn, found, now, failures)
                if len(found) < self._batch and not failures.left:
                    # Each look saw all that the first one did: so much is sealed, at the least.
                    await rows.move_cursor(conn, cursor.visible)
                elif len(found) < self._batch:
                    await rows.mark_stuck(conn, failures.stuck)
            if len(found) < self._batch:
                self._reported &= failures.stuck
                break
            after = found[-1]
        return sealed

    async def _seal_batch(
        self, conn: Connection, unsealed: Sequence[Unsealed], now: datetime, failures: _SealFailures
    ) -> int:
        """Seal entries, of each person by themselves where that fails for all of them at once."""
        if await self._seal_or_roll_back(conn, unsealed, now) is None:
            return len(unsealed)
        sealed = 0
        for owner in {entry.user_id: None for entry in unsealed}:
            own = [entry for entry in unsealed if entry.user_id == owner]
            error = await self._seal_or_roll_back(conn, own, now)
            if error is None:
                sealed += len(own)
                continue
            failures.left += len(own)
            if isinstance(error, NotFoundError):
                continue  # somebody is being deleted: what they leave is nobody's by the next look
            failures.stuck.add(owner)
            if owner not in self._reported:
                self._reported.add(owner)
                log.error(
                    "audit_chain_not_sealed",
                    user=str(owner) if owner is not None else None,
                    error=str(error),
                    hint="rota audit verify --all",
                )
        return sealed

    async def _seal_or_roll_back(
        self, conn: Connection, unsealed: Sequence[Unsealed], now: datetime
    ) -> RotaError | None:
        """Seal entries; returns why that could not be, with nothing of it done."""
        if not unsealed:
            return None
        try:
            async with conn.transaction():
                await self._seal(conn, unsealed, now)
        except UnavailableError:  # the database is away, or another one was in the way
            raise
        except RotaError as error:
            return error
        return None

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
