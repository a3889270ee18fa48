"""How rota itself is over HTTP, and one's own day at a glance."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services
from rota.shown.system import StatusShown, SystemShown, status_json, system_json

router = APIRouter(tags=["system"], route_class=StrictRoute)


def _example(**value: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": value}}}}


@router.get(
    "/system",
    response_model=SystemShown,
    responses=_example(version="1.0", is_writable=True, is_scheduler_alive=True, queue=None),
)
async def get_system(me: Reader, app: Services) -> Response:
    """Return how rota itself is: its processes, and whether the database takes writes.

    Operators also see the queue of everybody's runs, how late it is, and where processes run.
    """
    found = await app.status.system(for_operator=me.is_operator)
    return answer(system_json(found, for_operator=me.is_operator))


@router.get(
    "/status",
    response_model=StatusShown,
    responses=_example(now="2026-11-30T06:00:00Z", time_zone="Europe/Berlin", overdue=[]),
)
async def get_status(me: Reader, app: Services) -> Response:
    """Return your day at a glance: what ran today and failed, what waits, what comes next."""
    return answer(status_json(await app.status.get(me.user_id), for_operator=me.is_operator))
