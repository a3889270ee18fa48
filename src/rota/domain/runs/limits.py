"""Limits of a run: time, steps, tokens and money; warned at 80 %, stopped at 100 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from rota.domain.errors import RotaError
from rota.domain.runs.option_kinds import (
    Count,
    Dollars,
    Flag,
    Options,
    Seconds,
    counted,
    length,
    money,
    option,
    options_of,
)

WARN_AT: Final = 0.8
"""Share of a limit at which a warning is given."""

DEFAULT_WALL_SECONDS: Final = 3_600
DEFAULT_IDLE_SECONDS: Final = 900

YOURS: Final = "your"
SCHEDULES: Final = "this schedule's"
"""Whose day it is that something is counted on."""

LimitKind = Literal["wall", "idle", "steps", "tokens", "cost", "day_tokens", "day_cost"]


class LimitReachedError(RotaError):
    """A run has used up one of its limits; what it has so far is kept as a partial result.

    >>> async def translate(context: rota.RunContext, prompt: str) -> str:
    ...     done = []
    ...     for page in prompt.split("---"):
    ...         try:
    ...             await context.spend("translator", cost_usd="0.01")
    ...         except rota.LimitReachedError as error:
    ...             return " ".join([*done, error.message])
    ...         done.append(page.upper())
    ...     return " ".join(done)
    """

    def __init__(self, kind: LimitKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Limits(Options):
    """Limits of one run. None: this place sets no limit.

    `wall_seconds` counts active time over all attempts. `idle_seconds` counts time without any
    progress of a model or tool. `steps` counts model calls, `tokens` input and output together,
    `cost_usd` US dollars.
    """

    NOUN = "limit"
    PLACE = "limits"

    wall_seconds: int | None = option(
        Seconds(),
        Flag(
            "max_time",
            "LENGTH",
            "The longest time that a run may take (1h): 10m, 90s. A number alone is seconds.",
        ),
        place="time",
        says=length,
    )
    idle_seconds: int | None = option(
        Seconds(),
        Flag(
            "idle_time",
            "LENGTH",
            "The longest time that a run may take without progress of a model or a tool (15m).",
        ),
        place="idle",
        says=lambda seconds: f"{length(seconds)} without progress",
    )
    steps: int | None = option(
        Count(),
        Flag("max_steps", "N", "The most model calls of a run."),
        says=lambda count: counted(count, "model call"),
    )
    tokens: int | None = option(
        Count(),
        Flag("max_tokens", "N", "The most tokens of a run, input and output together: 200k, 1.5M."),
        says=lambda count: counted(count, "token"),
    )
    cost_usd: Decimal | None = option(
        Dollars(),
        Flag("max_cost", "USD", "The most US dollars that a run may cost: 0.50."),
        place="cost",
        says=money,
    )

    def tightened_by(self, other: Limits) -> Limits:
        """Return the lower of both where both are set: who may not loosen, may still tighten."""
        tighter = {
            name: theirs if (own := getattr(self, name)) is None else min(own, theirs)
            for name in options_of(Limits)
            if (theirs := getattr(other, name)) is not None
        }
        return replace(self, **tighter)


@dataclass(frozen=True, slots=True)
class DayLimits(Options):
    """Limits of all runs in one day of the owner's zone. None: no limit."""

    NOUN = "limit"
    PLACE = "day_limits"

    tokens: int | None = option(
        Count(),
        Flag(
            "day_tokens",
            "N",
            "The most tokens a day, for all runs of this schedule. The day is in your time zone.",
        ),
        says=lambda count: counted(count, "token"),
    )
    cost_usd: Decimal | None = option(
        Dollars(),
        Flag("day_cost", "USD", "US dollars of all runs of this schedule in a day of yours."),
        place="cost",
        says=money,
    )

    def __bool__(self) -> bool:
        return self != DayLimits()


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens and money (US dollars) used so far."""

    tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.cost_usd + other.cost_usd)

    def __bool__(self) -> bool:
        return self.tokens > 0 or self.cost_usd > 0


QuotaName = Literal[
    "max_schedules",
    "min_interval_seconds",
    "max_waiting_runs",
    "max_rules",
    "max_rule_bytes",
    "max_notifications",
]
LimitName = Literal["max_concurrency", "day_tokens", "day_cost_usd", QuotaName]


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many rows of each kind a person may have; None: no quota. See `rota.quotas_of`."""

    max_schedules: int | None
    min_interval_seconds: int | None
    max_waiting_runs: int | None
    max_rules: int | None
    max_rule_bytes: int | None
    max_notifications: int | None


@dataclass(frozen=True, slots=True)
class PersonLimits:
    """One row of `user_limits`: the limits of everybody (`user_id` None), or of one person.

    In a person's row, None means the limit of everybody. If `unlimited` names a limit, the person
    has no such limit. `under_way` counts the person's runs that are queued or running; 0 in
    everybody's row.
    """

    user_id: UUID | None
    email: str | None
    max_concurrency: int | None
    day_tokens: int | None
    day_cost_usd: Decimal | None
    unlimited: Sequence[LimitName]
    under_way: int
    quotas: Quotas


@dataclass(frozen=True, slots=True)
class LimitInAll:
    """The limit of all runs together (None: no limit), and how many are queued or running."""

    max_concurrency: int | None
    under_way: int


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """The limits that hold for one person, wherever they come from. None: no limit.

    `under_way` counts the person's runs that are queued or running.
    """

    max_concurrency: int | None
    day_tokens: int | None
    day_cost_usd: Decimal | None
    under_way: int
    quotas: Quotas
