"""The operator's row of what is kept for how long, and what is older, deleted in batches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import class_row, dict_row

from rota.domain.operations.retention import Kind, Pruned, RetentionPolicy
from rota.store.database import Connection
from rota.store.statements import statement


@dataclass(frozen=True, slots=True)
class Batch:
    """What one statement deleted.

    `found`: how many of its kind; fewer than the limit where no more were there to be had. The
    next batch begins at `latest`, so that it need not walk over the dead rows of those before it.
    """

    found: int
    latest: datetime | None
    pruned: Pruned


async def fetch_policy(conn: Connection) -> RetentionPolicy:
    """Return the policy."""
    return await _policy(conn, "operations/fetch_retention")


async def lock_policy(conn: Connection) -> RetentionPolicy:
    """Return the policy; nobody else changes it until the end of the transaction."""
    return await _policy(conn, "operations/lock_retention")


async def update_policy(conn: Connection, policy: RetentionPolicy) -> None:
    """Replace the policy."""
    await conn.execute(statement("operations/update_retention"), asdict(policy))


async def prune(
    conn: Connection,
    kind: Kind,
    *,
    since: datetime | None,
    before: datetime,
    now: datetime,
    limit: int,
) -> Batch:
    """Delete the oldest of a kind, from `since` (None: the beginning) to before `before`.

    Rows that somebody else holds are passed over: two prunings at once share the work.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            statement(f"operations/prune_{kind.value}"),
            {"since": since, "before": before, "now": now, "limit": limit},
        )
        row = await cursor.fetchone()
    if row is None:  # aggregates return a row
        raise RuntimeError(f"prune_{kind.value} returned no row")
    return Batch(row.pop("found"), row.pop("latest"), Pruned(**row))


async def count_prunable(conn: Connection, policy: RetentionPolicy, now: datetime) -> Pruned:
    """Return what a pruning would delete; reads all that is old enough."""
    async with conn.cursor(row_factory=class_row(Pruned)) as cursor:
        await cursor.execute(
            statement("operations/count_prunable"),
            {
                "journals": policy.before(Kind.JOURNALS, now),
                "runs": policy.before(Kind.RUNS, now),
                "notifications": policy.before(Kind.NOTIFICATIONS, now),
                "history": policy.before(Kind.SCHEDULE_CHANGES, now),
                "queue_log": policy.before(Kind.QUEUE_LOG, now),
                "audit": policy.before(Kind.AUDIT, now),
            },
        )
        found = await cursor.fetchone()
    if found is None:  # a list of counts is a row
        raise RuntimeError("count_prunable returned no row")
    return found


async def _policy(conn: Connection, name: str) -> RetentionPolicy:
    async with conn.cursor(row_factory=class_row(RetentionPolicy)) as cursor:
        await cursor.execute(statement(name))
        found = await cursor.fetchone()
    if found is None:  # the migration writes it, and rota may not delete it
        raise RuntimeError("rota.retention has no row")
    return found
