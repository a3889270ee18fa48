"""Rows of what `rota apply` stored last, and locks on what it is about to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import execute, value_or_none

Hashes = Mapping[str, Sequence[str]]
"""By the name of a file, what hashes its contents had."""


async def lock_own(conn: Connection, user_id: UserId) -> None:
    """Keep others from changing a person's schedules, agents and calendars for now."""
    await execute(conn, "agent_files/lock_schedules", user_id=user_id)
    await execute(conn, "agent_files/lock_agents", user_id=user_id)
    await execute(conn, "agent_files/lock_calendars", user_id=user_id)


async def fetch_hashes(conn: Connection, user_id: UserId) -> Hashes:
    """Return what was applied last; nothing where nothing was."""
    return await value_or_none(conn, "agent_files/fetch_hashes", dict, user_id=user_id) or {}


async def set_hashes(conn: Connection, user_id: UserId, hashes: Hashes) -> None:
    """Remember what was applied."""
    await execute(conn, "agent_files/set_hashes", user_id=user_id, hashes=hashes)
