"""Reads results for their owner."""

from __future__ import annotations

from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.ids import RunId, UserId
from rota.domain.runs.run import ResultStatus
from rota.domain.runs.views import Result, ResultFilter, ResultKey, WholeResult
from rota.services.references import ENOUGH, id_range, the_one
from rota.services.runs.finding import find_run
from rota.store.database import Database
from rota.store.runs import results as rows
from rota.store.runs.views import LONGEST_IN_LIST


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
            which = ResultFilter(agent_name=agent_name, status=status)
            return await rows.list_results(conn, which, limit=limit)

    async def page(
        self,
        user_id: UserId,
        which: ResultFilter,
        *,
        after: ResultKey | None = None,
        limit: int,
    ) -> tuple[Result, ...]:
        """Return the results that are listed below one, newest first; without one from the newest.

        Of long texts the beginning. Words that are looked for are those of the answer as it is
        stored, without what was cut of it. Raises InvalidInputError where no word is among them.
        """
        if which.words is not None and not any(map(str.isalnum, which.words)):
            raise InvalidInputError("There is no word to look for.", field="q")
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_results(
                conn, which, after=after, limit=limit, longest=LONGEST_IN_LIST
            )

    async def count(self, user_id: UserId, which: ResultFilter) -> int:
        """Return how many results a list has in all; of a search, 1,000 at most."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.count_results(conn, which)

    async def get(self, user_id: UserId, reference: str | None) -> Result:
        """Return a result by its id or its run's, or the beginning of one; None: the latest.

        Raises NotFoundError, and InvalidInputError where more than one fits.
        """
        async with self._database.acting_as(user_id) as conn:
            if reference is None:
                found = await rows.list_results(conn, ResultFilter(), limit=1)
            else:
                ids = id_range(reference)
                found = await rows.find_results(conn, ids, limit=ENOUGH) if ids else ()
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
