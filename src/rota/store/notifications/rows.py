"""Rows of notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from rota.domain.ids import NotificationId, RunId, UserId
from rota.domain.notifications.notification import Category, Notification
from rota.store.database import Connection
from rota.store.records import records, row_of
from rota.store.statements import statement


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to write: texts that can be stored, within their limits."""

    user_id: UserId
    category: Category
    title: str
    body: str
    metadata: Mapping[str, Any]
    run_id: RunId | None


async def insert_notifications(
    conn: Connection, new: Sequence[NewNotification]
) -> tuple[NotificationId, ...]:
    """Insert notifications and return their ids, in their order."""
    cursor = await conn.execute(
        statement("notifications/insert_notifications"),
        {"notifications": records(row_of(notification) for notification in new)},
    )
    return tuple(NotificationId(row[0]) for row in await cursor.fetchall())


async def list_notifications(
    conn: Connection, *, unread_only: bool, limit: int
) -> tuple[Notification, ...]:
    """Return the newest notifications that the transaction's person sees, newest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            statement("notifications/list_notifications"),
            {"unread_only": unread_only, "limit": limit},
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
    cursor = await conn.execute(statement("notifications/find_notifications"), {"prefix": prefix})
    return tuple(NotificationId(row[0]) for row in await cursor.fetchall())


async def mark_read(conn: Connection, ids: Sequence[NotificationId] | None) -> int:
    """Mark these, or all (None), of the transaction's person as read; returns how many were not."""
    cursor = await conn.execute(
        statement("notifications/mark_notifications_read"),
        {"ids": list(ids) if ids is not None else None},
    )
    return cursor.rowcount
