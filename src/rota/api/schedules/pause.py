"""The pause of all schedules of a person, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer, etag_of, require_match, require_match_to_put
from rota.api.callers import Manager, Reader, Services
from rota.api.problems import ApiError, responses
from rota.shown.schedule_models import PausedModel, PauseModel
from rota.shown.schedules import pause_json

router = APIRouter(prefix="/pause", tags=["schedules"], route_class=StrictRoute)

_EXAMPLES: Final[dict[str, Any]] = {
    "vacation": {"value": {"for": "2w", "note": "vacation"}},
    "planned": {"value": {"from": "2026-12-24", "until": "2027-01-02", "note": "holidays"}},
    "open": {"value": {}},
}
_EDITS: Final = responses(412, 428)


class PauseAsked(BaseModel):
    """A pause of everything: from now, until you resume. Times without an offset are in your zone.

    Without a note it keeps that of the pause before.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    start: str | None = Field(None, alias="from", max_length=100, description="When it begins.")
    until: str | None = Field(None, max_length=100, description="When it ends.")
    length: str | None = Field(None, alias="for", max_length=100, description="Its length: `2w`.")
    note: str | None = Field(None, max_length=1_000, description="Why, for people who wonder.")


@router.get("", response_model=PauseModel)
async def get_pause(me: Reader, app: Services) -> Response:
    """Return the pause that all your schedules have, or are to have; null where there is none."""
    found = await app.pauses.get(me.user_id)
    zone = await app.schedules.zone(me.user_id)
    return answer(pause_json(found, zone), etag=None if found is None else etag_of(found))


@router.put("", response_model=PausedModel, responses=_EDITS)
async def put_pause(
    request: Request,
    me: Manager,
    app: Services,
    body: Annotated[PauseAsked, Body(openapi_examples=_EXAMPLES)],
) -> Response:
    """Pause all your schedules, in place of the pause that there is. Fires in it are skipped.

    Runs that have started go on, and you can still start runs yourself.
    `schedules_without_fire` are those whose last fire time lies in the pause.
    """
    found = await app.pauses.get(me.user_id)
    require_match_to_put(request, None if found is None else etag_of(found))
    made = await app.pauses.pause(
        me.user_id, start=body.start, until=body.until, length=body.length, note=body.note
    )
    lost = await app.pauses.schedules_without_fire(me.user_id)
    zone = await app.schedules.zone(me.user_id)
    shown = pause_json(made, zone) | {"schedules_without_fire": [one.name for one in lost]}
    return answer(shown, etag=etag_of(made))


@router.delete("", status_code=204, response_model=None, responses=_EDITS)
async def delete_pause(request: Request, me: Manager, app: Services) -> Response:
    """Resume all your schedules. Each fires at its next time. One paused by itself stays so."""
    found = await app.pauses.get(me.user_id)
    if found is None:
        raise ApiError(404, "not-found", "Nothing is paused.")
    require_match(request, etag_of(found))
    await app.pauses.resume(me.user_id)
    return Response(status_code=204)
