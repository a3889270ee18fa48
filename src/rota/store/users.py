"""People: rows of `auth.users` (Supabase's, or the shim's) and their settings."""

from __future__ import annotations

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import statement


async def find_user(conn: Connection, email: str) -> UserId | None:
    """Return the person with this address, or None."""
    cursor = await conn.execute(statement("find_user"), {"email": email})
    row = await cursor.fetchone()
    return UserId(row[0]) if row is not None else None


async def user_exists(conn: Connection, user_id: UserId) -> bool:
    """Return whether there is such a person."""
    cursor = await conn.execute(statement("user_exists"), {"user_id": user_id})
    row = await cursor.fetchone()
    return bool(row and row[0])


async def ensure_user(conn: Connection, email: str) -> UserId:
    """Return the person with this address, inserted if missing (shim only, not on Supabase)."""
    await conn.execute(statement("insert_user"), {"email": email})
    found = await find_user(conn, email)
    if found is None:  # just inserted, or there before
        raise RuntimeError("insert_user left no row")
    return found


async def fetch_time_zone(conn: Connection, user_id: UserId) -> str:
    """Return the person's IANA zone; UTC where they set none."""
    cursor = await conn.execute(statement("fetch_time_zone"), {"user_id": user_id})
    row = await cursor.fetchone()
    return str(row[0]) if row is not None else "UTC"


async def set_time_zone(conn: Connection, user_id: UserId, time_zone: str) -> None:
    """Set the person's IANA zone; their schedules that follow it are planned anew."""
    await conn.execute(statement("set_time_zone"), {"user_id": user_id, "time_zone": time_zone})
