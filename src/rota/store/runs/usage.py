"""Rows of what was used, by day of their owner's zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import many


@dataclass(frozen=True, slots=True)
class UsageView:
    """What was used on a day: in all (`schedule_id` None), or by the runs of one schedule.

    `schedule_name` is None as well where the schedule is gone. `day_limits` are the schedule's, as
    JSON. What calls cost whose price nobody knows is not in `cost_usd`.
    """

    day: date
    schedule_id: UUID | None
    schedule_name: str | None
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    day_limits: Mapping[str, Any] | None


async def list_usage(conn: Connection, user_id: UserId, *, after: date) -> tuple[UsageView, ...]:
    """Return a person's days after one, the latest first: each in all, then by schedule."""
    return await many(conn, "runs/list_usage", UsageView, user_id=user_id, after=after)
