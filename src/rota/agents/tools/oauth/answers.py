"""What a provider answers to a request for tokens: a grant, or a refusal in its own words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final, TypeVar

import httpx
from pydantic import BaseModel, BeforeValidator, ValidationError

from rota.agents.tools.oauth.providers import Provider
from rota.domain.errors import UnavailableError
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten

ATTEMPTS: Final = 3
"""How often a request is sent at most, where its failure may pass."""

_SECONDS: Final = 20.0
_LONGEST_ANSWER: Final = 256 * 1024
_ERRNO: Final = re.compile(r"^\[Errno -?\d+\] ")
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error"})


def _whole(value: Any) -> Any:
    return int(float(value)) if isinstance(value, (str, float)) else value


Seconds = Annotated[int, BeforeValidator(_whole)]


class Tokens(BaseModel):
    """Tokens as RFC 6749 has them, and the end of the refresh token as Google tells it."""

    access_token: str
    expires_in: Seconds = 3600
    refresh_token: str = ""
    refresh_token_expires_in: Seconds | None = None
    scope: str | None = None


class DeviceAnswer(BaseModel):
    """A code for a person to type on another device (RFC 8628)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: Seconds = 900
    interval: Seconds = 5


class RefusedError(Exception):
    """A provider refused a request. `skew` is how far this machine's clock is ahead of its own."""

    def __init__(
        self,
        error: str,
        description: str,
        *,
        subtype: str = "",
        codes: frozenset[int] = frozenset(),
        skew: timedelta | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.subtype = subtype
        self.codes = codes
        self.skew = skew

    @property
    def said(self) -> str:
        """The provider's words, as a clause in brackets."""
        words = f"{self.error}: {self.description}" if self.description else self.error
        return f"({words.rstrip('.')})"


class Endpoint:
    """Sends forms to a provider, and reads what it answers.

    No redirect is followed: another host must not see a secret.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._clock = clock
        self._sleep = sleep

    async def ask(self, provider: Provider, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Return the JSON object of an answer.

        Raises RefusedError for a refusal, UnavailableError for what may pass.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._send(provider, url, form)
            except UnavailableError as error:
                if error.permanent or attempt == ATTEMPTS:
                    raise
            await self._sleep(2.0 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _send(self, provider: Provider, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            answer = await self._http.post(
                url,
                data=dict(form),
                headers={"Accept": "application/json"},
                timeout=_SECONDS,
                follow_redirects=False,
            )
        except httpx.TimeoutException as error:
            raise _unavailable(provider, f"did not answer within {_SECONDS:g} s") from error
        except httpx.RequestError as error:
            # Of the network's errors httpx keeps the number: "[Errno -2] Name or service ...".
            text = _ERRNO.sub("", str(error))
            reason = shorten(clean_line(text), 200) or type(error).__name__
            raise _unavailable(provider, f"could not be reached: {reason.rstrip('.')}") from error
        found = _object(answer)
        if found is None or answer.status_code >= 500 or answer.status_code == 429:
            raise _unavailable(provider, f"answered with {answer.status_code}")
        if "error" in found:
            refused = _refusal(found, self._skew(answer))
            if refused.error in _PASSING:
                raise _unavailable(provider, f"is not available {refused.said}")
            raise refused
        if not answer.is_success:
            raise _unavailable(provider, f"answered with {answer.status_code}")
        return found

    def _skew(self, answer: httpx.Response) -> timedelta | None:
        try:
            return self._clock() - parsedate_to_datetime(answer.headers.get("date", ""))
        except (ValueError, TypeError):  # TypeError: it has no zone
            return None


_Read = TypeVar("_Read", bound=BaseModel)


def read(kind: type[_Read], provider: Provider, found: dict[str, Any]) -> _Read:
    """Return an answer as what it should be; raises UnavailableError."""
    try:
        return kind.model_validate(found)
    except ValidationError:
        raise UnavailableError(  # not from it: its message quotes tokens
            f"{provider.noun}'s answer is not what OAuth says. Is ROTA_ENDPOINTS right?",
            service=provider.name,
            permanent=True,
        ) from None


def _object(answer: httpx.Response) -> dict[str, Any] | None:
    if len(answer.content) > _LONGEST_ANSWER:
        return None
    if not answer.content and answer.is_success:  # a revocation needs no words
        return {}
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refusal(found: dict[str, Any], skew: timedelta | None) -> RefusedError:
    # A nested error is how Google's APIs have it, rather than its token endpoint.
    error = found["error"]
    if isinstance(error, dict):
        error = error.get("status") or error.get("code")
    # Microsoft's words go on with traces and times.
    said = str(found.get("error_description") or "").split("Trace ID:")[0]
    codes = found.get("error_codes")
    return RefusedError(
        shorten(clean_line(str(error)), 100),
        shorten(clean_line(said), 300).rstrip(". "),
        subtype=str(found.get("error_subtype") or ""),
        codes=frozenset(c for c in codes if isinstance(c, int))
        if isinstance(codes, list)
        else frozenset(),
        skew=skew,
    )


def _unavailable(provider: Provider, fault: str) -> UnavailableError:
    return UnavailableError(f"{provider.noun} {fault}. Try again later.", service=provider.name)
