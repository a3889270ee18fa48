"""Results as their owner reads them."""

from __future__ import annotations

from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.ids import UserId
from rota.domain.runs.views import Result
from rota.services.references import SHORTEST_PREFIX, is_id_prefix
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
        status: str | None = None,
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
                found = await rows.list_results(conn, agent_name=None, status=None, limit=1)
            elif len(reference) >= SHORTEST_PREFIX and is_id_prefix(reference):
                found = await rows.fetch_result(conn, reference.lower())
            else:
                found = ()
        if not found:
            raise NotFoundError("result", reference or "latest", hint="See `rota results list`.")
        if len(found) > 1:
            raise InvalidInputError(f"{reference!r} fits more than one result; write more of it.")
        return found[0]
