"""Rows of results."""

from __future__ import annotations

from rota.domain.ids import ResultId, RunId
from rota.domain.notifications.notification import Category
from rota.domain.runs.run import ResultStatus, Trigger
from rota.domain.runs.views import Result
from rota.store.database import Connection
from rota.store.statements import Row, execute, many, one_or_none


async def fetch_result_of_run(conn: Connection, run_id: RunId) -> Result | None:
    """Return the result of a run, or None."""
    return await one_or_none(conn, "runs/fetch_result_of_run", _result, run_id=run_id)


async def fetch_result(conn: Connection, prefix: str) -> tuple[Result, ...]:
    """Return the results whose id, or run's id, begins with `prefix` (at most six)."""
    return await many(conn, "runs/fetch_result", _result, prefix=prefix)


async def list_results(
    conn: Connection, *, agent_name: str | None, status: ResultStatus | None, limit: int
) -> tuple[Result, ...]:
    """Return the newest results that the transaction's person sees, newest first."""
    return await many(
        conn, "runs/list_results", _result, agent_name=agent_name, status=status, limit=limit
    )


async def note_notification_error(conn: Connection, result_id: ResultId, error: str) -> None:
    """Keep on the result that its notification could not be written; a sweep writes it later."""
    await execute(conn, "runs/note_notification_error", result_id=result_id, error=error)


async def claim_unnotified(conn: Connection, *, limit: int) -> tuple[Result, ...]:
    """Lock results whose notification is still to be written; the mark goes with this commit."""
    return await many(conn, "runs/claim_unnotified_results", _result, limit=limit)


def _result(row: Row) -> Result:
    kinds = {"status": ResultStatus, "trigger": Trigger, "result_category": Category}
    return Result(**{**row, **{name: kind(row[name]) for name, kind in kinds.items()}})
