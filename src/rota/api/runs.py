"""Runs over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services, Triggerer
from rota.api.triggering import STARTED, RunAsked, Wait, started
from rota.shown.runs import ResultShown, RunStarted, result_json

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


class Note(BaseModel):
    """Why, for people who look later."""

    model_config = ConfigDict(extra="forbid", strict=True)

    note: str = Field("", max_length=1_000)


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
