"""`Idempotency-Key`: a POST that is sent again is not done again, and gets the same answer.

A key belongs to a person, for a day. It is claimed once the caller is known and has the scope, so a
repeat needs what the first one needed. Kept are answers of 200 to 299, 404 and 409. Other refusals
come before any work, and after a fault a repeat tries again; unless something was done by then.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, NoReturn, assert_never

import structlog
from fastapi import Request, Response

from rota.api.problems import ApiError, problem_of
from rota.bootstrap.app import App
from rota.domain.errors import ConflictError, NotFoundError, UnavailableError
from rota.domain.ids import UserId
from rota.services.operations.idempotency import (
    HELD_FOR,
    Claim,
    Kept,
    NoAnswer,
    OtherRequest,
    UnderWay,
    work_under,
)

KEY_PARAMETER: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A key of your own: a repeat with it is not done again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}

_KEY: Final = re.compile(r"[!-~]{1,255}", re.ASCII)
_HEADERS: Final = ("content-type", "etag", "location", "preference-applied", "link")
"""Headers that are kept with an answer."""


class _AnsweredBeforeError(Exception):
    """The request was answered before."""

    def __init__(self, answer: Kept) -> None:
        super().__init__()
        self.answer = answer


class _Work:
    """A request that holds its key, and says so as long as it runs."""

    def __init__(self, app: App, claim: Claim) -> None:
        self.app = app
        self.claim = claim
        self._living = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(HELD_FOR / 3)
            try:
                await self.app.idempotency.hold(self.claim)
            except UnavailableError as error:
                structlog.get_logger(__name__).warning("key_not_held", error=error.message)

    async def end(self, answer: Response | None) -> None:
        """Keep the answer, or give the key back."""
        work_under(None)
        self._living.cancel()
        body = None if answer is None else getattr(answer, "body", None)
        try:
            if answer is None or not _is_kept(answer.status_code):
                await self.app.idempotency.release(self.claim)
                return
            headers = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
            kept = Kept(answer.status_code, headers, bytes(body or b""))
            await self.app.idempotency.keep(self.claim, kept)
        except UnavailableError as error:  # it was done, and the client should know
            structlog.get_logger(__name__).warning("answer_not_kept", error=error.message)


async def claim_key(request: Request, app: App, user_id: UserId, scopes: Collection[str]) -> None:
    """Claim the key of a request, if it is a POST that has one; called once in each request.

    A kept answer is for callers of the same scopes: another one may not see what it holds.
    """
    given = request.headers.getlist("idempotency-key") if request.method == "POST" else []
    if not given:
        return
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise ApiError(
            422,
            "invalid-input",
            "Idempotency-Key is one key of 1 to 255 letters, digits and signs, without spaces.",
        )
    parameters = sorted(request.query_params.multi_items())
    asked = json.dumps([request.method, request.url.path, parameters, sorted(scopes)])
    told = hashlib.sha256(asked.encode() + b"\0" + await request.body()).digest()
    match await app.idempotency.claim(user_id, given[0], told):
        case Claim() as claim:
            work_under(claim)
            request.state.work = _Work(app, claim)
        case Kept() as kept:
            raise _AnsweredBeforeError(kept)
        case OtherRequest():
            raise ApiError(
                422,
                "idempotency-key-reused",
                "This Idempotency-Key was used for another request. Take a new one.",
            )
        case UnderWay():
            raise ApiError(
                409,
                "idempotency-key-in-use",
                "The request with this Idempotency-Key is still under way.",
                headers={"Retry-After": "1"},
            )
        case NoAnswer(status):
            _tell_of_no_answer(status)
        case other:
            assert_never(other)


async def do_once(request: Request, work: Callable[[], Awaitable[Response]]) -> Response:
    """Do a request's work, and keep its answer if it claimed a key; or answer as before."""
    answer: Response | None = None
    try:
        answer = await work()
    except _AnsweredBeforeError as repeated:
        kept = repeated.answer
        headers = {**kept.headers, "Idempotency-Replayed": "true"}
        return Response(kept.body, kept.status, headers)
    except (NotFoundError, ConflictError) as error:
        answer = problem_of(request, error)
    finally:
        held: _Work | None = getattr(request.state, "work", None)
        if held is not None:
            await held.end(answer)
    return answer


def _is_kept(status: int) -> bool:
    return 200 <= status < 300 or status in {404, 409}


def _tell_of_no_answer(status: int | None) -> NoReturn:
    if status is not None:
        raise ApiError(
            409,
            "answer-not-kept",
            "The request with this Idempotency-Key was done; its answer is not kept.",
            answered=status,
        )
    raise ApiError(
        409,
        "outcome-unknown",
        "The request with this Idempotency-Key ended before its answer was kept, and something of "
        "it was done. Look what is there, and take a new key to do more.",
    )
