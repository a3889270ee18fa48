"""Rows of notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from rota.domain.ids import NotificationId, RunId, UserId
from rota.domain.notifications import Category, Notification
from rota.store.database import Connection
from rota.store.statements import statement


async def insert_notification(
    conn: Connection,
    *,
    user_id: UserId,
    category: Category,
    title: str,
    body: str,
    metadata: Mapping[str, Any],
    run_id: RunId | None,
) -> NotificationId:
    """Insert a notification and return its id."""
    cursor = await conn.execute(
        statement("insert_notification"),
        {
            "user_id": user_id,
            "category": category,
            "title": title,
            "body": body,
            "metadata": Jsonb(dict(metadata)),
            "run_id": run_id,
        },
    )
    row = await cursor.fetchone()
    if row is None:  # INSERT ... RETURNING of one row always returns it
        raise RuntimeError("insert_notification returned no row")
    return NotificationId(row[0])


async def list_notifications(
    conn: Connection, *, unread_only: bool, limit: int
) -> tuple[Notification, ...]:
    """Return the newest notifications that the transaction's person sees, newest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            statement("list_notifications"), {"unread_only": unread_only, "limit": limit}
        )
        rows = await cursor.fetchall()
    return tuple(
        Notification(
            id=NotificationId(row["id"]),
            user_id=UserId(row["user_id"]),
            category=Category(row["category"]),
            title=row["title"],
            body=row["body"],
            metadata=row["metadata"],
            run_id=RunId(row["run_id"]) if row["run_id"] is not None else None,
            read_at=row["read_at"],
            created_at=row["created_at"],
        )
        for row in rows
    )


async def find_notifications(conn: Connection, prefix: str) -> tuple[NotificationId, ...]:
    """Return the ids, at most two, that begin so, of the transaction's person."""
    cursor = await conn.execute(statement("find_notifications"), {"prefix": prefix})
    return tuple(NotificationId(row[0]) for row in await cursor.fetchall())


async def mark_read(conn: Connection, ids: Sequence[NotificationId] | None) -> int:
    """Mark these, or all (None), of the transaction's person as read; returns how many were not."""
    cursor = await conn.execute(
        statement("mark_notifications_read"), {"ids": list(ids) if ids is not None else None}
    )
    return cursor.rowcount
