"""Retries a model call with the same model, then with the fallback models in turn.

rota makes and reports each attempt, so the clients' own retries are off (see `building`). This
module does not use LangChain: a model is any value that the caller's `call` takes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count
from math import ceil
from typing import Final, TypeVar

from rota.agents.models.failures import (
    ModelAttempt,
    ModelCallError,
    ModelFailure,
    classify_model_error,
)
from rota.domain.agents.retries import RetryPolicy, wait_before_retry
from rota.domain.errors import RotaError

T = TypeVar("T")
ModelT = TypeVar("ModelT")

_UNITS: Final = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))


async def call_models(
    models: Sequence[tuple[str, ModelT]],
    call: Callable[[str, ModelT], Awaitable[T]],
    *,
    policy: RetryPolicy,
    failed: Callable[[ModelAttempt], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Callable[[], float],
) -> T:
    """Return the first answer of these models, `(provider:model, model)` in order of preference.

    A transient failure is retried under the policy; a model that is given up is followed by the
    next where another one may do better (see `WORTH_ANOTHER_MODEL`). `failed` hears of each failed
    attempt before its wait, so that a trace shows what is waited for. `random` returns a number in
    [0, 1).

    Raises ModelCallError, from the last model's exception, when nobody answered. RotaError,
    cancellation and exceptions that are not known as a model's failure pass as they are; of the
    latter `failed` hears too.
    """
    if not models:
        raise ValueError("There is no model to call.")
    attempts: list[ModelAttempt] = []
    for place, (name, model) in enumerate(models, start=1):
        for retries in count():
            try:
                return await call(name, model)
            except RotaError:
                raise
            except Exception as error:
                failure = classify_model_error(error)
                wait = _wait(failure, policy, retries, random)
                attempts.append(
                    ModelAttempt(name, failure.kind, failure.message, wait, failure.usage)
                )
                await failed(attempts[-1])
                if failure.kind == "other":
                    raise
                last = place == len(models) or not failure.worth_another_model
                if wait is None and last:
                    raise ModelCallError(_summed_up(failure, attempts)) from error
            if wait is None:
                break
            await sleep(wait)
    raise AssertionError("The last model answers or raises.")


def _wait(
    failure: ModelFailure, policy: RetryPolicy, retries: int, random: Callable[[], float]
) -> float | None:
    if not failure.worth_retrying:
        return None
    return wait_before_retry(policy, retries, retry_after=failure.retry_after, chance=random())


def _summed_up(failure: ModelFailure, attempts: Sequence[ModelAttempt]) -> ModelFailure:
    """Return the last failure with all that was tried, and when to try again if that was told."""
    (first, times), *others = Counter(attempt.model for attempt in attempts).items()
    tried = [f"{times} attempt{'s' if times > 1 else ''} of {first}"]
    tried += [f"{times} of {model}" for model, times in others]
    whose = f"{attempts[-1].model}: " if others else ""
    parts = [f"{whose}{failure.message}", f"Tried: {', '.join(tried)}."]
    if failure.retry_after:
        again = _length(failure.retry_after)
        parts.append(f"The provider says that it may be tried again in {again}.")
    return replace(failure, message=" ".join(parts))


def _length(seconds: float) -> str:
    """Return a length of time in words, rounded up to one unit, so that it is never too short."""
    size, unit = next((u for u in _UNITS if seconds >= 2 * u[0]), _UNITS[-1])
    whole = max(1, ceil(seconds / size))
    return f"{whole} {unit}{'s' if whole > 1 else ''}"
