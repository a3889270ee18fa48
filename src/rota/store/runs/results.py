"""Rows of results."""

from __future__ import annotations

from datetime import UTC, datetime
from operator import itemgetter
from typing import Final
from uuid import UUID

from rota.domain.ids import ResultId, RunId
from rota.domain.runs.views import Result, ResultFilter, ResultKey
from rota.store.database import Connection
from rota.store.records import row_of
from rota.store.statements import execute, many, one_or_none, page, value, value_or_none


async def fetch_result_of_run(conn: Connection, run_id: RunId) -> Result | None:
    """Return the result of a run, or None."""
    return await one_or_none(conn, "runs/fetch_result_of_run", Result, run_id=run_id)


WHOLE: Final = 50_000
"""Characters of a text that leave it as it is stored."""

_LATER_THAN_ALL: Final = (datetime.max.replace(tzinfo=UTC), UUID(int=0))


async def list_results(
    conn: Connection,
    which: ResultFilter,
    *,
    after: ResultKey | None = None,
    limit: int,
    longest: int = WHOLE,
) -> tuple[Result, ...]:
    """Return results that the person sees, newest first; after one: those below it.

    Texts are cut that are longer than `longest`.
    """
    created, result_id = after or _LATER_THAN_ALL
    filters = row_of(which)
    name = "runs/search_results"
    if which.words is None:
        del filters["words"]
        name = "runs/list_results"
    return await page(
        conn,
        name,
        Result,
        longest=longest,
        after_created=created,
        after_id=result_id,
        limit=limit,
        **filters,
    )


async def count_results(conn: Connection, which: ResultFilter) -> int:
    """Return how many results a list has in all; of a search, 1,000 at most."""
    filters = row_of(which)
    if which.words is not None:
        return await value(conn, "runs/count_found_results", int, **filters)
    del filters["words"]
    return await value(conn, "runs/count_results", int, **filters)


async def find_results(
    conn: Connection, ids: tuple[UUID, UUID], *, limit: int
) -> tuple[Result, ...]:
    """Return results with an id, or of a run with an id, from the first to the last of these."""
    first, last = ids
    return await many(conn, "runs/find_results", Result, first=first, last=last, limit=limit)


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
