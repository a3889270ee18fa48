"""People: rows of `auth.users` (Supabase's, or the shim's) and their settings."""

from __future__ import annotations

from uuid import UUID

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import execute, value, value_or_none


async def find_user(conn: Connection, reference: str) -> UserId | None:
    """Return the person with this e-mail address or id, or None."""
    try:
        user_id: UUID | None = UUID(reference)
    except ValueError:
        user_id = None
    return await value_or_none(conn, "find_user", UserId, email=reference, user_id=user_id)


async def ensure_user(conn: Connection, email: str) -> UserId:
    """Return the person with this address, inserted if missing (shim only, not on Supabase)."""
    if (found := await find_user(conn, email)) is not None:
        return found
    await execute(conn, "insert_user", email=email)
    return await value(conn, "find_user", UserId, email=email, user_id=None)


async def fetch_time_zone(conn: Connection, user_id: UserId) -> str:
    """Return the person's IANA zone; UTC where they set none."""
    return await value_or_none(conn, "fetch_time_zone", str, user_id=user_id) or "UTC"


async def set_time_zone(conn: Connection, user_id: UserId, time_zone: str) -> None:
    """Set the person's IANA zone; their schedules that follow it are planned anew."""
    await execute(conn, "set_time_zone", user_id=user_id, time_zone=time_zone)
