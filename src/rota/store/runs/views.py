"""Runs as people see them, and their usage by day in the owner's time zone."""

from __future__ import annotations

from datetime import date
from operator import itemgetter

from rota.domain.ids import ScheduleId, UserId
from rota.domain.runs.run import RunStatus
from rota.domain.runs.views import RunView, UsageView
from rota.store.database import Connection
from rota.store.statements import many, one


async def list_runs(
    conn: Connection,
    *,
    schedule_id: ScheduleId | None = None,
    status: RunStatus | None = None,
    prefix: str | None = None,
    limit: int,
) -> tuple[RunView, ...]:
    """Return the newest runs that the transaction's person sees; `prefix`: of their ids."""
    return await many(
        conn,
        "runs/list_runs",
        RunView,
        schedule_id=schedule_id,
        status=status,
        prefix=prefix,
        limit=limit,
    )


async def count_use_of_agent(conn: Connection, user_id: UserId, agent_name: str) -> tuple[int, int]:
    """Return how many runs of a person's agent are not over, and how many of its calls wait."""
    return await one(
        conn,
        "runs/count_use_of_agent",
        itemgetter("runs", "actions"),
        user_id=user_id,
        agent_name=agent_name,
    )


async def list_usage(
    conn: Connection, user_id: UserId, *, after: date, zone: str
) -> tuple[UsageView, ...]:
    """Return a person's days after one, the latest first: each in all, then by schedule."""
    return await many(conn, "runs/list_usage", UsageView, user_id=user_id, after=after, zone=zone)
