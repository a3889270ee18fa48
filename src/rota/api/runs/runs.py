"""Runs over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services, Triggerer
from rota.api.pages import Page, page_of
from rota.api.runs.triggering import STARTED, RunAsked, Wait, started
from rota.domain.ids import RunId
from rota.domain.runs.run import ResultStatus, RunStatus, Trigger
from rota.domain.runs.steps import StepKey
from rota.domain.runs.views import AttemptView, RunFilter, RunState, RunView
from rota.services.runs.traces import actions_by_step, step_json
from rota.shown.models import model_of
from rota.shown.runs import (
    CallOfRun,
    ResultShown,
    RunShown,
    RunStarted,
    result_json,
    run_json,
    run_started_json,
)

router = APIRouter(prefix="/runs", tags=["runs"], route_class=StrictRoute)

Run = Annotated[
    str,
    Path(
        description="The run's id, or the beginning of the id.",
        max_length=100,
        examples=["0f0e7f5c-8a53-4f0e-9d8f-0d1a2b3c4d5e"],
    ),
]


class RunOfAgent(RunAsked):
    """A run of an agent, now."""

    agent: str = Field(min_length=1, max_length=63)
    prompt: str = Field("", max_length=100_000, description="What the agent is asked.")


class CancelNote(BaseModel):
    """Why, for people who look later."""

    model_config = ConfigDict(extra="forbid", strict=True)

    note: str = Field("", max_length=1_000)


_NO_NOTE: Final = CancelNote(note="")


@dataclass(frozen=True, slots=True)
class _Filters:
    """Which runs a list is of."""

    agent: Annotated[str | None, Query(max_length=63, description="Only runs of this agent.")] = (
        None
    )
    schedule: Annotated[
        str | None,
        Query(max_length=100, description="Only runs of this schedule: its name or id."),
    ] = None
    status: Annotated[RunStatus | None, Query(description="Only runs that stand so.")] = None
    result_status: Annotated[ResultStatus | None, Query(description="Only runs that ended so.")] = (
        None
    )
    trigger: Annotated[Trigger | None, Query(description="Only runs that this led to.")] = None
    since: Annotated[
        AwareDatetime | None, Query(description="Only runs that were created then or later.")
    ] = None
    before: Annotated[
        AwareDatetime | None, Query(description="Only runs that were created before.")
    ] = None


_RUN_AN_AGENT = {
    "short": {"value": {"agent": "clerk", "prompt": "What came in today?"}},
    "bounded": {
        "value": {
            "agent": "clerk",
            "prompt": "What came in today?",
            "model": "openai:gpt-5-mini",
            "limits": {"time": "10m", "steps": 20, "cost": "0.50"},
            "dry_run": True,
        }
    },
}


@router.post("", status_code=202, response_model=RunStarted, responses=STARTED)
async def run_agent(
    me: Triggerer,
    app: Services,
    wait: Wait,
    asked: Annotated[RunOfAgent, Body(openapi_examples=_RUN_AN_AGENT)],
) -> Response:
    """Run an agent now. With `Prefer: wait=N` the answer has the result, if it ends in time.

    A run that waits for an approval is answered at once, with status 202.
    """
    options = asked.options()
    run_id = await app.runs.request(me.user_id, asked.agent, asked.prompt, options)
    return await started(app, me, run_id, wait)


@router.get("", response_model=page_of(model_of(RunView), "RunPage"))
async def list_runs(
    me: Reader, app: Services, page: Page, which: Annotated[_Filters, Depends()]
) -> Response:
    """List runs, the newest request first. Runs of a backfill are sorted by fire time.

    Of a long prompt, and of a long error, a list has the beginning.
    """
    schedule_id = None
    if which.schedule is not None:
        schedule_id = (await app.schedules.get(me.user_id, which.schedule)).id
    wanted = RunFilter(
        agent_name=which.agent,
        schedule_id=schedule_id,
        status=which.status,
        result_status=which.result_status,
        trigger=which.trigger,
        since=which.since,
        before=which.before,
    )
    after = page.keys(datetime, datetime, UUID)
    found = await app.runs.page(me.user_id, wanted, after=after, limit=page.fetched)
    count = await app.runs.count(me.user_id, wanted) if page.wants_count else None
    return answer(page.page(found, lambda run: run.key, count=count))


@router.get("/{run}", response_model=RunShown)
async def get_run(me: Reader, app: Services, run: Run) -> Response:
    """Return a run: where it stands, its limits, what it has used so far, and why it failed."""
    return answer(run_json(*await app.runs.show(me.user_id, run)))


@router.get("/{run}/trace", response_model=page_of(CallOfRun, "TracePage"))
async def get_trace(me: Reader, app: Services, page: Page, run: Run) -> Response:
    """List the calls of a run in order, with arguments, outcomes and what was decided on them.

    Secrets are replaced. Old calls are pruned: `journal_pruned_at` of the run says when.
    """
    keys = page.keys(int, int)
    after = None if keys is None else StepKey(*keys)
    run_id, steps = await app.runs.trace(me.user_id, run, after=after, limit=page.fetched)
    actions = actions_by_step(run_id, await app.approvals.of_run(me.user_id, run_id))
    answered = page.page(steps, lambda step: step.key)
    shown = [step_json(step, actions.get(step.key)) for step in answered["items"]]
    return answer({**answered, "items": shown})


@router.get("/{run}/attempts", response_model=page_of(model_of(AttemptView), "AttemptPage"))
async def list_attempts(me: Reader, app: Services, page: Page, run: Run) -> Response:
    """List the attempts of a run, the first one first, with the calls that each made."""
    (after,) = page.keys(int) or (0,)
    found = await app.runs.attempts(me.user_id, run, after=after, limit=page.fetched)
    return answer(page.page(found, lambda one: (one.attempt,)))


@router.post("/{run}/cancel", response_model=RunStarted)
async def cancel_run(
    me: Triggerer,
    app: Services,
    run: Run,
    why: Annotated[
        CancelNote, Body(openapi_examples={"why": {"value": {"note": "Not today."}}})
    ] = _NO_NOTE,
) -> Response:
    """Cancel a run, also on another machine. What it has so far is stored as its result.

    A run that has begun is stopped by its worker within two seconds: until then its `status` is
    `running`.
    """
    found = await app.runs.cancel(me.user_id, run, why.note)
    state = RunState(RunId(found.id), found.status, found.cancel_reason or "", None)
    return answer(run_started_json(state, None))


@router.post("/{run}/retry", status_code=202, response_model=RunStarted, responses=STARTED)
async def retry_run(me: Triggerer, app: Services, wait: Wait, run: Run) -> Response:
    """Start a new run with the prompt of a run that is over, and with the agent as it is now."""
    run_id = await app.runs.retry(me.user_id, run)
    return await started(app, me, run_id, wait)


@router.get("/{run}/result", response_model=ResultShown)
async def get_result_of_run(me: Reader, app: Services, run: Run) -> Response:
    """Return the result of a run, with its whole text. 404 while there is none."""
    found = await app.results.of_run(me.user_id, run)
    return answer(result_json(await app.results.whole(me.user_id, found)))
