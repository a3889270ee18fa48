"""Rows of connections: a person's accounts elsewhere, with encrypted secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rota.domain.agents.connections import MOST_REFUSALS, ConnectionInfo, ConnectionState
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.records import row_of
from rota.store.statements import Row, execute, has_effect, many, one_or_none


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
    is_use: bool,
    is_check: bool,
    at: datetime,
    check_at: datetime,
    refresh_at: datetime | None = None,
) -> None:
    """Write how a use or check of a connection with this (sealed) secret went at `at`.

    A use is written to the minute only. `check_at` is when it is to be checked next, `refresh_at`
    when its access token is to be refreshed, None for as it was.
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
        is_use=is_use,
        is_check=is_check,
        at=at,
        check_at=check_at,
        refresh_at=refresh_at,
    )


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one task of one process to refresh a connection, until it ends by the clock."""

    user_id: UserId
    name: str
    holder: UUID


async def take_lease(conn: Connection, lease: Lease, *, seconds: float) -> SealedConnection | None:
    """Take the lease of a connection for so long, and return its row; None where it is taken."""
    return await one_or_none(
        conn, "agents/take_lease", SealedConnection, **row_of(lease), seconds=seconds
    )


async def renew_lease(conn: Connection, lease: Lease, *, seconds: float) -> bool:
    """Have a lease for so long from now; False where another has it by now."""
    return await has_effect(conn, "agents/renew_lease", **row_of(lease), seconds=seconds)


async def release_lease(conn: Connection, lease: Lease) -> None:
    """Give a lease back, where it is still had."""
    await execute(conn, "agents/release_lease", **row_of(lease))


async def replace_grant(
    conn: Connection,
    user_id: UserId,
    name: str,
    sealed: SealedConnection,
    *,
    was: bytes,
    at: datetime,
) -> bool:
    """Store a refreshed grant in place of the (sealed) secret `was`; False where that has gone."""
    return await has_effect(
        conn,
        "agents/replace_grant",
        user_id=user_id,
        name=name,
        secret=sealed.secret,
        key_id=sealed.key_id,
        scopes=list(sealed.scopes),
        expires_at=sealed.expires_at,
        refresh_at=sealed.refresh_at,
        was=was,
        at=at,
    )


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """Which connection of whom."""

    user_id: UserId
    name: str


async def list_due_refreshes(
    conn: Connection, *, key_ids: Sequence[str], now: datetime, limit: int
) -> tuple[ConnectionKey, ...]:
    """Return connections whose access token is to be refreshed, and that nobody refreshes now.

    Of those that were encrypted with one of these keys.
    """
    return await many(
        conn,
        "agents/list_due_refreshes",
        ConnectionKey,
        key_ids=list(key_ids),
        now=now,
        limit=limit,
    )


async def claim_due_checks(
    conn: Connection, *, key_ids: Sequence[str], now: datetime, again_at: datetime, limit: int
) -> tuple[ConnectionKey, ...]:
    """Take connections of these keys that are to be checked; each is given to one caller.

    `again_at` is when they are given out again if that caller never writes how it went.
    """
    return await many(
        conn,
        "agents/claim_due_checks",
        ConnectionKey,
        key_ids=list(key_ids),
        now=now,
        again_at=again_at,
        most_refusals=MOST_REFUSALS,
        limit=limit,
    )


@dataclass(frozen=True, slots=True)
class Telling:
    """A connection whose owner is to hear that its state `was` one thing and `is_now` another.

    Both are empty where there is nothing to tell.
    """

    user_id: UserId
    name: str
    kind: str
    account: str
    problem: str
    expires_at: datetime | None
    troubled_since: datetime | None
    was: str
    is_now: str


async def claim_tellings(
    conn: Connection, *, now: datetime, broken_before: datetime, ends_before: datetime, limit: int
) -> tuple[Telling, ...]:
    """Take what people are to be told of connections; each is given to one caller."""
    return await many(
        conn,
        "agents/claim_tellings",
        Telling,
        now=now,
        broken_before=broken_before,
        ends_before=ends_before,
        limit=limit,
    )


async def list_connections(conn: Connection) -> tuple[ConnectionInfo, ...]:
    """Return the connections that the transaction's person sees, by name."""
    return await many(conn, "agents/list_connections", ConnectionInfo)


@dataclass(frozen=True, slots=True)
class OwnedConnection:
    """A connection with its id, for who looks after those of everybody."""

    id: UUID
    seen: ConnectionInfo


async def list_all_connections(conn: Connection) -> tuple[OwnedConnection, ...]:
    """Return everybody's connections, by name."""
    return await many(conn, "agents/list_all_connections", _owned)


def _owned(row: Row) -> OwnedConnection:
    id_ = row.pop("id")
    return OwnedConnection(id_, read(ConnectionInfo, row))


async def delete_connection(conn: Connection, name: str) -> bool:
    """Delete a connection of the transaction's person; False if there is none."""
    return await has_effect(conn, "agents/delete_connection", name=name)
