"""Reads the usage of a person's runs, by day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from uuid import UUID

from rota.domain.ids import ScheduleId, UserId
from rota.domain.runs.views import AgentUsage, UsageView
from rota.domain.text.zones import zone_shown
from rota.store import users
from rota.store.database import Connection, Database
from rota.store.runs import views as rows


class UsageService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def latest(self, user_id: UserId, *, days: int) -> tuple[UsageView, ...]:
        """Return what was used in the latest days of the person's zone, today's included."""
        async with self._database.acting_as(user_id) as conn:
            after, zone = await self._since(conn, user_id, days)
            return await rows.list_usage(conn, user_id, after=after, zone=zone)

    async def by_schedule(
        self,
        user_id: UserId,
        *,
        days: int,
        schedule_id: ScheduleId | None = None,
        below: tuple[date, UUID] | None = None,
        limit: int,
    ) -> tuple[tuple[UsageView, ...], str]:
        """Return a page of what was used in the latest days, by schedule, and the person's zone."""
        async with self._database.acting_as(user_id) as conn:
            after, zone = await self._since(conn, user_id, days)
            found = await rows.list_usage_by_schedule(
                conn,
                user_id,
                after=after,
                zone=zone,
                schedule_id=schedule_id,
                below=below,
                limit=limit,
            )
        return found, zone

    async def by_agent(
        self,
        user_id: UserId,
        *,
        days: int,
        agent_name: str | None = None,
        below: tuple[date, str] | None = None,
        limit: int,
    ) -> tuple[tuple[AgentUsage, ...], str]:
        """Return a page of what was used in the latest days, by agent, and the person's zone."""
        async with self._database.acting_as(user_id) as conn:
            after, zone = await self._since(conn, user_id, days)
            found = await rows.list_usage_by_agent(
                conn,
                user_id,
                after=after,
                zone=zone,
                agent_name=agent_name,
                below=below,
                limit=limit,
            )
        return found, zone

    async def _since(self, conn: Connection, user_id: UserId, days: int) -> tuple[date, str]:
        """Return the day before the first of these days, and the person's zone."""
        zone = zone_shown(await users.fetch_time_zone(conn, user_id))
        today = self._clock().astimezone(zone).date()
        return today - timedelta(days=days), str(zone)
