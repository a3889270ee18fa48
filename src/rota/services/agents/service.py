"""Agents on their owner's behalf, listed and shown."""

from __future__ import annotations

from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.errors import NotFoundError
from rota.domain.ids import UserId
from rota.store.agents import rows
from rota.store.database import Connection, Database


class AgentService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, user_id: UserId) -> tuple[AgentConfiguration, ...]:
        """Return the agents that a person can run: their own, and shared ones."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_agents(conn, user_id)

    async def get(self, user_id: UserId, agent_name: str) -> AgentConfiguration:
        """Return an agent by name; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            return await find_agent(conn, user_id, agent_name)


async def find_agent(conn: Connection, user_id: UserId, agent_name: str) -> AgentConfiguration:
    """Return an agent that a person can run; raises NotFoundError."""
    found = await rows.fetch_agent(conn, agent_name, user_id)
    if found is None:
        raise NotFoundError("agent", agent_name, hint="See `rota agents list`.")
    return found
