"""Requests to servers of calendars: bounded in size and time, and private.

Addresses and passwords are secrets here: no error and no log line has more of an address than its
host. A redirect is followed to https only.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from rota.domain.agents.calendar_accounts import is_private
from rota.domain.agents.connections import ReconnectRequiredError
from rota.domain.errors import RotaError, UnavailableError
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten

MOST_BYTES: Final = 24 * 1024 * 1024
"""Bytes of one answer, unpacked."""

LONGEST: Final = 45.0
"""Seconds after which nothing more is waited for: a tool has 60."""

_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TIMEOUT: Final = httpx.Timeout(20.0, connect=10.0)

_Cause = TypeVar("_Cause", bound=BaseException)

_IS_SECRET: ContextVar[bool] = ContextVar("rota_secret_address", default=False)
_LOGGERS: Final = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """A server's answer. `url` is where it came from, after redirects."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str


class CalendarWeb:
    """Sends requests to one server. `host` is what errors call it."""

    def __init__(self, client: httpx.AsyncClient, host: str, auth: httpx.Auth | None) -> None:
        self._client = client
        self._host = host
        self._auth = auth

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> WebAnswer:
        """Return an answer, whatever its status; raises as `calendar_web`."""
        for _ in range(_MOST_REDIRECTS + 1):
            answer = await self._send(method, url, content, headers)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            url = self._redirected(url, location)
        raise UnavailableError(f"{self._host} redirects in a circle.", service="calendar")

    def _redirected(self, url: str, location: str) -> str:
        target = urlsplit(urljoin(url, location))
        came = urlsplit(url)
        is_same = (came.scheme, came.netloc) == (target.scheme, target.netloc)
        if target.scheme == "https" or (is_same and is_private(target)):
            return target.geturl()
        raise UnavailableError(
            f"{self._host} redirects to an address without encryption, which rota does not follow.",
            service="calendar",
            permanent=True,
        )

    async def _send(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str] | None
    ) -> WebAnswer:
        async with self._client.stream(
            method, url, content=content, headers=headers, auth=self._auth
        ) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise UnavailableError(
                        f"{self._host} answers with more than {MOST_BYTES // 1024**2} MiB.",
                        service="calendar",
                        permanent=True,
                    )
            return WebAnswer(response.status_code, response.headers, bytes(body), url)


@asynccontextmanager
async def calendar_web(
    host: str, *, certificate: str = "", auth: httpx.Auth | None = None
) -> AsyncIterator[CalendarWeb]:
    """Give a way to a server for a block, which may take `LONGEST` seconds.

    Raises ReconnectRequiredError for what its owner has to mend, UnavailableError for what may
    pass.
    """
    _silence()
    token = _IS_SECRET.set(True)
    try:
        with _translated(host):
            try:
                context = ssl.create_default_context(cadata=certificate or None)
            except ssl.SSLError:
                raise ReconnectRequiredError(
                    "The --certificate is no certificate in PEM."
                ) from None
            async with (
                asyncio.timeout(LONGEST),
                httpx.AsyncClient(
                    verify=context,
                    timeout=_TIMEOUT,
                    headers={"User-Agent": "rota", "Accept-Encoding": "gzip"},
                ) as client,
            ):
                yield CalendarWeb(client, host, auth)
    finally:
        _IS_SECRET.reset(token)


class Login(httpx.Auth):
    """Signs in by what the server asks for: Basic or Digest. `was_refused` tells a wrong password.

    One wrong password is sent once.
    """

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._chosen: httpx.Auth | None = None
        self.was_refused = False
        self.is_unknown = False

    @property
    def is_used(self) -> bool:
        """Whether the server has been told who it is."""
        return self._chosen is not None

    def insist(self) -> None:
        """Sign in by Basic to a server that did not ask."""
        self._chosen = httpx.BasicAuth(self._user.encode(), self._password.encode())

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Send a request, and again with name and password where they are asked for."""
        if self._chosen is None:
            response = yield request
            if response.status_code != httpx.codes.UNAUTHORIZED:
                return
            self._chosen = self._choose(response)
            if self._chosen is None:
                self.is_unknown = True
                return
        flow = self._chosen.auth_flow(request)
        signed = next(flow)
        while True:
            response = yield signed
            try:
                signed = flow.send(response)
            except StopIteration:
                break
        self.was_refused = response.status_code == httpx.codes.UNAUTHORIZED

    def _choose(self, response: httpx.Response) -> httpx.Auth | None:
        offered = " ".join(response.headers.get_list("www-authenticate")).lower()
        if "digest " in offered:
            return httpx.DigestAuth(self._user, self._password)
        if "basic" in offered:
            self.insist()
        return self._chosen


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turn what httpx raises into sentences, without the address."""
    try:
        yield
    except RotaError:
        raise
    except TimeoutError:
        raise _unavailable(f"{host} did not answer in time. Try again later.") from None
    except httpx.TimeoutException:
        raise _unavailable(f"{host} did not answer in time. Try again later.") from None
    except httpx.DecodingError:
        raise _unavailable(f"{host} answers with what cannot be unpacked.") from None
    except httpx.RequestError as error:
        refused = next(_causes(error, ssl.SSLCertVerificationError), None)
        if refused is not None:
            raise ReconnectRequiredError(
                f"The certificate of {host} does not verify "
                f"({refused.verify_message.rstrip('.')}), so rota told it nothing. Is the server's "
                "name right? For a server of your own, connect it with --certificate FILE, its "
                "authority's in PEM."
            ) from None
        problem = next(_causes(error, OSError), None)
        reason = (problem.strerror or str(problem)) if problem is not None else ""
        reason = reason or type(error).__name__
        raise _unavailable(
            f"{host} cannot be reached: {shorten(clean_line(reason), 200)}. Try again later."
        ) from None
    except (httpx.InvalidURL, httpx.StreamError):
        raise _unavailable(f"{host} does not speak HTTP as expected.") from None


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(message, service="calendar")


def _causes(error: BaseException, kind: type[_Cause]) -> Iterator[_Cause]:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, kind):
            yield found
        found = found.__cause__ or found.__context__


def _silence() -> None:
    """Keep addresses out of the log: httpx writes a line for each request, httpcore for headers."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _is_no_secret not in logger.filters:
            logger.addFilter(_is_no_secret)


def _is_no_secret(_record: logging.LogRecord) -> bool:
    return not _IS_SECRET.get()
