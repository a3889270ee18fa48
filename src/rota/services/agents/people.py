"""Who may run agents: allowed and denied by the operator."""

from __future__ import annotations

from collections.abc import Sequence

from rota.domain.agents.people import People
from rota.domain.ids import UserId
from rota.store.agents import people as rows
from rota.store.database import Database


class PeopleService:
    """Acts as the backend: who may spend the operator's keys is the operator's to say."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> People:
        """Return what holds for everybody, and who is named."""
        async with self._database.connection() as conn:
            return People(await rows.is_open_to_all(conn), await rows.list_people(conn))

    async def set(self, people: Sequence[UserId], *, may_run: bool) -> None:
        """Allow these people to run agents, or deny it to them, whatever holds for everybody."""
        async with self._database.transaction() as conn:
            await rows.set_may_run(conn, people, may_run=may_run)

    async def set_everybody(self, *, may_run: bool) -> None:
        """Say whether whoever is not named may run agents."""
        async with self._database.transaction() as conn:
            await rows.set_open_to_all(conn, is_open=may_run)
