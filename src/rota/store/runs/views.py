"""Runs as people look at them: with their schedule's name and their result's status."""

from __future__ import annotations

from rota.domain.ids import ScheduleId
from rota.domain.runs.views import RunView
from rota.store.database import Connection
from rota.store.statements import many


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
