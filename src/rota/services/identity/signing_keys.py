"""Public keys of an issuer (JWKS): fetched when needed, kept, and fetched anew when rotated."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from rota.domain.errors import UnavailableError
from rota.logs import LazyLogger

ALGORITHM_OF: Final[Mapping[str, str]] = {"RSA": "RS256", "EC": "ES256"}
"""The one algorithm that a key of a type verifies, whatever a token's header says."""

FETCHED_WITHIN: Final = 5.0
"""Seconds that an issuer has to answer."""

LARGEST: Final = 200_000
"""Bytes of an answer of an issuer."""

PAUSE: Final = 10.0
"""Seconds between two fetches, however many tokens name keys that are not known."""

KEPT_FOR: Final = 600.0
"""Seconds after which keys are fetched anew, so that one that was withdrawn counts no more."""

log = LazyLogger(__name__)

SigningKey = RSAKey | ECKey


class SigningKeys:
    """The keys of one issuer. Where it does not answer, those that are known go on counting."""

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._monotonic = monotonic
        self._keys: dict[str, SigningKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> SigningKey | None:
        """Return a key by its id, None where the issuer has none of that id.

        Raises UnavailableError where no keys could be fetched yet.
        """
        if not self._is_wanted(kid):
            return self._keys.get(kid)
        async with self._lock:
            if self._is_wanted(kid):  # nobody has fetched them meanwhile
                await self._fetch()
        if self._fetched_at is None:
            raise UnavailableError(
                "The issuer of this token does not answer. Try again.", service="issuer"
            )
        return self._keys.get(kid)

    def _is_wanted(self, kid: str) -> bool:
        now = self._monotonic()
        if self._tried_at is not None and now - self._tried_at < PAUSE:
            return False
        is_old = self._fetched_at is None or now - self._fetched_at > KEPT_FOR
        return is_old or kid not in self._keys

    async def _fetch(self) -> None:
        self._tried_at = self._monotonic()
        try:
            found = _read(await fetch_json(self._url))
        except UnavailableError as error:
            log.warning("signing_keys_not_fetched", url=self._url, error=error.message)
            return
        self._keys = found
        self._fetched_at = self._monotonic()


async def fetch_json(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: httpx.Auth | None = None,
    refusals: Collection[int] = (),
) -> Any:
    """Return what an issuer answers at a URL: JSON, of bounded size, without redirects.

    `form` is posted. `refusals` are statuses whose JSON is returned, too. Raises UnavailableError.
    """
    body = bytearray()
    try:
        async with (
            asyncio.timeout(FETCHED_WITHIN),
            httpx.AsyncClient(timeout=FETCHED_WITHIN) as client,
            client.stream(
                "GET" if form is None else "POST",
                url,
                data=None if form is None else dict(form),
                headers={"Accept": "application/json", **(headers or {})},
                auth=auth,
            ) as answer,
        ):
            if answer.status_code not in {200, *refusals}:
                raise _unread(f"status {answer.status_code}")
            async for block in answer.aiter_bytes():
                body += block
                if len(body) > LARGEST:
                    raise _unread(f"more than {LARGEST:,} bytes")
        return json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise _unread(f"{type(error).__name__}: {error}".rstrip(": ")) from error
    except (ValueError, RecursionError) as error:
        raise _unread("no JSON") from error


def _unread(why: str) -> UnavailableError:
    return UnavailableError(f"The issuer did not answer as it should: {why}.", service="issuer")


def _read(found: Any) -> dict[str, SigningKey]:
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise _unread("no keys")
    keys: dict[str, SigningKey] = {}
    for one in listed:
        # A secret (`oct`) that somebody published signs nothing here.
        if not isinstance(one, dict) or one.get("kty") not in ALGORITHM_OF:
            continue
        kid, use = one.get("kid"), one.get("use", "sig")
        if not isinstance(kid, str) or use != "sig":
            continue
        try:
            key = JWKRegistry.import_key(one)
        except (JoseError, ValueError, TypeError):
            continue
        if (
            isinstance(key, RSAKey | ECKey)
            and one.get("alg", ALGORITHM_OF[key.key_type]) == (ALGORITHM_OF[key.key_type])
        ):
            keys[kid] = key
    return keys
