"""Rows of notifications."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from rota.domain.ids import NotificationId
from rota.domain.notifications.notification import Category, NewNotification, Notification
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.records import records, row_of
from rota.store.statements import Row, execute, many, value, values


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
    conn: Connection,
    *,
    unread_only: bool = False,
    category: Category | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int,
) -> tuple[Notification, ...]:
    """Return the newest notifications that the transaction's person sees, newest first.

    `after` are `created_at` and the id of the last one of the page before.
    """
    after_at, after_id = after or (None, None)
    return await many(
        conn,
        "notifications/list_notifications",
        Notification,
        unread_only=unread_only,
        category=category,
        after_at=after_at,
        after_id=after_id,
        limit=limit,
    )


async def count_notifications(
    conn: Connection, *, unread_only: bool, category: Category | None
) -> int:
    """Return how many such notifications the transaction's person sees."""
    return await value(
        conn,
        "notifications/count_notifications",
        int,
        unread_only=unread_only,
        category=category,
    )


async def find_notifications(
    conn: Connection, prefixes: Sequence[str], *, limit: int
) -> dict[str, list[Notification]]:
    """Return what of the transaction's person begins so: at most `limit` of each beginning.

    Beginnings of ids are hexadecimal digits and hyphens.
    """
    found: dict[str, list[Notification]] = {prefix: [] for prefix in prefixes}
    for row in await many(
        conn, "notifications/find_notifications", Row, prefixes=list(found), limit=limit
    ):
        found[row["prefix"]].append(read(Notification, row))
    return found


async def mark_read(conn: Connection, ids: Sequence[NotificationId] | None) -> int:
    """Mark these, or all (None), of the transaction's person as read; returns how many were not."""
    return await execute(conn, "notifications/mark_notifications_read", ids=ids)
