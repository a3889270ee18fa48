"""Rows of connections: a person's accounts elsewhere, their secrets sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rota.domain.agents.connections import ConnectionInfo
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.records import row_of
from rota.store.statements import execute, has_effect, many, one_or_none


@dataclass(frozen=True, slots=True)
class SealedConnection:
    """A connection with its secret still encrypted."""

    secret: bytes
    key_id: str
    expires_at: datetime | None


async def fetch_sealed(conn: Connection, user_id: UserId, service: str) -> SealedConnection | None:
    """Return an active connection, or None."""
    return await one_or_none(
        conn, "agents/fetch_sealed_connection", SealedConnection, user_id=user_id, service=service
    )


async def upsert_sealed(
    conn: Connection, user_id: UserId, service: str, account: str, sealed: SealedConnection
) -> None:
    """Insert or replace a person's connection to a service."""
    named = {"user_id": user_id, "service": service, "account": account}
    await execute(conn, "agents/upsert_connection", **named, **row_of(sealed))


async def list_connections(conn: Connection) -> tuple[ConnectionInfo, ...]:
    """Return the connections that the transaction's person sees, by service."""
    return await many(conn, "agents/list_connections", ConnectionInfo)


async def delete_connection(conn: Connection, service: str) -> bool:
    """Delete a connection of the transaction's person; False if there is none."""
    return await has_effect(conn, "agents/delete_connection", service=service)
