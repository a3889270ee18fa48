"""Schedules over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services
from rota.domain.schedules.schedule import Schedule
from rota.shown.models import model_of

router = APIRouter(prefix="/schedules", tags=["schedules"], route_class=StrictRoute)


@router.get("/{schedule}", response_model=model_of(Schedule))
async def get_schedule(
    me: Reader, app: Services, schedule: Annotated[str, Path(examples=["each-morning"])]
) -> Response:
    """Return a schedule by its name, its id, or the beginning of its id."""
    found = await app.schedules.get(me.user_id, schedule)
    return answer(found, etag=str(found.revision))
