"""Runs as people see them, and their usage by day in the owner's time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Final
from uuid import UUID

from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.runs.views import (
    NO_FIRE_TIME,
    AgentUsage,
    AttemptView,
    RunFilter,
    RunKey,
    RunUse,
    RunView,
    UsageView,
)
from rota.store.database import Connection
from rota.store.records import row_of
from rota.store.statements import many, one, page, value

LONGEST_IN_LIST: Final = 2_000
"""Characters of a text that a list shows."""

_LATER_THAN_ALL: Final = datetime.max.replace(tzinfo=UTC)


async def list_runs(
    conn: Connection, which: RunFilter, *, after: RunKey | None = None, limit: int
) -> tuple[RunView, ...]:
    """Return runs that the transaction's person sees, newest first; after one: those below it."""
    begin = (which.before or _LATER_THAN_ALL, NO_FIRE_TIME, UUID(int=0))
    created, fire, run_id = after or begin
    filters = row_of(which)
    del filters["before"]
    return await page(
        conn,
        "runs/list_runs",
        RunView,
        longest=LONGEST_IN_LIST,
        after_created=created,
        after_fire=fire,
        after_id=run_id,
        limit=limit,
        **filters,
    )


async def count_runs(conn: Connection, which: RunFilter) -> int:
    """Return how many runs a list has in all."""
    return await value(conn, "runs/count_runs", int, **row_of(which))


async def find_runs(conn: Connection, ids: tuple[UUID, UUID], *, limit: int) -> tuple[RunView, ...]:
    """Return the runs with an id from the first to the last of these, newest first."""
    first, last = ids
    return await many(conn, "runs/find_runs", RunView, first=first, last=last, limit=limit)


async def fetch_use(conn: Connection, run_id: RunId) -> RunUse:
    """Return what a run has used by the model calls that are kept of it."""
    return await one(conn, "runs/fetch_use", RunUse, run_id=run_id)


async def list_attempts(
    conn: Connection, run_id: RunId, *, after: int, limit: int
) -> tuple[AttemptView, ...]:
    """Return the attempts of a run after one, the first one first."""
    return await many(
        conn, "runs/list_attempts", AttemptView, run_id=run_id, after=after, limit=limit
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


async def list_usage_by_schedule(
    conn: Connection,
    user_id: UserId,
    *,
    after: date,
    zone: str,
    schedule_id: ScheduleId | None,
    below: tuple[date, UUID] | None,
    limit: int,
) -> tuple[UsageView, ...]:
    """Return a page of a person's days after one, the latest first: each in all, then by schedule.

    `below` is the day and the schedule (or no id) of the last one of the page before.
    """
    from_day, from_schedule = below or (date.max, UUID(int=0))
    return await page(
        conn,
        "runs/list_usage_by_schedule",
        UsageView,
        user_id=user_id,
        after=after,
        zone=zone,
        schedule_id=schedule_id,
        from_day=from_day,
        from_schedule=from_schedule,
        limit=limit,
    )


async def list_usage_by_agent(
    conn: Connection,
    user_id: UserId,
    *,
    after: date,
    zone: str,
    agent_name: str | None,
    below: tuple[date, str] | None,
    limit: int,
) -> tuple[AgentUsage, ...]:
    """Return a page of a person's days after one, the latest first, each by agent."""
    from_day, from_agent = below or (date.max, "")
    return await page(
        conn,
        "runs/list_usage_by_agent",
        AgentUsage,
        user_id=user_id,
        after=after,
        zone=zone,
        agent_name=agent_name,
        from_day=from_day,
        from_agent=from_agent,
        limit=limit,
    )
