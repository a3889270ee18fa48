"""Rows of sessions, and of links that sign in once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from rota.domain.identity.sessions import Session, SignedInBy
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import execute, has_effect, many, one, one_or_none, value_or_none


async def insert(
    conn: Connection,
    user_id: UserId,
    *,
    hash_: bytes,
    signed_in_by: SignedInBy,
    user_agent: str,
    now: datetime,
    idle_ends_at: datetime,
    ends_at: datetime,
) -> Session:
    """Insert a session."""
    return await one(
        conn,
        "identity/insert_session",
        Session,
        user_id=user_id,
        hash=hash_,
        signed_in_by=signed_in_by.value,
        user_agent=user_agent,
        now=now,
        idle_ends_at=idle_ends_at,
        ends_at=ends_at,
    )


async def delete_beyond(conn: Connection, user_id: UserId, *, most: int) -> None:
    """Delete a person's sessions beyond the `most` that were seen last."""
    await execute(conn, "identity/delete_sessions_beyond", user_id=user_id, most=most)


async def use(
    conn: Connection, hash_: bytes, *, now: datetime, a_minute_ago: datetime, idle_ends_at: datetime
) -> Session | None:
    """Return the session with this hash, None for one that is unknown or over."""
    return await one_or_none(
        conn,
        "identity/use_session",
        Session,
        hash=hash_,
        now=now,
        a_minute_ago=a_minute_ago,
        idle_ends_at=idle_ends_at,
    )


async def list_all(conn: Connection, user_id: UserId, now: datetime) -> tuple[Session, ...]:
    """Return a person's sessions that are not over, the one seen last first."""
    return await many(conn, "identity/list_sessions", Session, user_id=user_id, now=now)


async def delete(conn: Connection, user_id: UserId, session_id: UUID) -> bool:
    """End a session; False where it is gone."""
    return await has_effect(conn, "identity/delete_session", id=session_id, user_id=user_id)


async def delete_of_cookie(conn: Connection, hash_: bytes) -> bool:
    """End the session with this hash; False where there is none."""
    return await has_effect(conn, "identity/delete_session_of_cookie", hash=hash_)


async def insert_link(
    conn: Connection, user_id: UserId, *, hash_: bytes, now: datetime, expires_at: datetime
) -> None:
    """Insert a link that signs in once."""
    await execute(
        conn, "identity/insert_link", user_id=user_id, hash=hash_, now=now, expires_at=expires_at
    )


async def use_link(conn: Connection, hash_: bytes, now: datetime) -> UserId | None:
    """Use a link up, and return whose it is; None for one that is unknown, used or expired."""
    return await value_or_none(conn, "identity/use_link", UserId, hash=hash_, now=now)


async def delete_ended(conn: Connection, *, now: datetime, tokens_before: datetime) -> int:
    """Delete what is over; returns how many sessions."""
    return await execute(conn, "identity/delete_ended", now=now, tokens_before=tokens_before)
