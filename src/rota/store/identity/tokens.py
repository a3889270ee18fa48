"""Rows of API tokens."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from rota.domain.identity.scopes import Scope
from rota.domain.identity.tokens import ApiToken, TokenBearer
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import Row, has_effect, many, one_or_none


async def insert(
    conn: Connection,
    user_id: UserId,
    name: str,
    *,
    hash_: bytes,
    scopes: Collection[Scope],
    now: datetime,
    expires_at: datetime | None,
    most: int,
) -> ApiToken | None:
    """Insert a token; None where the person has `most` already.

    Raises ConflictError where they have one of that name.
    """
    return await one_or_none(
        conn,
        "identity/insert_token",
        _token,
        user_id=user_id,
        name=name,
        hash=hash_,
        scopes=[str(scope) for scope in Scope if scope in scopes],
        now=now,
        expires_at=expires_at,
        most=most,
    )


async def list_all(conn: Connection, user_id: UserId) -> tuple[ApiToken, ...]:
    """Return a person's tokens by their names."""
    return await many(conn, "identity/list_tokens", _token, user_id=user_id)


async def delete(conn: Connection, user_id: UserId, token_id: UUID) -> bool:
    """Delete a token; False where it is gone."""
    return await has_effect(conn, "identity/delete_token", id=token_id, user_id=user_id)


async def use(
    conn: Connection, hash_: bytes, *, now: datetime, a_minute_ago: datetime
) -> TokenBearer | None:
    """Return whom the token with this hash belongs to; None for an unknown or an expired one."""
    return await one_or_none(
        conn,
        "identity/use_token",
        lambda row: TokenBearer(UserId(row["user_id"]), frozenset(map(Scope, row["scopes"]))),
        hash=hash_,
        now=now,
        a_minute_ago=a_minute_ago,
    )


def _token(row: Row) -> ApiToken:
    return ApiToken(**{**row, "scopes": tuple(map(Scope, row["scopes"]))})
