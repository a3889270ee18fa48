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
    """A connection with its secret still encrypted."""

    secret: bytes
    key_id: str
    expires_at: datetime | None
    account: str = ""
    problem: str = ""
    refused_logins: int = 0


async def fetch_sealed(conn: Connection, user_id: UserId, service: str) -> SealedConnection | None:
    """Return an active connection, or None."""
    return await one_or_none(
        conn, "agents/fetch_sealed_connection", SealedConnection, user_id=user_id, service=service
    )


async def upsert_sealed(
    conn: Connection,
    user_id: UserId,
    service: str,
    sealed: SealedConnection,
    *,
    checked_at: datetime | None,
) -> None:
    """Insert or replace a person's connection to a service; its state begins anew."""
    await execute(
        conn,
        "agents/upsert_connection",
        user_id=user_id,
        service=service,
        checked_at=checked_at,
        account=sealed.account,
        secret=sealed.secret,
        key_id=sealed.key_id,
        expires_at=sealed.expires_at,
    )


async def note(
    conn: Connection,
    user_id: UserId,
    service: str,
    secret: bytes,
    *,
    state: ConnectionState,
    problem: str,
    is_refusal: bool,
    used_at: datetime | None = None,
    checked_at: datetime | None = None,
) -> None:
    """Write how a connection with this (sealed) secret did; a use to the minute only."""
    await execute(
        conn,
        "agents/note_connection",
        user_id=user_id,
        service=service,
        secret=secret,
        state=state,
        problem=problem,
        is_refusal=is_refusal,
        used_at=used_at,
        checked_at=checked_at,
    )


async def list_connections(conn: Connection) -> tuple[ConnectionInfo, ...]:
    """Return the connections that the transaction's person sees, by service."""
    return await many(conn, "agents/list_connections", ConnectionInfo)


async def delete_connection(conn: Connection, service: str) -> bool:
    """Delete a connection of the transaction's person; False if there is none."""
    return await has_effect(conn, "agents/delete_connection", service=service)
