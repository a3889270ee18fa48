"""Rows of notifications."""

from __future__ import annotations

from collections.abc import Sequence

from rota.domain.ids import NotificationId
from rota.domain.notifications.notification import NewNotification, Notification
from rota.store.database import Connection
from rota.store.records import records, row_of
from rota.store.statements import execute, many, values


async def insert_notifications(
    conn: Connection, new: Sequence[NewNotification]
) -> tuple[NotificationId, ...]:
    """Insert notifications and return their ids, in their order."""
    return await values(
        conn,
        "notifications/insert_notifications",
        NotificationId,
        notifications=records(map(row_of, new)),
    )


async def list_notifications(
    conn: Connection, *, unread_only: bool = False, prefix: str | None = None, limit: int
) -> tuple[Notification, ...]:
    """Return the newest notifications that the transaction's person sees, newest first.

    `prefix`: of their ids.
    """
    return await many(
        conn,
        "notifications/list_notifications",
        Notification,
        unread_only=unread_only,
        prefix=prefix,
        limit=limit,
    )


async def find_notifications(conn: Connection, prefix: str) -> tuple[NotificationId, ...]:
    """Return the ids, at most two, that begin so, of the transaction's person."""
    return await values(conn, "notifications/find_notifications", NotificationId, prefix=prefix)


async def mark_read(conn: Connection, ids: Sequence[NotificationId] | None) -> int:
    """Mark these, or all (None), of the transaction's person as read; returns how many were not."""
    return await execute(conn, "notifications/mark_notifications_read", ids=ids)
