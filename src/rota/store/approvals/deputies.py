"""Rows of deputies: who may decide in whose place."""

from __future__ import annotations

from collections.abc import Collection

from rota.domain.approvals.deputies import Deputy
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.records import row_of
from rota.store.statements import has_effect, many, value


async def list_deputies(conn: Connection) -> tuple[Deputy, ...]:
    """Return all that the transaction's person sees: those of them, and those they are."""
    return await many(conn, "approvals/list_deputies", Deputy)


async def list_deputies_of(conn: Connection, people: Collection[UserId]) -> tuple[Deputy, ...]:
    """Return the deputies of some people."""
    return await many(conn, "approvals/list_deputies_of", Deputy, user_ids=people)


async def insert_deputy(conn: Connection, deputy: Deputy) -> bool:
    """Let somebody stand in; one who does already is named anew, and False returned."""
    return await value(conn, "approvals/insert_deputy", bool, **row_of(deputy))


async def delete_deputy(conn: Connection, user_id: UserId, deputy_id: UserId) -> bool:
    """Take that back; False where it was not so."""
    return await has_effect(conn, "approvals/delete_deputy", user_id=user_id, deputy_id=deputy_id)
