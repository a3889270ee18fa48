"""Reads results for their owner."""

from __future__ import annotations

from rota.domain.errors import NotFoundError
from rota.domain.ids import RunId, UserId
from rota.domain.runs.run import ResultStatus
from rota.domain.runs.views import Result, WholeResult
from rota.services.references import ENOUGH, id_prefix, the_one
from rota.services.runs.finding import find_run
from rota.store.database import Database
from rota.store.runs import results as rows


class ResultService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(
        self,
        user_id: UserId,
        *,
        agent_name: str | None = None,
        status: ResultStatus | None = None,
        limit: int = 20,
    ) -> tuple[Result, ...]:
        """Return the person's results, newest first."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_results(conn, agent_name=agent_name, status=status, limit=limit)

    async def get(self, user_id: UserId, reference: str | None) -> Result:
        """Return a result by its id or its run's, or the beginning of one; None: the latest.

        Raises NotFoundError, and InvalidInputError where more than one fits.
        """
        async with self._database.acting_as(user_id) as conn:
            if reference is None:
                found = await rows.list_results(conn, limit=1)
            else:
                prefix = id_prefix(reference)
                found = await rows.list_results(conn, prefix=prefix, limit=ENOUGH) if prefix else ()
        return the_one("result", reference or "latest", found, hint="See `rota results list`.")

    async def of_run(self, user_id: UserId, reference: str) -> Result:
        """Return the result of a run, by the run's id or its beginning.

        Raises NotFoundError for an unknown run, and for one that has no result yet.
        """
        async with self._database.acting_as(user_id) as conn:
            run = await find_run(conn, reference)
            found = await rows.fetch_result_of_run(conn, RunId(run.id))
        if found is None:
            raise NotFoundError("result", reference, hint=f"The run is {run.status}.")
        return found

    async def whole(self, user_id: UserId, result: Result) -> WholeResult:
        """Return a result with all of its text, where that was cut, and the calls of its run."""
        async with self._database.acting_as(user_id) as conn:
            text = None
            if result.metadata.get("truncated"):
                text = await rows.fetch_whole_text(conn, result.id)
            return WholeResult(result, text, await rows.count_calls(conn, RunId(result.run_id)))
