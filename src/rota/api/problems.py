"""Errors as problem details (RFC 9457), with the sentences that the command line prints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from rota.domain import errors
from rota.domain.runs.limits import LimitReachedError
from rota.domain.runs.run import FencedError, RowsLockedError
from rota.domain.text.jsonable import jsonable
from rota.domain.text.validation import problem_in_words

MEDIA_TYPE: Final = "application/problem+json"

STATUS_OF: Final[Mapping[type[errors.RotaError], int]] = {
    errors.InvalidInputError: 422,
    errors.NotFoundError: 404,
    errors.NotSignedInError: 401,
    errors.InsufficientScopeError: 403,
    errors.ConflictError: 409,
    errors.ChangedMeanwhileError: 412,
    errors.SetupRequiredError: 409,
    errors.SuspendedError: 409,
    errors.UnavailableError: 503,
    errors.MigrationError: 503,
    RowsLockedError: 503,
    LimitReachedError: 409,
    FencedError: 409,
    errors.UnreadableError: 500,
    errors.StatementError: 500,
    errors.RotaError: 500,
}
"""The HTTP status of each error; an error of another class has that of its nearest base."""

_FAULT: Final = "This is a bug in rota. Its log shows where."

_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": "Bearer"},
    503: {"Retry-After": "5"},
}
_KNOWN: Final = ("field", "line", "kind", "reference", "status", "service", "what", "scope")
_TITLES: Final[Mapping[int, str]] = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Those of RFC 9110 that Python has from 3.13 on."""
_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="The field's path: `body.draft.when`, `query.limit`.")
    detail: str = Field(description="A sentence that says what is wrong.")


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="What kind of problem, which stays the same: `urn:rota:problem:not-found`."
    )
    title: str
    status: int
    detail: str = Field(description="Sentences for a person: what is wrong, and what to do.")
    errors: list[FieldProblem] = Field(
        default_factory=list, description="Each field that is wrong, where fields are."
    )


class ApiError(Exception):
    """A problem that only a request over HTTP can have: no token, a stale ETag, too many requests.

    `kind` is the end of the problem's type: `not-signed-in`.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        **known: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.known = known


def problem(
    status: int,
    kind: str,
    detail: str,
    /,
    *,
    faults: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    **known: Any,
) -> JSONResponse:
    """Return a problem as an answer; `known` are further members, as the error has them."""
    body: dict[str, Any] = {
        "type": f"urn:rota:problem:{kind}",
        "title": _TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **({"errors": [one.model_dump() for one in faults]} if faults else {}),
        **{name: jsonable(value) for name, value in known.items() if value is not None},
    }
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def in_one_text(faults: Sequence[FieldProblem]) -> str:
    """Return faults for a person: one as it is, several as sentences."""
    said = [f"{one.field}: {one.detail}" for one in faults]
    if len(said) == 1:
        return said[0]
    return " ".join(one if one.endswith((".", "?", "!")) else f"{one}." for one in said)


def kind_of(error: errors.RotaError) -> str:
    """Return the end of a problem's type: `not-found`."""
    return _WORD.sub("-", type(error).__name__.removesuffix("Error")).lower()


def status_of(error: errors.RotaError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS_OF[base] for base in type(error).__mro__ if base in STATUS_OF)


def problem_of(request: Request, error: errors.RotaError) -> JSONResponse:
    """Return an error as an answer to a request."""
    status = status_of(error)
    known = {name: getattr(error, name, None) for name in _KNOWN}
    if status == 500:
        structlog.get_logger(__name__).error("request_failed", error=error.message)
    if isinstance(error, errors.StatementError):  # it quotes the database, and maybe its rows
        return problem(500, "fault", _FAULT)
    wrong: Sequence[errors.InvalidInputError] = ()
    if isinstance(error, errors.InvalidInputError):
        wrong = error.faults or ((error,) if error.field else ())
    place = "query" if request.method in {"GET", "HEAD"} else "body"
    faults = [
        FieldProblem(field=f"{place}.{one.field or ''}".rstrip("."), detail=one.message)
        for one in wrong
    ]
    known["reached"] = known.pop("status")  # what the thing is by now; `status` is HTTP's
    headers = _HEADERS.get(status)
    return problem(status, kind_of(error), error.message, faults=faults, headers=headers, **known)


def handle_errors(api: FastAPI) -> None:
    """Answer all errors as problems."""

    @api.exception_handler(errors.RotaError)
    async def of_rota(request: Request, error: errors.RotaError) -> JSONResponse:
        return problem_of(request, error)

    @api.exception_handler(ApiError)
    async def of_api(_: Request, error: ApiError) -> JSONResponse:
        return problem(error.status, error.kind, error.detail, headers=error.headers, **error.known)

    @api.exception_handler(RequestValidationError)
    async def of_fields(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [
            FieldProblem(field=".".join(map(str, one["loc"])), detail=problem_in_words(one))
            for one in error.errors()
        ]
        return problem(422, "invalid-input", in_one_text(faults), faults=faults)

    @api.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, ApiError):  # while the body was read
            return await of_api(request, error.__cause__)
        if error.status_code == 404:
            return problem(
                404, "no-such-path", "There is no such path. See docs/reference/http-api.md."
            )
        if error.status_code == 405:
            allowed = ", ".join(_methods(request))
            told = f"This path has no {request.method[:20]}; it has {allowed}."
            return problem(405, "method-not-allowed", told, headers={"Allow": allowed})
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-").replace("'", "")
        return problem(error.status_code, kind, str(error.detail), headers=error.headers)

    @api.exception_handler(Exception)
    async def of_fault(_: Request, error: Exception) -> JSONResponse:
        structlog.get_logger(__name__).error("request_failed", exc_info=error)
        return problem(500, "fault", _FAULT)


def _methods(request: Request) -> list[str]:
    """Return the methods that the path of a request has."""
    path = request.url.path
    contexts = iter_route_contexts(request.app.routes)
    return sorted(
        {
            method
            for context in contexts
            if (pattern := getattr(context, "path_regex", None)) and pattern.match(path)
            for method in context.methods or ()
        }
    )


DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    401: "Nobody is signed in, or the token is not valid.",
    403: "The token or the person may not do this.",
    404: "It is not there, or it belongs to somebody else.",
    409: "It conflicts with how things are.",
    412: "It was changed meanwhile; the header ETag says what it is now.",
    415: "The body is of another type.",
    413: "The body is too large.",
    422: "A field is not valid.",
    428: "If-Match is missing.",
    429: "There were too many requests.",
    503: "The database or another service does not answer.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that routes may answer with these statuses, for OpenAPI."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": DESCRIPTIONS[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }
