"""Deletes old rows by the operator's retention: once an hour per installation, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableSet
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from rota.domain.operations.retention import Kind, Period, Pruned, RetentionPolicy
from rota.logs import LazyLogger
from rota.services.audit.checkpoints import Checkpoints
from rota.store import idempotency
from rota.store.database import Connection, Database
from rota.store.identity import sessions
from rota.store.operations import processes
from rota.store.operations import retention as rows
from rota.store.operations.retention import Batch

PRUNE_EVERY: Final = 3_600.0
"""Seconds between two prunings, however many schedulers run."""

LOOK_EVERY: Final = 300.0
"""Seconds after which a scheduler looks whether it is time."""

BATCH: Final = 1_000
"""Rows that a transaction deletes at most."""

RUNS_BATCH: Final = 100
"""Runs that a transaction takes the journals of, or deletes, or blocks of the audit log: each
brings rows of its own."""

TOKENS_ARE_LISTED: Final = timedelta(days=30)
"""How long an expired token is still listed. Sessions and links go once they are over."""

_PAUSE: Final = 0.02
"""Seconds between two transactions: nobody waits for a pruning, so it makes room for the rest."""

log = LazyLogger(__name__)


class RetentionService:
    """Acts as the backend, because only the operator sets the retention."""

    def __init__(
        self,
        database: Database,
        checkpoints: Checkpoints,
        *,
        batch: int = BATCH,
        runs_batch: int = RUNS_BATCH,
    ) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._batch = batch
        self._runs_batch = runs_batch

    async def policy(self) -> RetentionPolicy:
        """Return what is kept for how long."""
        async with self._database.connection() as conn:
            return await rows.fetch_policy(conn)

    async def set(self, days: Mapping[Period, int | None]) -> RetentionPolicy:
        """Change what is named and return all; None: for ever. Raises InvalidInputError."""
        async with self._database.transaction() as conn:
            policy = (await rows.lock_policy(conn)).changed(days)
            await rows.update_policy(conn, policy)
        return policy

    async def prune(self, now: datetime) -> Pruned:
        """Delete what is older than the policy keeps at `now`, and return how much it was.

        Whoever has more notifications than their quota loses the oldest too. Keys of requests,
        kept for a day whatever the policy, and versions of agents are not counted.

        Each batch is a transaction: whatever interrupts this, what was deleted stays deleted and
        the next call goes on. The policy is read anew for each, so that a longer one takes effect
        at once.
        """
        pruned = Pruned()
        for kind in Kind:
            pruned += await self._prune(kind, now)
        await self._prune_idempotency_keys()
        await self._prune_agent_versions(now)
        async with self._database.connection() as conn:
            await sessions.delete_ended(conn, now=now, tokens_before=now - TOKENS_ARE_LISTED)
        return pruned + await self._prune_beyond_quotas()

    async def count_prunable(self, now: datetime) -> Pruned:
        """Return what `prune` would delete at `now`."""
        async with self._database.connection() as conn:
            return await rows.count_prunable(conn, await rows.fetch_policy(conn), now)

    async def prune_hourly(self, now: datetime) -> Pruned | None:
        """Prune if nobody has begun to within the hour; None if somebody has.

        One that fails has had its turn: the next is an hour later.
        """
        async with self._database.connection() as conn:
            # A little less, so that the looks of this scheduler need not agree with the hour.
            mine = await processes.mark_once(conn, "retention", every_seconds=PRUNE_EVERY - 5)
        if not mine:
            return None
        pruned = await self.prune(now)
        if pruned != Pruned():
            log.info("pruned", **asdict(pruned))
        return pruned

    async def _prune(self, kind: Kind, now: datetime) -> Pruned:
        with_more = {Kind.JOURNALS, Kind.RUNS, Kind.AUDIT}
        limit = self._runs_batch if kind in with_more else self._batch
        pruned = Pruned()
        since: datetime | None = None
        refused: set[UUID] = set()  # chains of the audit log that are not in order
        while True:
            async with self._database.transaction() as conn:
                before = (await rows.fetch_policy(conn)).before(kind, now)
                if before is None:
                    return pruned
                if kind is Kind.AUDIT:
                    batch = await self._prune_audit(
                        conn, refused, before=before, now=now, limit=limit
                    )
                else:
                    batch = await rows.prune(
                        conn, kind, since=since, before=before, now=now, limit=limit
                    )
            pruned += batch.pruned
            if batch.found < limit:
                return pruned
            since = batch.latest
            await asyncio.sleep(_PAUSE)

    async def _prune_beyond_quotas(self) -> Pruned:
        pruned = Pruned()
        async with self._database.connection() as conn:
            found = await rows.list_too_many_notifications(conn)
        for person in found:
            count = self._batch
            while count == self._batch:
                async with self._database.transaction() as conn:
                    count = await rows.prune_notifications_of(conn, person, limit=self._batch)
                pruned += Pruned(notifications=count)
                await asyncio.sleep(_PAUSE)
        return pruned

    async def _prune_idempotency_keys(self) -> None:
        count = self._batch
        while count == self._batch:
            async with self._database.transaction() as conn:
                count = await idempotency.prune(conn, limit=self._batch)
            await asyncio.sleep(_PAUSE)

    async def _prune_agent_versions(self, now: datetime) -> None:
        """Delete versions of agents that are older than other history is kept."""
        count = self._batch
        while count == self._batch:
            async with self._database.transaction() as conn:
                policy = await rows.fetch_policy(conn)
                before = policy.before(Kind.SCHEDULE_CHANGES, now)
                if before is None:
                    return
                count = await rows.prune_agent_versions(conn, before=before, limit=self._batch)
            await asyncio.sleep(_PAUSE)

    async def _prune_audit(
        self,
        conn: Connection,
        refused: MutableSet[UUID],
        *,
        before: datetime,
        now: datetime,
        limit: int,
    ) -> Batch:
        gone = await self._checkpoints.prune(
            conn, before=before, now=now, limit=limit, without=refused
        )
        refused |= frozenset(gone.refused)
        # What was refused took the place of others: there may be more.
        found = limit if gone.refused else gone.blocks
        return Batch(found, None, Pruned(audit=gone.entries, audit_refused=len(gone.refused)))
