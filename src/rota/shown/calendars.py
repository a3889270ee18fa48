"""Calendars and their days off as faces show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rota.domain.schedules.calendars import Calendar, CalendarDay


def calendar_json(found: Calendar, days: Sequence[CalendarDay]) -> dict[str, Any]:
    """Return a calendar with its days."""
    return {
        "name": found.name,
        "source": found.source,
        "covers_until": found.covers_until,
        "next_day": found.next_day,
        "days": days,
    }
