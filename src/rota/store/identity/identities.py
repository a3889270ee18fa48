"""Rows of identities: whom issuers mean by their subjects."""

from __future__ import annotations

from datetime import datetime

from rota.domain.identity.identities import Identity, Origin
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import has_effect, many, one_or_none


async def find(conn: Connection, issuer: str, subject: str) -> Identity | None:
    """Return an identity, None for one that is not linked."""
    return await one_or_none(
        conn, "identity/find_identity", Identity, issuer=issuer, subject=subject
    )


async def insert(
    conn: Connection, issuer: str, subject: str, user_id: UserId, *, now: datetime
) -> bool:
    """Link a subject to a person, as the operator says; False where it is linked already."""
    return await has_effect(
        conn,
        "identity/insert_identity",
        issuer=issuer,
        subject=subject,
        user_id=user_id,
        origin=Origin.OPERATOR.value,
        now=now,
    )


async def insert_of_email(
    conn: Connection, issuer: str, subject: str, user_id: UserId, *, now: datetime
) -> bool:
    """Link a subject to a person by their address; False where they have a subject there."""
    return await has_effect(
        conn,
        "identity/insert_identity_of_email",
        issuer=issuer,
        subject=subject,
        user_id=user_id,
        now=now,
    )


async def list_all(conn: Connection, user_id: UserId) -> tuple[Identity, ...]:
    """Return a person's identities."""
    return await many(conn, "identity/list_identities", Identity, user_id=user_id)


async def delete(conn: Connection, issuer: str, subject: str, user_id: UserId) -> bool:
    """Unlink a subject; False where it is not this person's."""
    return await has_effect(
        conn, "identity/delete_identity", issuer=issuer, subject=subject, user_id=user_id
    )
