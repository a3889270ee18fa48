"""The row with the operator's retention, and statements that delete older rows in batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rota.domain.ids import UserId
from rota.domain.operations.retention import Kind, Pruned, RetentionPolicy
from rota.store.database import Connection
from rota.store.records import row_of
from rota.store.statements import execute, many, one


@dataclass(frozen=True, slots=True)
class Batch:
    """The outcome of one deleting statement.

    `found` is the number of rows; if it is less than the limit, no further rows are there. The next
    batch begins at `latest`, so that it does not read the dead rows of earlier batches.
    """

    found: int
    latest: datetime | None
    pruned: Pruned


async def fetch_policy(conn: Connection) -> RetentionPolicy:
    """Return the policy."""
    return await one(conn, "operations/fetch_retention", RetentionPolicy)


async def lock_policy(conn: Connection) -> RetentionPolicy:
    """Return the policy; nobody else changes it until the end of the transaction."""
    return await one(conn, "operations/lock_retention", RetentionPolicy)


async def update_policy(conn: Connection, policy: RetentionPolicy) -> None:
    """Replace the policy."""
    await execute(conn, "operations/update_retention", **row_of(policy))


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
    return await one(
        conn,
        f"operations/prune_{kind}",
        lambda row: Batch(row.pop("found"), row.pop("latest"), Pruned(**row)),
        since=since,
        before=before,
        now=now,
        limit=limit,
    )


@dataclass(frozen=True, slots=True)
class TooMany:
    """A person with more notifications than are `kept`."""

    user_id: UserId
    kept: int


async def list_too_many_notifications(conn: Connection) -> tuple[TooMany, ...]:
    """Return who has more notifications than their quota."""
    return await many(conn, "operations/list_people_with_too_many_notifications", TooMany)


async def prune_notifications_of(conn: Connection, too_many: TooMany, *, limit: int) -> int:
    """Delete notifications of a person beyond the latest that are kept; returns how many."""
    return await execute(
        conn, "operations/prune_notifications_of_person", limit=limit, **row_of(too_many)
    )


async def prune_agent_versions(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete old versions of agents; returns how many."""
    return await execute(conn, "operations/prune_agent_versions", before=before, limit=limit)


async def count_prunable(conn: Connection, policy: RetentionPolicy, now: datetime) -> Pruned:
    """Return what a pruning would delete; reads all that is old enough."""
    return await one(
        conn,
        "operations/count_prunable",
        lambda row: Pruned(**row),
        **{kind.value: policy.before(kind, now) for kind in Kind},
    )
