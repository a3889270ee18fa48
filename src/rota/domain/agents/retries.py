"""How often and after which delay a failed call is tried again. Chance is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MOST_DOUBLINGS: Final = 60
"""Enough for any delay to have reached its bound, and few enough for a float."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries of one model call; delays are seconds.

    `max_retries` counts per model, beyond the first attempt. If a provider asks for a longer delay
    than `longest_retry_after`, the same model is not tried again.
    """

    max_retries: int = 3
    first_delay: float = 1.0
    max_delay: float = 60.0
    longest_retry_after: float = 300.0


def wait_before_retry(
    policy: RetryPolicy, retries: int, *, retry_after: float | None, chance: float
) -> float | None:
    """Return the seconds until the next attempt, or None where there is to be none.

    `retries` counts those made already; `chance` lies in [0, 1). Exponential backoff with full
    jitter (uniform between 0 and the bound that doubles with each retry), so that runs which
    failed together do not come back together. What the provider asked for is waited for first, and
    the jitter comes on top of it: it was told the same time to all of them.
    """
    if retries >= policy.max_retries:
        return None
    if retry_after is not None and retry_after > policy.longest_retry_after:
        return None
    bound = min(policy.max_delay, policy.first_delay * 2.0 ** min(retries, _MOST_DOUBLINGS))
    return (retry_after or 0.0) + chance * bound
