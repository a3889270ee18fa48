"""Rows of results."""

from __future__ import annotations

from operator import itemgetter
from uuid import UUID

from rota.domain.ids import ResultId, RunId
from rota.domain.runs.run import ResultStatus
from rota.domain.runs.views import Result
from rota.store.database import Connection
from rota.store.statements import execute, many, one_or_none, value_or_none


async def fetch_result_of_run(conn: Connection, run_id: RunId) -> Result | None:
    """Return the result of a run, or None."""
    return await one_or_none(conn, "runs/fetch_result_of_run", Result, run_id=run_id)


async def list_results(
    conn: Connection,
    *,
    prefix: str | None = None,
    agent_name: str | None = None,
    status: ResultStatus | None = None,
    limit: int,
) -> tuple[Result, ...]:
    """Return the newest results that the person sees; `prefix`: of their ids or their runs'."""
    return await many(
        conn,
        "runs/find_results",
        Result,
        prefix=prefix,
        agent_name=agent_name,
        status=status,
        limit=limit,
    )


async def fetch_whole_text(conn: Connection, result_id: UUID) -> str | None:
    """Return the whole of a result that was cut; None where it was not, or is not theirs."""
    return await value_or_none(conn, "runs/fetch_result_text", str, result_id=result_id)


async def count_calls(conn: Connection, run_id: RunId) -> tuple[tuple[str, int], ...]:
    """Return the tools that a run called, in order, and how often; none once that is pruned."""
    return await many(conn, "runs/count_calls", itemgetter("name", "calls"), run_id=run_id)


async def note_notification_error(conn: Connection, result_id: ResultId, error: str) -> None:
    """Keep on the result that its notification could not be written; a sweep writes it later."""
    await execute(conn, "runs/note_notification_error", result_id=result_id, error=error)


async def claim_unnotified(conn: Connection, *, limit: int) -> tuple[Result, ...]:
    """Lock results whose notification is still to be written; the mark goes with this commit."""
    return await many(conn, "runs/claim_unnotified_results", Result, limit=limit)
