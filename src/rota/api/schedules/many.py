"""Schedules over HTTP: many changed at once, and the forecast of all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Manager, Reader, Services
from rota.api.pages import Page
from rota.api.schedules.editing import Agent, Prefix
from rota.domain.schedules.schedule import State, WhichSchedules
from rota.services.schedules.bulk import MOST_AT_ONCE, Action
from rota.shown.schedule_models import BulkModel, ForecastPageModel

router = APIRouter(route_class=StrictRoute)

LONGEST_FORECAST: Final = 31
"""Days."""

_BULK: Final[dict[str, Any]] = {
    "names": {"value": {"action": "pause", "schedules": ["morning", "noon"], "note": "vacation"}},
    "filter": {"value": {"action": "resume", "filter": {"agent": "clerk"}, "dry_run": True}},
}


class Filter(BaseModel):
    """Which schedules: of an agent, in a state, whose names begin so. Left out: any."""

    model_config = ConfigDict(extra="forbid", strict=True)

    agent: str | None = Field(None, max_length=63)
    state: State | None = None
    name_prefix: str | None = Field(None, max_length=100)


class BulkAsked(BaseModel):
    """What to do to which schedules: those named, or all of a filter."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: Action
    schedules: list[Annotated[str, Field(max_length=100)]] | None = Field(
        None, min_length=1, max_length=MOST_AT_ONCE, description="Names or whole ids."
    )
    filter: Filter | None = Field(None, description="All of these; `{}` are all that you have.")
    note: str = Field("", max_length=1_000, description="Why they are paused or resumed.")
    dry_run: bool = Field(
        False, description="Change nothing, and show the outcome that each would have."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.schedules is None) == (self.filter is None):
            raise ValueError("give `schedules` or `filter`, one of them")
        return self


@router.post("/schedules/bulk", response_model=BulkModel)
async def change_schedules(
    me: Manager, app: Services, body: Annotated[BulkAsked, Body(openapi_examples=_BULK)]
) -> Response:
    """Pause, resume or delete up to 1,000 schedules at once, each with its own outcome.

    Outcomes are paused, resumed, deleted, unchanged, not_found, and refused: a rule that cannot be
    read is not resumed.
    """
    which = body.filter or Filter(agent=None, state=None, name_prefix=None)
    items = await app.schedule_bulk.change(
        me.user_id,
        body.action,
        names=body.schedules,
        which=WhichSchedules(which.agent, which.state, which.name_prefix),
        note=body.note,
        dry_run=body.dry_run,
    )
    return answer({"dry_run": body.dry_run, "items": items})


@router.get("/forecast", response_model=ForecastPageModel)
async def forecast_schedules(
    me: Reader,
    app: Services,
    page: Page,
    hours: Annotated[
        int | None,
        Query(ge=1, le=24 * LONGEST_FORECAST, description="How many hours to look ahead."),
    ] = None,
    days: Annotated[
        int, Query(ge=1, le=LONGEST_FORECAST, description="How many days, unless hours are given.")
    ] = 7,
    agent: Agent = None,
    name_prefix: Prefix = None,
) -> Response:
    """List the fires of all your active schedules in the time to come, the earliest first.

    `suppressed` says why one will not run. Overlap decides when it is due. They are not counted.
    """
    after = page.keys(datetime, str, datetime)
    length = timedelta(hours=hours) if hours is not None else timedelta(days=days)
    until = app.clock() + length if after is None else min(after[2], app.clock() + length)
    found = await app.schedule_views.forecast(
        me.user_id,
        WhichSchedules(agent, "active", name_prefix),
        until=until,
        after=None if after is None else (after[0], after[1]),
        limit=page.fetched,
    )
    zone = await app.schedules.zone(me.user_id)
    listed = page.page(found, lambda one: (*one.place, until))
    return answer(listed | {"until": until, "time_zone": zone})
