"""Checks of requests that are the same on all routes: parameters, content type, presence of a body.

A parameter that is not known is refused. A misspelt filter that is passed over would show the wrong
list, and a misspelt `dry_run` would do the thing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from rota.api.callers import Need
from rota.api.problems import ApiError, FieldProblem, in_one_text
from rota.domain.text.validation import near_or_all

LARGEST_BODY: Final = 1_000_000
"""Bytes of a request's body. FastAPI's own limit answers with plain text, which is no problem."""

_JSON: Final = "application/json"


class RequestCheck:
    """What a route knows of its requests, worked out once."""

    def __init__(self, route: APIRoute) -> None:
        self.needs_caller = any(isinstance(d.call, Need) for d in _all_of(route.dependant))
        self._takes_body = route.body_field is not None
        self._reads_body_itself = "requestBody" in (route.openapi_extra or {})
        found = {
            field.alias: _is_list(field.field_info.annotation)
            for each in _all_of(route.dependant)
            for field in each.query_params
        }
        self._known = frozenset(found)
        self._lists = frozenset(name for name, is_list in found.items() if is_list)

    def check(self, request: Request) -> None:
        """Raise ApiError for a request that cannot be meant.

        A route that needs a caller calls it once it has one: nobody else is told what is wrong.
        """
        if "\0" in request.url.path:
            raise ApiError(404, "not-found", "There is nothing whose name holds a NUL character.")
        faults = [*self._faults(request.query_params.multi_items())]
        if faults:
            raise ApiError(
                422,
                "invalid-input",
                in_one_text(faults),
                errors=[one.model_dump() for one in faults],
            )
        self._check_body(request)

    def _faults(self, given: Collection[tuple[str, str]]) -> Iterable[FieldProblem]:
        names = [name for name, _ in given]
        for name in dict.fromkeys(names):
            if name not in self._known:
                near = near_or_all(name, self._known)
                yield FieldProblem(
                    field=f"query.{name[:100]}", detail=f"there is no such parameter; {near}"
                )
            elif names.count(name) > 1 and name not in self._lists:
                yield FieldProblem(field=f"query.{name}", detail="this is given more than once")
        for name, value in given:
            if "\0" in value:
                yield FieldProblem(field=f"query.{name}", detail="this holds a NUL character")

    def _check_body(self, request: Request) -> None:
        headers = request.headers
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if not has_body:
            return
        if int(headers.get("content-length", 0)) > LARGEST_BODY:
            raise body_too_large()
        if self._reads_body_itself:
            return
        if not self._takes_body:
            if request.method in {"GET", "HEAD"}:
                return  # it has no meaning there (RFC 9110), and is not read
            raise ApiError(422, "no-body-expected", "This operation takes no body.")
        kind, _, parameters = headers.get("content-type", "").partition(";")
        charset = parameters.strip().lower().removeprefix("charset=").strip('"')
        if kind.strip().lower() != _JSON or charset not in {"", "utf-8"}:
            raise ApiError(
                415,
                "unsupported-media-type",
                f"Send the body as {_JSON} in UTF-8, and say so in Content-Type.",
                headers={"Accept": _JSON},
            )


def body_too_large() -> ApiError:
    """Return the problem of a body beyond `LARGEST_BODY`."""
    return ApiError(413, "body-too-large", f"The body is larger than {LARGEST_BODY:,} bytes.")


def refuse_nul(body: Any) -> None:
    """Raise ApiError for the first text in a body that PostgreSQL cannot store."""
    waiting: list[tuple[str, Any]] = [("body", body)]
    while waiting:
        place, item = waiting.pop()
        inner: Iterable[tuple[object, Any]] = ()
        if isinstance(item, dict):
            inner = item.items()
        elif isinstance(item, list):
            inner = enumerate(item)
        if "\0" in (item if isinstance(item, str) else place):
            place = place.replace("\0", "\\u0000")
            fault = FieldProblem(field=place, detail="this holds a NUL character")
            raise ApiError(
                422, "invalid-input", f"{place}: {fault.detail}", errors=[fault.model_dump()]
            )
        waiting += [(f"{place}.{key}", value) for key, value in inner]


def _all_of(dependant: Dependant) -> Iterable[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _all_of(each)


def _is_list(hint: Any) -> bool:
    """Return whether a parameter of this type may be given several times."""
    origin = get_origin(hint)
    if origin in {Union, UnionType}:
        return any(map(_is_list, get_args(hint)))
    return (origin or hint) in {list, tuple, set, frozenset}
