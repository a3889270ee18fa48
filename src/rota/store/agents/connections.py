"""Rows of connections: a person's accounts elsewhere, with encrypted secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rota.domain.agents.connections import ConnectionInfo, ConnectionState
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import execute, has_effect, many, one_or_none


@dataclass(frozen=True, slots=True)
class SealedConnection:
    """A connection with its secret still encrypted.

    `refresh_at` is when its access token is to be refreshed, None where it has none.
    """

    kind: str
    secret: bytes
    key_id: str
    expires_at: datetime | None
    account: str = ""
    scopes: tuple[str, ...] = ()
    problem: str = ""
    refused_logins: int = 0
    refresh_at: datetime | None = None


async def fetch_sealed(conn: Connection, user_id: UserId, name: str) -> SealedConnection | None:
    """Return an active connection, or None."""
    return await one_or_none(
        conn, "agents/fetch_sealed_connection", SealedConnection, user_id=user_id, name=name
    )


async def upsert_sealed(
    conn: Connection,
    user_id: UserId,
    name: str,
    sealed: SealedConnection,
    *,
    checked_at: datetime | None,
    check_at: datetime,
) -> bool:
    """Insert a person's connection, or replace that of its name; its state begins anew.

    False where the name is that of another kind.
    """
    return await has_effect(
        conn,
        "agents/upsert_connection",
        user_id=user_id,
        name=name,
        kind=sealed.kind,
        checked_at=checked_at,
        check_at=check_at,
        account=sealed.account,
        scopes=list(sealed.scopes),
        secret=sealed.secret,
        key_id=sealed.key_id,
        expires_at=sealed.expires_at,
        refresh_at=sealed.refresh_at,
    )


async def note(
    conn: Connection,
    user_id: UserId,
    name: str,
    secret: bytes,
    *,
    state: ConnectionState,
    problem: str,
    is_refusal: bool,
    is_check: bool,
    at: datetime,
    check_at: datetime,
) -> None:
    """Write how a use or check of a connection with this (sealed) secret went at `at`.

    A use is written to the minute only. `check_at` is when it is to be checked next.
    """
    await execute(
        conn,
        "agents/note_connection",
        user_id=user_id,
        name=name,
        secret=secret,
        state=state,
        problem=problem,
        is_refusal=is_refusal,
        is_check=is_check,
        at=at,
        check_at=check_at,
    )


async def list_connections(conn: Connection) -> tuple[ConnectionInfo, ...]:
    """Return the connections that the transaction's person sees, by name."""
    return await many(conn, "agents/list_connections", ConnectionInfo)


async def delete_connection(conn: Connection, name: str) -> bool:
    """Delete a connection of the transaction's person; False if there is none."""
    return await has_effect(conn, "agents/delete_connection", name=name)
