"""How many requests a caller may send: counted in the memory of this process.

A route that needs a stricter limit of its own asks for it:

    @router.post("/session", dependencies=[Depends(at_most(20, "sign-in"))])
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from rota.api.problems import ApiError

FAILURES: Final = 30
"""Requests a minute of one address with a token or cookie that is not valid."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_KEYS: Final = 10_000
_NETWORK_OF_ONE: Final = 64
"""Bits of an IPv6 address that one household or server has all addresses of."""


class _Memory(Storage):
    """Counters, of which the oldest are forgotten where there are too many.

    Those of `limits` grow without bound, and start a thread for each request.
    """

    STORAGE_SCHEME = None

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._counters: dict[str, tuple[int, float]] = {}  # count and end, the oldest first

    @property
    def base_exceptions(self) -> type[Exception]:
        """There are none."""
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, and return the count within the window."""
        count, end = self._current(key)
        if not count:
            self._counters.pop(key, None)
            end = time.time() + expiry
            while len(self._counters) >= self._most:
                del self._counters[next(iter(self._counters))]
        self._counters[key] = (count + amount, end)
        return count + amount

    def get(self, key: str) -> int:
        """Return the count within the window."""
        return self._current(key)[0]

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, in seconds since 1970."""
        return self._current(key)[1]

    def check(self) -> bool:
        """Return True: memory does not fail."""
        return True

    def reset(self) -> int:
        """Forget all counters; returns how many there were."""
        count = len(self._counters)
        self._counters.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one counter."""
        self._counters.pop(key, None)

    def _current(self, key: str) -> tuple[int, float]:
        now = time.time()
        count, end = self._counters.get(key, (0, now))
        return (count, end) if end > now else (0, now)


class Rates:
    """The limits of one process. `reads` are a minute's of one caller; changes are a quarter."""

    def __init__(self, *, reads: int, most_keys: int = _MOST_KEYS) -> None:
        self._reads = RateLimitItemPerMinute(reads)
        self._changes = RateLimitItemPerMinute(max(1, reads // 4))
        self._failures = RateLimitItemPerMinute(FAILURES)
        # Apart, so that many addresses cannot have those of people forgotten.
        self._callers = FixedWindowRateLimiter(_Memory(most_keys))
        self._addresses = FixedWindowRateLimiter(_Memory(most_keys))

    def count(self, request: Request, caller: str) -> None:
        """Count a request of somebody who is known; raises ApiError 429."""
        is_read = request.method in _SAFE
        limit = self._reads if is_read else self._changes
        what = "reads" if is_read else "changes"
        if not self._callers.hit(limit, what, caller):
            raise self._too_many(self._callers, limit, what, caller)

    def check_failures(self, request: Request) -> None:
        """Raise ApiError 429 where this address sent too many wrong tokens."""
        key = ("failures", address_of(request))
        if not self._addresses.test(self._failures, *key):
            raise self._too_many(self._addresses, self._failures, *key)

    def count_failure(self, request: Request) -> None:
        """Count a token or cookie that is not valid."""
        self._addresses.hit(self._failures, "failures", address_of(request))

    def count_attempt(self, request: Request, name: str, amount: int) -> None:
        """Count a request of this address to a route that has a limit; raises ApiError 429."""
        limit, key = RateLimitItemPerMinute(amount), (name, address_of(request))
        if not self._addresses.hit(limit, *key):
            raise self._too_many(self._addresses, limit, *key)

    def _too_many(
        self, limiter: FixedWindowRateLimiter, limit: RateLimitItemPerMinute, *key: str
    ) -> ApiError:
        seconds = max(1, math.ceil(limiter.get_window_stats(limit, *key).reset_time - time.time()))
        return ApiError(
            429,
            "too-many-requests",
            f"There are more than {limit.amount:,} of these requests a minute. Go on in "
            f"{seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )


def at_most(amount: int, name: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency of a route: so many requests a minute of one address, 429 beyond.

    Routes with the same `name` share a limit.
    """

    async def count(request: Request) -> None:
        rates: Rates | None = request.app.state.rates
        if rates is not None:
            rates.count_attempt(request, name, amount)

    return count


def address_of(request: Request) -> str:
    """Return whom an address belongs to: of IPv6 the network, which is one's own to choose from."""
    host = request.client.host if request.client is not None else ""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host
    if ip.version == 4:
        return host
    return str(ipaddress.ip_network((ip, _NETWORK_OF_ONE), strict=False))
