"""Who may run agents: everybody's row in rota.limits, and rows of persons (rota.may_run_agents)."""

from __future__ import annotations

from collections.abc import Sequence

from rota.domain.agents.people import Person
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import execute, many, value


async def list_people(conn: Connection) -> tuple[Person, ...]:
    """Return who is named, by their addresses."""
    return await many(conn, "agents/list_people", Person)


async def may_run(conn: Connection, user_id: UserId) -> bool:
    """Return whether a person may run agents."""
    return await value(conn, "agents/may_run", bool, user_id=user_id)


async def is_open_to_all(conn: Connection) -> bool:
    """Return whether whoever is not named may run agents."""
    return await value(conn, "agents/is_open_to_all", bool)


async def set_open_to_all(conn: Connection, *, is_open: bool) -> None:
    """Say whether whoever is not named may run agents."""
    await execute(conn, "agents/set_open_to_all", is_open=is_open)


async def set_may_run(conn: Connection, people: Sequence[UserId], *, may_run: bool) -> None:
    """Say whether these people may run agents."""
    await execute(conn, "agents/set_may_run", people=list(people), may_run=may_run)
