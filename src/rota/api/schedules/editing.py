"""Schedules over HTTP: lists them, shows, makes, changes, pauses, resumes and removes one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import WithJsonSchema

from rota.api.answers import StrictRoute, answer, require_match, require_match_to_put
from rota.api.callers import Manager, Reader, Services
from rota.api.pages import Page, page_of
from rota.api.problems import responses
from rota.api.schedules.bodies import (
    PATCH_EXAMPLES,
    PUT_EXAMPLES,
    PauseNote,
    Reference,
    ScheduleBody,
    ScheduleChange,
    change_of,
    naming_fields,
)
from rota.bootstrap.app import App
from rota.domain.ids import UserId
from rota.domain.schedules.forecast import NEXT_FIRES
from rota.domain.schedules.schedule import State, WhichSchedules
from rota.shown.schedule_models import ListedScheduleModel, ScheduleDetailModel
from rota.shown.schedules import detail_json, listed_json

router = APIRouter(prefix="/schedules", route_class=StrictRoute)

Agent = Annotated[
    str | None,
    Query(max_length=63, description="Only schedules of this agent.", examples=["clerk"]),
]
Prefix = Annotated[
    str | None, Query(max_length=100, description="Only schedules whose names begin so.")
]
Change = Annotated[
    dict[str, Any],
    Body(openapi_examples=PATCH_EXAMPLES),
    WithJsonSchema(ScheduleChange.model_json_schema()),
]
_EDITS = responses(412, 428)


@router.get("", response_model=page_of(ListedScheduleModel, "SchedulePage"))
async def list_schedules(
    me: Reader,
    app: Services,
    page: Page,
    agent: Agent = None,
    state: Annotated[
        State | None, Query(description="Only schedules that are active, paused or completed.")
    ] = None,
    name_prefix: Prefix = None,
) -> Response:
    """List your schedules by name, each with its next fire and its last run."""
    after = page.keys(str)
    found = await app.schedule_views.page(
        me.user_id,
        WhichSchedules(agent, state, name_prefix),
        after=None if after is None else after[0],
        limit=page.limit,
        fetched=page.fetched,
        counted=page.wants_count,
    )
    listed = [listed_json(one) for one in found.listed]
    return answer(page.page(listed, lambda one: (one["schedule"],), count=found.count))


@router.get("/{schedule}", response_model=ScheduleDetailModel)
async def get_schedule(
    me: Reader,
    app: Services,
    schedule: Reference,
    fires: Annotated[
        int, Query(ge=1, le=100, description="How many fires that will run to look ahead for.")
    ] = NEXT_FIRES,
    occurrences: Annotated[
        int, Query(ge=0, le=100, description="How many of the latest occurrences to show.")
    ] = 10,
) -> Response:
    """Return a schedule with its next fires, its latest occurrences, and its clock's changes."""
    found = await app.schedule_views.detail(
        me.user_id, schedule, runs=fires, occurrences=occurrences
    )
    return answer(detail_json(found), etag=str(found.schedule.revision))


@router.put(
    "/{schedule}",
    response_model=ScheduleDetailModel,
    responses={201: {"model": ScheduleDetailModel, "description": "It was made."}, **_EDITS},
)
async def put_schedule(
    request: Request,
    me: Manager,
    app: Services,
    schedule: Reference,
    body: Annotated[ScheduleBody, Body(openapi_examples=PUT_EXAMPLES)],
) -> Response:
    """Make a schedule of this name, or replace the one that is there.

    What is left out is as usual. An interval keeps its anchor, and whether the schedule is paused
    stays.
    """
    found = await app.schedules.find(me.user_id, schedule)
    require_match_to_put(request, None if found is None else str(found.revision))
    with naming_fields(body):
        if found is None:
            made = await app.schedules.add(me.user_id, body.new(schedule))
        else:
            made = await app.schedules.replace(me.user_id, found, body.new(found.name))
    return await _changed(app, me.user_id, str(made.id), 201 if found is None else 200)


@router.patch("/{schedule}", response_model=ScheduleDetailModel, responses=_EDITS)
async def patch_schedule(
    request: Request, me: Manager, app: Services, schedule: Reference, change: Change
) -> Response:
    """Change some fields of a schedule. What you do not name stays; null takes a value away.

    A new rule takes the place of the old one, and holds from now on.
    """
    found = await app.schedules.get(me.user_id, schedule)
    require_match(request, str(found.revision))
    edit, entry = change_of(change, found.revision)
    with naming_fields(entry):
        await app.schedules.edit(me.user_id, str(found.id), edit)
    return await _changed(app, me.user_id, str(found.id))


@router.delete("/{schedule}", status_code=204, response_model=None, responses=_EDITS)
async def delete_schedule(
    request: Request, me: Manager, app: Services, schedule: Reference
) -> Response:
    """Remove a schedule. Its results are kept. Runs that have not started are cancelled."""
    found = await app.schedules.get(me.user_id, schedule)
    require_match(request, str(found.revision))
    await app.schedules.remove(me.user_id, str(found.id), revision=found.revision)
    return Response(status_code=204)


@router.post("/{schedule}/pause", response_model=ScheduleDetailModel)
async def pause_schedule(
    me: Manager, app: Services, schedule: Reference, body: PauseNote | None = None
) -> Response:
    """Pause a schedule. It does not fire until you resume it."""
    note = body.note if body is not None else ""
    found = await app.schedules.pause(me.user_id, schedule, note)
    return await _changed(app, me.user_id, str(found.id))


@router.post("/{schedule}/resume", response_model=ScheduleDetailModel)
async def resume_schedule(
    me: Manager, app: Services, schedule: Reference, body: PauseNote | None = None
) -> Response:
    """Resume a schedule. It fires at its next time; the times of the pause are not made up."""
    note = body.note if body is not None else ""
    found = await app.schedules.resume(me.user_id, schedule, note)
    return await _changed(app, me.user_id, str(found.id))


async def _changed(app: App, me: UserId, reference: str, status: int = 200) -> Response:
    """Answer with a schedule as it is after a change."""
    found = await app.schedule_views.detail(me, reference)
    return answer(detail_json(found), status, etag=str(found.schedule.revision))
