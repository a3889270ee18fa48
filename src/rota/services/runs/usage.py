"""Reads the usage of a person's runs, by day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from rota.domain.ids import UserId
from rota.domain.runs.views import UsageView
from rota.domain.text.zones import zone_shown
from rota.store import users
from rota.store.database import Database
from rota.store.runs import views as rows


class UsageService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def latest(self, user_id: UserId, *, days: int) -> tuple[UsageView, ...]:
        """Return what was used in the latest days of the person's zone, today's included."""
        async with self._database.acting_as(user_id) as conn:
            zone = zone_shown(await users.fetch_time_zone(conn, user_id))
            today = self._clock().astimezone(zone).date()
            after = today - timedelta(days=days)
            return await rows.list_usage(conn, user_id, after=after, zone=str(zone))
