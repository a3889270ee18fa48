"""Runs as people look at them: with their schedule's name and their result's status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from rota.domain.ids import ScheduleId
from rota.store.database import Connection
from rota.store.statements import many


@dataclass(frozen=True, slots=True)
class RunView:
    """One row of `agent_runs`, to be shown. Times are aware and in UTC.

    `options` are this run's own. `model` and `limits` are those that its first attempt began with,
    None before. `metadata` is its result's.
    """

    id: UUID
    schedule_id: UUID | None
    schedule_name: str | None
    agent_name: str
    prompt: str
    trigger: str
    status: str
    priority: int
    attempt: int
    fire_time: datetime | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    journal_pruned_at: datetime | None
    result_status: str | None
    not_before: datetime | None
    retry_of: UUID | None
    options: Mapping[str, Any] | None
    model: str | None
    limits: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None


async def list_runs(
    conn: Connection,
    *,
    schedule_id: ScheduleId | None = None,
    status: str | None = None,
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
