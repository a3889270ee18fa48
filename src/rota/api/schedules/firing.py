"""Schedules over HTTP: what they did and will do, and runs of them now and of the past."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Response

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services, Triggerer
from rota.api.pages import Page, page_of
from rota.api.runs.triggering import STARTED, Wait, started
from rota.api.schedules.bodies import (
    BackfillAsked,
    PreviewAsked,
    Reference,
    RunOfSchedule,
    naming_fields,
    policy_of,
)
from rota.domain.ids import ScheduleId
from rota.domain.schedules.occurrences import Outcome
from rota.domain.schedules.overlap import OverlapPolicy
from rota.services.schedules.preview import preview
from rota.shown.runs import RunStarted
from rota.shown.schedule_models import (
    BackfillModel,
    ExplanationsModel,
    OccurrenceModel,
    PreviewModel,
)
from rota.shown.schedules import backfill_json, preview_json

router = APIRouter(prefix="/schedules", route_class=StrictRoute)

_RUN: Final[dict[str, Any]] = {
    "as it is": {"value": {}},
    "another": {"value": {"prompt": "Only today.", "limits": {"cost": "0.10"}}},
}
_BACKFILL: Final[dict[str, Any]] = {
    "days": {"value": {"from": "2026-12-01", "to": "2026-12-03", "dry_run": True}}
}
_PREVIEW: Final[dict[str, Any]] = {
    "phrase": {"value": {"when": "first monday of the month at 9", "time_zone": "Europe/Berlin"}}
}


@router.post("/preview", response_model=PreviewModel)
async def preview_schedule(
    me: Reader, app: Services, body: Annotated[PreviewAsked, Body(openapi_examples=_PREVIEW)]
) -> Response:
    """Show a rule in words, its next fires, and the effect of clock changes. Nothing is stored."""
    entry = body.entry()
    zone = entry.time_zone or await app.schedules.zone(me.user_id)
    with naming_fields(entry):
        return answer(preview_json(preview(entry.draft(), zone, runs=body.fires, now=app.clock())))


@router.post("/{schedule}/runs", status_code=202, response_model=RunStarted, responses=STARTED)
async def run_schedule(
    me: Triggerer,
    app: Services,
    wait: Wait,
    schedule: Reference,
    asked: Annotated[RunOfSchedule | None, Body(openapi_examples=_RUN)] = None,
) -> Response:
    """Run a schedule now, under the same rules as at its fire time.

    Prompt, model, limits and overlap policy that you name hold for this run only.
    """
    asked = asked or RunOfSchedule.model_validate({})
    found = await app.schedules.get(me.user_id, schedule)
    run_id = await app.runs.request_schedule(
        me.user_id,
        ScheduleId(found.id),
        asked.prompt,
        policy_of(asked.overlap),
        asked.options(),
    )
    return await started(app, me, run_id, wait)


@router.post(
    "/{schedule}/backfill",
    status_code=202,
    response_model=BackfillModel,
    responses={200: {"model": BackfillModel, "description": "With dry_run: nothing was run."}},
)
async def backfill_schedule(
    me: Triggerer,
    app: Services,
    schedule: Reference,
    body: Annotated[BackfillAsked, Body(openapi_examples=_BACKFILL)],
) -> Response:
    """Run those past fire times of a range that have not run; at most 1,000."""
    found = await app.schedules.backfill(
        me.user_id,
        schedule,
        body.start,
        body.end,
        policy_of(body.overlap) or OverlapPolicy.BUFFER_ALL,
        dry_run=body.dry_run,
    )
    return answer(backfill_json(found), 200 if body.dry_run else 202)


@router.get("/{schedule}/occurrences", response_model=page_of(OccurrenceModel, "OccurrencePage"))
async def list_occurrences(
    me: Reader,
    app: Services,
    page: Page,
    schedule: Reference,
    outcome: Annotated[
        Outcome | None, Query(description="Only fire times with this outcome.")
    ] = None,
) -> Response:
    """List the outcomes of the fire times of a schedule, newest first."""
    after = page.keys(datetime)
    _, found, count = await app.schedule_views.occurrences(
        me.user_id,
        schedule,
        outcome=outcome,
        before=None if after is None else after[0],
        limit=page.fetched,
        counted=page.wants_count,
    )
    return answer(page.page(found, lambda one: (one.fire_time,), count=count))


@router.get("/{schedule}/why", response_model=ExplanationsModel)
async def explain_schedule(
    me: Reader,
    app: Services,
    schedule: Reference,
    at: Annotated[
        str | None,
        Query(
            max_length=100,
            description="The time to explain, in the schedule's zone or RFC 3339: `07:00` is the "
            "last one. Left out: the last five fire times.",
            examples=["2026-12-24 18:00"],
        ),
    ] = None,
) -> Response:
    """Explain why a schedule did or did not run at a time, or at its last fire times."""
    if at is None:
        found = await app.explanations.latest(me.user_id, schedule)
    else:
        found = (await app.explanations.why(me.user_id, schedule, at),)
    return answer({"explanations": found})
