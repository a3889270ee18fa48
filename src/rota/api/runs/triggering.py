"""What routes share that start a run: how this one run is executed, and how long to wait for it.

@router.post("/{agent}/runs", status_code=202, response_model=RunStarted, responses=STARTED)
async def run_agent(me: Triggerer, app: Services, wait: Wait, ...) -> Response:
    run_id = await app.runs.request(me.user_id, ...)
    return await started(app, me, run_id, wait)
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import answer
from rota.api.callers import Caller, Scope
from rota.bootstrap.app import App
from rota.domain.ids import RunId
from rota.domain.runs.option_drafts import read_options_of_one_run
from rota.domain.runs.options import RunOptions
from rota.domain.runs.run import OVER
from rota.shown.runs import RunStarted, run_started_json

LONGEST_WAIT: Final = timedelta(seconds=60)
"""As long as a request waits for a run at most."""

_APPLIED: Final = {
    "Preference-Applied": {
        "description": "`wait=N`: so many seconds it would have waited.",
        "schema": {"type": "string"},
    },
    "Location": {"description": "The run.", "schema": {"type": "string"}},
}

STARTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": RunStarted, "description": "The run is over.", "headers": _APPLIED},
    202: {
        "description": "The run was asked for, and goes on or waits for an approval.",
        "headers": _APPLIED,
    },
}
"""What a route answers that starts a run, for OpenAPI."""

_DIGITS_IN_QUOTES: Final = re.compile(r'"([0-9]*)"')
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class LimitsAsked(BaseModel):
    """Limits of one run, as in an agent file. A limit that is left out is the schedule's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    time: str | int | None = Field(None, description="The longest time: `10m`, or seconds.")
    idle: str | int | None = Field(None, description="The longest time without progress.")
    steps: str | int | None = Field(None, description="The most model calls.")
    tokens: str | int | None = Field(None, description="The most tokens: `200k`, or a number.")
    cost: str | int | float | None = Field(None, description="The most US dollars: `0.50`.")


class RunAsked(BaseModel):
    """How a single run is executed. What is left out is as its schedule or its agent has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = Field(None, max_length=200, description="Another model: provider:model.")
    limits: LimitsAsked | None = None
    dry_run: bool = Field(False, description="Call only tools that read, and show the others.")

    def options(self) -> RunOptions:
        """Return the options of the run; raises InvalidInputError naming the field."""
        written = RunAsked.model_dump(self, include={"model", "limits"}, exclude_none=True)
        return replace(read_options_of_one_run(written), dry_run=self.dry_run)


def _wait(
    request: Request,
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=N`: wait so many seconds, at most 60, for the run's end (RFC 7240).",
            examples=["wait=30"],
        ),
    ] = None,
) -> timedelta | None:
    given = request.headers.getlist("prefer") if prefer is not None else []
    for preference in _preferences(", ".join(given)):
        name, _, value = preference.partition("=")
        value = value.strip()
        if name.strip().lower() == "wait" and value.isascii() and value.isdecimal():
            return min(timedelta(seconds=int(value[:9])), LONGEST_WAIT)
    return None


def _preferences(header: str) -> list[str]:
    """Return each preference of a header without its parameters; texts in quotes are left out."""
    plain = _QUOTED.sub("", _DIGITS_IN_QUOTES.sub(r"\1", header))
    return [preference.partition(";")[0] for preference in plain.split(",")]


Wait = Annotated[timedelta | None, Depends(_wait)]
"""A route's parameter: how long the client prefers to wait; what it may not say is left out."""


async def started(app: App, me: Caller, run_id: RunId, wait: timedelta | None) -> Response:
    """Answer a request that started a run: 200 once the run is over, 202 where it goes on.

    Nobody waits without the scope `read`: results are for those who may read them.
    """
    may_read = Scope.READ in me.scopes
    waits = wait is not None and may_read
    limit = wait if wait is not None and may_read else timedelta(0)
    found = await app.runs.state(me.user_id, run_id, wait=limit)
    whole = None
    if waits and found.result is not None:
        whole = await app.results.whole(me.user_id, found.result)
    headers = {"Location": f"/api/v1/runs/{run_id}"}
    if waits:
        headers["Preference-Applied"] = f"wait={round(limit.total_seconds())}"
    is_over = waits and found.status in OVER
    return answer(run_started_json(found, whole), 200 if is_over else 202, headers=headers)
