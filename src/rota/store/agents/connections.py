"""Rows of connections: a person's accounts elsewhere, their secrets sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import statement


@dataclass(frozen=True, slots=True)
class SealedConnection:
    """A connection with its secret still encrypted."""

    secret: bytes
    key_id: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection as its owner sees it: without the secret."""

    service: str
    account: str
    expires_at: datetime | None
    is_active: bool
    created_at: datetime


async def fetch_sealed(conn: Connection, user_id: UserId, service: str) -> SealedConnection | None:
    """Return an active connection, or None."""
    async with conn.cursor(row_factory=class_row(SealedConnection)) as cursor:
        await cursor.execute(
            statement("agents/fetch_sealed_connection"), {"user_id": user_id, "service": service}
        )
        return await cursor.fetchone()


async def upsert_sealed(
    conn: Connection,
    *,
    user_id: UserId,
    service: str,
    account: str,
    secret: bytes,
    key_id: str,
    expires_at: datetime | None,
) -> None:
    """Insert or replace a person's connection to a service."""
    await conn.execute(
        statement("agents/upsert_connection"),
        {
            "user_id": user_id,
            "service": service,
            "account": account,
            "secret": secret,
            "key_id": key_id,
            "expires_at": expires_at,
        },
    )


async def list_connections(conn: Connection) -> tuple[ConnectionInfo, ...]:
    """Return the connections that the transaction's person sees, by service."""
    async with conn.cursor(row_factory=class_row(ConnectionInfo)) as cursor:
        await cursor.execute(statement("agents/list_connections"))
        return tuple(await cursor.fetchall())


async def delete_connection(conn: Connection, service: str) -> bool:
    """Delete a connection of the transaction's person; False if there is none."""
    cursor = await conn.execute(statement("agents/delete_connection"), {"service": service})
    return cursor.rowcount > 0
