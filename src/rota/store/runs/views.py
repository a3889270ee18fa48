"""Runs as people look at them: with their schedule's name and their result's status."""

from __future__ import annotations

from rota.domain.ids import ScheduleId
from rota.domain.runs.run import ResultStatus, RunStatus, Trigger
from rota.domain.runs.views import RunView
from rota.store.database import Connection
from rota.store.statements import Row, many


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
        _run_view,
        schedule_id=schedule_id,
        status=status,
        prefix=prefix,
        limit=limit,
    )


def _run_view(row: Row) -> RunView:
    result = row["result_status"]
    return RunView(
        **{
            **row,
            "trigger": Trigger(row["trigger"]),
            "status": RunStatus(row["status"]),
            "result_status": ResultStatus(result) if result is not None else None,
        }
    )
