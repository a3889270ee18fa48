"""Answers: values as JSON, their ETags, and requests whose JSON is read strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from rota.api.idempotency import do_once
from rota.api.problems import ApiError
from rota.api.requests import LARGEST_BODY, RequestCheck, body_too_large, refuse_nul
from rota.domain.text.json_values import NotJsonError, read_json
from rota.domain.text.jsonable import jsonable

KEPT_NOWHERE: Final = {"Cache-Control": "no-store"}
"""Headers of an answer with a secret: nothing on the way keeps it."""


def answer(
    value: object,
    status: int = 200,
    *,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a value as JSON. `etag` is an opaque text without its quotes."""
    body = json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    given = dict(headers or {})
    if etag is not None:
        given["ETag"] = f'"{etag}"'
    return Response(body.encode(), status, given, "application/json")


def etag_of(value: object) -> str:
    """Return a strong ETag of what is shown of a thing that has no revision."""
    text = json.dumps(jsonable(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def require_match(request: Request, etag: str) -> None:
    """Check If-Match against what the thing is now: 428 without, 412 where it is another one."""
    given = request.headers.get("if-match")
    if given is None:
        raise ApiError(
            428,
            "precondition-required",
            "Send If-Match with the ETag of what you read, so that nobody's change is lost.",
        )
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in given.split(",")}
    if "*" not in tags and etag not in tags:
        raise ApiError(
            412,
            "changed-meanwhile",
            "It was changed meanwhile. Read it again.",
            headers={"ETag": f'"{etag}"'},
        )


def require_match_to_put(request: Request, etag: str | None) -> None:
    """Check that a PUT replaces what its sender saw; `etag` is None where there is nothing yet.

    To replace needs If-Match. 412: `If-None-Match: *` where it is there, If-Match where it is not.
    """
    if etag is None:
        if "if-match" in request.headers:
            raise ApiError(412, "changed-meanwhile", "It is not there any more.")
        return
    if request.headers.get("if-none-match", "").strip() == "*":
        raise ApiError(
            412, "changed-meanwhile", "It is there already.", headers={"ETag": f'"{etag}"'}
        )
    require_match(request, etag)


class _StrictRequest(Request):
    async def body(self) -> bytes:
        """Return the body; raises ApiError where it is too large."""
        if not hasattr(self, "_body"):
            parts, size = [], 0
            async for part in self.stream():
                parts.append(part)
                size += len(part)
                if size > LARGEST_BODY:
                    raise body_too_large()
            self._body = b"".join(parts)
        return self._body

    async def json(self) -> Any:
        """Return the body: strict JSON, as files are read. A fault is a problem of status 400."""
        if not hasattr(self, "_json"):
            try:
                self._json = read_json((await self.body()).decode())
            except (NotJsonError, UnicodeDecodeError) as error:
                said = getattr(error, "sentence", "The body is not text in UTF-8.")
                raise ApiError(400, "not-json", said) from error
            refuse_nul(self._json)
        return self._json


class StrictRoute(APIRoute):
    """A route that reads requests strictly: without parameters that it does not know, for example.

    JSON is read as everywhere in rota: no key twice, no NaN, no depth.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which is given a strict request."""
        handler = super().get_route_handler()
        known = RequestCheck(self)

        async def strict(request: Request) -> Response:
            read = _StrictRequest(request.scope, request.receive)
            read.state.check = known.check  # called once it is known who calls
            if not known.needs_caller:
                known.check(read)
            return await do_once(read, lambda: handler(read))

        return strict
