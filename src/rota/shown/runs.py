"""Runs and results as faces show them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field, create_model

from rota.domain.runs.run import ResultStatus, RunStatus
from rota.domain.runs.steps import Step
from rota.domain.runs.views import Result, RunState, RunUse, RunView, WholeResult
from rota.domain.text.jsonable import fields_of
from rota.services.runs.traces import ActionOfCall
from rota.shown.models import Shown, model_of

ResultShown = create_model(
    "ResultShown",
    __base__=model_of(Result),
    __doc__="A result. What an agent answered is a text that nobody checked.",
    whole_content=(
        str | None,
        Field(description="The whole answer where `result_content` is cut; else null."),
    ),
)

RunShown = create_model(
    "RunShown",
    __base__=model_of(RunView),
    __doc__="A run, what it has used so far, and why it failed (`error`).",
    used=(model_of(RunUse), ...),
)

_ActionOfCall: Any = model_of(ActionOfCall)

CallOfRun = create_model(
    "CallOfRun",
    __base__=model_of(Step),
    __doc__="A call of a run: of a model, a tool, or a step of registered code.",
    action=(
        _ActionOfCall | None,
        Field(description="What the call asked approval for, and who decided; null for others."),
    ),
    finish_reason=(str | None, Field(description="Why the model stopped, as its provider says.")),
)


class RunStarted(Shown):
    """A run that was asked for, where it stands, and its result if that was waited for."""

    run_id: UUID
    status: RunStatus
    result_status: ResultStatus | None = Field(description="How it ended; null before.")
    result: ResultShown | None = Field(  # type: ignore[valid-type]  # a model that is made
        description="With `Prefer: wait=N`, and only for callers who may read results."
    )


def run_json(run: RunView, used: RunUse) -> dict[str, Any]:
    """Return a run as JSON."""
    return fields_of(run) | {"used": used}


def result_json(found: WholeResult) -> dict[str, Any]:
    """Return a result as JSON, with its whole text where that was cut."""
    return fields_of(found.result) | {"whole_content": found.text}


def run_started_json(found: RunState, whole: WholeResult | None) -> dict[str, Any]:
    """Return a run that was asked for as JSON; `whole` is its result for those who may read it."""
    return {
        "run_id": found.run_id,
        "status": found.status,
        "result_status": None if found.result is None else found.result.status,
        "result": None if whole is None else result_json(whole),
    }
