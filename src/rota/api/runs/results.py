"""Results over HTTP."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services
from rota.api.pages import Page, page_of
from rota.domain.runs.run import ResultStatus
from rota.domain.runs.views import Result, ResultFilter
from rota.shown.models import model_of
from rota.shown.runs import ResultShown, result_json

router = APIRouter(prefix="/results", tags=["results"], route_class=StrictRoute)

ResultReference = Annotated[
    str,
    Path(
        alias="result",
        description="The id of the result or of its run, or the beginning of the id.",
        max_length=100,
        examples=["0f0e7f5c-8a53-4f0e-9d8f-0d1a2b3c4d5e"],
    ),
]


class TextFormat(StrEnum):
    """As what an answer is downloaded."""

    MARKDOWN = "markdown"
    PLAIN = "plain"


_TYPES: Final = {
    TextFormat.MARKDOWN: ("text/markdown", "md"),
    TextFormat.PLAIN: ("text/plain", "txt"),
}


@router.get("", response_model=page_of(model_of(Result), "ResultPage"))
async def list_results(
    me: Reader,
    app: Services,
    page: Page,
    agent: Annotated[str | None, Query(max_length=63, description="Only of this agent.")] = None,
    schedule: Annotated[
        str | None, Query(max_length=100, description="Only of this schedule: its name or id.")
    ] = None,
    status: Annotated[ResultStatus | None, Query(description="Only of runs that ended so.")] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="Only of runs that ended then or later.")
    ] = None,
    q: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=200,
            description="Only answers with all of these words, or with words that begin so.",
        ),
    ] = None,
) -> Response:
    """List results, the newest first. Of a long answer, and of a long prompt, the beginning.

    `q` looks into the first 50,000 characters of an answer. With `q`, `count` is 1,000 at most.
    """
    schedule_id = None
    if schedule is not None:
        schedule_id = (await app.schedules.get(me.user_id, schedule)).id
    which = ResultFilter(agent, schedule_id, status, since, q)
    after = page.keys(datetime, UUID)
    found = await app.results.page(me.user_id, which, after=after, limit=page.fetched)
    count = await app.results.count(me.user_id, which) if page.wants_count else None
    return answer(page.page(found, lambda result: result.key, count=count))


@router.get("/{result}", response_model=ResultShown)
async def get_result(me: Reader, app: Services, result: ResultReference) -> Response:
    """Return a result, with its whole text."""
    found = await app.results.get(me.user_id, result)
    return answer(result_json(await app.results.whole(me.user_id, found)))


@router.get(
    "/{result}/text",
    response_class=Response,
    responses={
        200: {
            "description": "The whole answer, to be saved as a file.",
            "content": {
                "text/markdown": {"schema": {"type": "string"}},
                "text/plain": {"schema": {"type": "string"}},
            },
        }
    },
)
async def download_result(
    me: Reader,
    app: Services,
    result: ResultReference,
    format: Annotated[  # noqa: A002  the parameter's name in the URL
        TextFormat, Query(description="Markdown, as agents write, or plain text.")
    ] = TextFormat.MARKDOWN,
) -> Response:
    """Download the whole answer as a file. It is a text that nobody checked: browsers save it."""
    found = await app.results.whole(me.user_id, await app.results.get(me.user_id, result))
    kind, ending = _TYPES[format]
    headers = {
        "Content-Disposition": f'attachment; filename="result-{found.result.id}.{ending}"',
        "Content-Type": f"{kind}; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(found.content.encode(), headers=headers)
