"""Counts for `rota status`, of one person: today's runs and fire times, and what waits.

It only reads. services/operations/status.py puts the counts together.
"""

from __future__ import annotations

from datetime import date, datetime

from rota.domain.ids import UserId
from rota.domain.operations.status import FailedRun, Queue, Today, Waiting
from rota.store.database import Connection
from rota.store.statements import many, one


async def count_today(conn: Connection, user_id: UserId, *, since: datetime, day: date) -> Today:
    """Return what became of a person's runs and fires since an instant, with the day's usage."""
    return await one(conn, "operations/count_today", Today, user_id=user_id, since=since, day=day)


async def count_waiting(conn: Connection, user_id: UserId) -> Waiting:
    """Return how much of a person's waits, for whom."""
    return await one(conn, "operations/count_waiting", Waiting, user_id=user_id)


async def failures_since(
    conn: Connection, user_id: UserId, *, since: datetime, limit: int
) -> tuple[FailedRun, ...]:
    """Return the latest runs of a person that failed, the latest first."""
    return await many(
        conn, "operations/list_failures_since", FailedRun, user_id=user_id, since=since, limit=limit
    )


async def count_queue(conn: Connection) -> Queue:
    """Return how many runs of everybody are not over."""
    return await one(conn, "operations/count_queue", Queue)
