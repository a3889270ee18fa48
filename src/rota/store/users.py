"""People: rows of `auth.users` (Supabase's, or the shim's) and their settings.

rota's role may not read Supabase's `auth.users`. It reads what it needs through functions that
belong to the owner.
"""

from __future__ import annotations

from uuid import UUID

from rota.domain.errors import ConflictError
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import execute, value, value_or_none, values


async def find_user(conn: Connection, reference: str) -> UserId | None:
    """Return the person with this e-mail address or id, or None.

    Raises ConflictError where several have the address, as people who sign in by SSO may.
    """
    try:
        user_id: UUID | None = UUID(reference)
    except ValueError:
        user_id = None
    found = await values(conn, "find_user", UserId, email=reference, user_id=user_id)
    if len(found) > 1:
        raise ConflictError(f"{len(found)} people are {reference}; name one by their id.")
    return found[0] if found else None


async def ensure_user(conn: Connection, email: str) -> UserId:
    """Return the person with this address, inserted if missing (shim only, not on Supabase)."""
    if (found := await find_user(conn, email)) is not None:
        return found
    await execute(conn, "insert_user", email=email)
    return await value(conn, "find_user", UserId, email=email, user_id=None)


async def makes_people(conn: Connection) -> bool:
    """Return whether `ensure_user` may insert people here: not on Supabase, where they sign up."""
    return bool(await value_or_none(conn, "makes_people", bool))


async def owns_people(conn: Connection) -> bool:
    """Return whether `auth.users` is the table that rota makes itself, and not Supabase's."""
    return await value(conn, "owns_people", bool)


async def fetch_address(conn: Connection, user_id: UserId) -> str | None:
    """Return a person's e-mail address."""
    return await value_or_none(conn, "fetch_address", str, user_id=user_id)


async def fetch_time_zone(conn: Connection, user_id: UserId) -> str:
    """Return the person's IANA zone; UTC where they set none."""
    return await value_or_none(conn, "fetch_time_zone", str, user_id=user_id) or "UTC"


async def set_time_zone(conn: Connection, user_id: UserId, time_zone: str) -> None:
    """Set the person's IANA zone; their schedules that follow it are planned anew."""
    await execute(conn, "set_time_zone", user_id=user_id, time_zone=time_zone)
