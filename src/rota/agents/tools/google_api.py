"""Requests to Google's REST APIs: tried again where a failure may pass, else one plain sentence.

Gmail and Google Calendar use it. It does not get tokens, nor know what is in the answers.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Literal, TypeAlias, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from rota.domain.agents.connections import ReconnectRequiredError
from rota.domain.approvals.actions import OutcomeUnknownError
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SetupRequiredError,
    UnavailableError,
)
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten

ATTEMPTS: Final = 4
"""How often a request is sent at most, where the failure may pass."""

LONGEST_WAIT: Final = 20.0
"""Seconds that are waited at most before another attempt, whatever Retry-After says."""

RESPONSE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a response at most. Gmail's messages have 25 to 50 MB, a third more as base64."""

_BUSY: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "backendError"})
_USED_UP: Final = frozenset({"dailyLimitExceeded", "quotaExceeded", "calendarUsageLimitsExceeded"})
_RENEWALS: Final = 2
"""How often another token is taken for one request: a second one may end early, too."""

_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_TOKEN: Final = re.compile(r"[!-~]+")

Params = Mapping[str, str | int | list[str]]

Renewal: TypeAlias = Callable[[str], Awaitable[str]]
"""Takes an access token that an API refused, and returns the one to use instead."""


@dataclass(frozen=True, slots=True)
class GoogleService:
    """One of Google's APIs, as sentences about it name it.

    `forbidden` says what a connection without the scope lacks. `connection` is its kind.
    """

    name: str
    connection: str
    forbidden: str


class GoogleApi:
    """Sends requests to one API for one person.

    `token_provider` returns an OAuth access token, and is asked at every request; the token goes
    into the Authorization header and nowhere else. `renew` takes one that the API refused, and
    returns the one to use instead; the same, where there is no other. Requests time out after
    `timeout` seconds; those whose failure may pass are sent up to `ATTEMPTS` times.
    """

    def __init__(
        self,
        service: GoogleService,
        token_provider: Callable[[], Awaitable[str]],
        *,
        http: httpx.AsyncClient,
        renew: Renewal | None = None,
        timeout: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._service = service
        self._token_provider = token_provider
        self._renew = renew
        self._renewed = ""
        self._http = http
        self._timeout = timeout
        self._sleep = sleep

    async def request(
        self,
        url: str,
        params: Params,
        *,
        method: Literal["GET", "POST"] = "GET",
        content: object = None,
        missing: NotFoundError | None = None,
        is_once: bool = False,
    ) -> bytes:
        """Return the body of an answer; `content` is sent as JSON.

        Raises `missing` where the API does not know the thing, ConflictError where it is there
        already, InvalidInputError, SetupRequiredError (no or no longer valid permission) and
        UnavailableError. A POST is repeated too: give what it makes an id. With `is_once` it is
        repeated only where Google refused it, or did not get it, and raises OutcomeUnknownError
        where nobody knows what became of it.
        """
        name = self._service.name
        for attempt in range(1, ATTEMPTS + 1):
            wait: float | None = None
            try:
                status, headers, body = await self._send_renewed(method, url, params, content)
            except httpx.TimeoutException as error:
                fault = f"did not answer within {self._timeout:g} s"
                if is_once and not isinstance(error, _NOT_SENT):
                    raise self._unknown(fault) from error
            except httpx.RequestError as error:
                fault = f"could not be reached ({type(error).__name__})"
                if is_once and not isinstance(error, _NOT_SENT):
                    raise self._unknown(fault) from error
            else:
                if status == httpx.codes.OK:
                    return body
                fault = self._passing_fault(status, body, missing)
                if is_once and (status >= 500 or status == httpx.codes.REQUEST_TIMEOUT):
                    raise self._unknown(fault)
                wait = _retry_after(headers)
            if attempt < ATTEMPTS:
                backoff = 2 ** (attempt - 1) * (1 + random.random() / 4)
                await self._sleep(min(backoff if wait is None else wait, LONGEST_WAIT))
        raise UnavailableError(
            f"{name} {fault}, after {ATTEMPTS} attempts. Try again later.",
            service=self._service.connection,
        )

    def parsed(self, kind: type[Answer], body: bytes) -> Answer:
        """Return an answer as a model; raises UnavailableError."""
        try:
            return kind.model_validate_json(body)
        except ValidationError as error:
            raise self._broken(
                "answer is not what its API documents. Is the base URL right?"
            ) from error

    async def _send_renewed(
        self, method: str, url: str, params: Params, content: object
    ) -> tuple[int, httpx.Headers, bytes]:
        """Send a request, and again where its token was refused and there is another one.

        A token ends early where its owner signs out everywhere, or this machine slept meanwhile.
        What was refused for its token was not done, so a POST too is sent again.
        """
        token = self._renewed or await self._token_provider()
        answer = await self._send(method, url, params, content, token)
        for _ in range(_RENEWALS):
            if answer[0] != httpx.codes.UNAUTHORIZED or self._renew is None:
                break
            other = await self._renew(token)
            if other == token:
                break
            self._renewed = token = other
            answer = await self._send(method, url, params, content, token)
        return answer

    async def _send(
        self, method: str, url: str, params: Params, content: object, token: str
    ) -> tuple[int, httpx.Headers, bytes]:
        if not _TOKEN.fullmatch(token):
            # Checked here, because httpx would quote it in its own error.
            name = self._service.name
            raise ReconnectRequiredError(f"The stored access token of {name} is damaged.")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        async with self._http.stream(
            method,
            url,
            params=params,
            headers=headers,
            json=content,
            timeout=self._timeout,
            follow_redirects=False,  # another host must not see the token
        ) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > RESPONSE_LIMIT:
                    raise self._broken("answer is too large to be read.")
            return response.status_code, response.headers, bytes(body)

    def _passing_fault(self, status: int, body: bytes, missing: NotFoundError | None) -> str:
        """Describe a failure that may pass; raise what will not."""
        service, name = self._service, self._service.name
        if status == httpx.codes.UNAUTHORIZED:
            raise ReconnectRequiredError(f"{name} no longer accepts the connection.")
        if status == httpx.codes.NOT_FOUND and missing is not None:
            raise missing
        reasons, message = _reasons(body)
        if status == httpx.codes.CONFLICT:
            raise ConflictError(f"{name} has it already: {message or 'no reason given'}.")
        if status == httpx.codes.TOO_MANY_REQUESTS or (
            status == httpx.codes.FORBIDDEN and reasons & _BUSY
        ):
            return "is limiting requests"
        if status == httpx.codes.FORBIDDEN and reasons & _USED_UP:
            raise UnavailableError(
                f"{name}'s limit for today is used up.", service=service.connection
            )
        if status == httpx.codes.FORBIDDEN and reasons & {
            "accessNotConfigured",
            "SERVICE_DISABLED",
        }:
            raise SetupRequiredError(
                f"The {name} API is not enabled in the Google Cloud project of this connection: "
                f"{message or 'no reason given'}.",
                what="connection",
            )
        if status == httpx.codes.FORBIDDEN:
            raise ReconnectRequiredError(service.forbidden)
        if status == httpx.codes.BAD_REQUEST:
            raise InvalidInputError(f"{name} refused the request: {message or 'no reason given'}.")
        if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
            return f"answered with an error ({status})"
        raise UnavailableError(
            f"{name} answered with {status}, which rota does not expect.",
            service=service.connection,
            permanent=True,
        )

    def _unknown(self, fault: str) -> OutcomeUnknownError:
        service = self._service
        return OutcomeUnknownError(
            f"{service.name} {fault}. It may have done it.", service=service.connection
        )

    def _broken(self, how: str) -> UnavailableError:
        service = self._service
        return UnavailableError(
            f"{service.name}'s {how}", service=service.connection, permanent=True
        )


def _reasons(body: bytes) -> tuple[set[str], str]:
    """Read Google's error object: reasons in the old and the new form, and the message."""
    try:
        error = json.loads(body)["error"]
        entries = [*error.get("errors", ()), *error.get("details", ())]
        reasons = {str(entry["reason"]) for entry in entries if "reason" in entry}
        return reasons, shorten(clean_line(str(error.get("message", ""))), 300).rstrip(".")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return set(), ""


def _retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds that Retry-After asks for, given as such or as a date."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        asked, answered = (parsedate_to_datetime(text) for text in (value, headers.get("date", "")))
        return max(0.0, (asked - answered).total_seconds())
    except (ValueError, TypeError):  # TypeError: one of them without a zone
        return None


Answer = TypeVar("Answer", bound=BaseModel)
