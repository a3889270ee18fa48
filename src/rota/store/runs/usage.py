"""Rows of what was used, by day of their owner's zone."""

from __future__ import annotations

from datetime import date

from rota.domain.ids import UserId
from rota.domain.runs.views import UsageView
from rota.store.database import Connection
from rota.store.statements import many


async def list_usage(conn: Connection, user_id: UserId, *, after: date) -> tuple[UsageView, ...]:
    """Return a person's days after one, the latest first: each in all, then by schedule."""
    return await many(conn, "runs/list_usage", UsageView, user_id=user_id, after=after)
