"""Limits of a run: time, steps, tokens and money; warned at 80 %, stopped at 100 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final, Literal, Self
from uuid import UUID

from rota.domain.errors import InvalidInputError, RotaError
from rota.domain.runs.option_kinds import (
    Count,
    Dollars,
    Flag,
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

LimitKind = Literal["wall", "idle", "steps", "tokens", "cost", "day_tokens", "day_cost"]


class LimitReachedError(RotaError):
    """A run has used up one of its limits; what it has so far is kept as a partial result."""

    def __init__(self, kind: LimitKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run. None: not set at this place.

    `wall_seconds` counts active time over all attempts; `idle_seconds` time without any progress of
    a model or tool; `steps` model calls; `tokens` input and output together; `cost_usd` US dollars.
    """

    wall_seconds: int | None = option(
        Seconds(),
        Flag("max_time", "LENGTH", "How long one run may take (1h): 10m, 90s."),
        place="time",
        says=length,
    )
    idle_seconds: int | None = option(
        Seconds(),
        Flag(
            "idle_time",
            "LENGTH",
            "How long a run may go without any progress of a model or a tool (15m).",
        ),
        place="idle",
        says=lambda seconds: f"{length(seconds)} without progress",
    )
    steps: int | None = option(
        Count(),
        Flag("max_steps", "N", "Model calls that one run may make."),
        says=lambda count: counted(count, "model call"),
    )
    tokens: int | None = option(
        Count(),
        Flag("max_tokens", "N", "Tokens of one run, input and output: 200k, 1.5M."),
        says=lambda count: counted(count, "token"),
    )
    cost_usd: Decimal | None = option(
        Dollars(),
        Flag("max_cost", "USD", "US dollars of one run: 0.50."),
        place="cost",
        says=money,
    )

    def overridden_by(self, other: Limits) -> Limits:
        """Return these limits with those that `other` sets in their place."""
        return replace(self, **other.as_set())

    def tightened_by(self, other: Limits) -> Limits:
        """Return the lower of both where both are set: who may not loosen, may still tighten."""
        tighter = {
            name: value if (own := getattr(self, name)) is None else min(own, value)
            for name, value in other.as_set().items()
        }
        return replace(self, **tighter)

    def as_set(self) -> dict[str, Any]:
        """Return the limits that are set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def as_json(self) -> dict[str, Any]:
        """Return the limits that are set as JSON; money is a string, so that no cent is lost."""
        return _as_json(self.as_set())

    @classmethod
    def parse(cls, value: object, *, where: str = "limits") -> Self:
        """Read limits from JSON; raises InvalidInputError naming the place."""
        return cls(**_parsed(value, cls, where))


@dataclass(frozen=True, slots=True)
class DayLimits:
    """Limits of everything that is run in one day of the owner's zone. None: no limit."""

    tokens: int | None = option(
        Count(),
        Flag("day_tokens", "N", "Tokens of all runs of this schedule in a day of yours."),
        says=lambda count: counted(count, "token"),
    )
    cost_usd: Decimal | None = option(
        Dollars(),
        Flag("day_cost", "USD", "US dollars of all runs of this schedule in such a day."),
        place="cost",
        says=money,
    )

    def __bool__(self) -> bool:
        return self.tokens is not None or self.cost_usd is not None

    def overridden_by(self, other: DayLimits) -> DayLimits:
        """Return these limits with those that `other` sets in their place."""
        return DayLimits(
            self.tokens if other.tokens is None else other.tokens,
            self.cost_usd if other.cost_usd is None else other.cost_usd,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the limits that are set, as JSON."""
        values = {"tokens": self.tokens, "cost_usd": self.cost_usd}
        return _as_json({name: value for name, value in values.items() if value is not None})

    @classmethod
    def parse(cls, value: object, *, where: str = "day_limits") -> Self:
        """Read limits from JSON; raises InvalidInputError naming the place."""
        return cls(**_parsed(value, cls, where))


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens and money (US dollars) used so far."""

    tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.cost_usd + other.cost_usd)

    def __bool__(self) -> bool:
        return self.tokens > 0 or self.cost_usd > 0


def _parsed(value: object, kind: type, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{where} is a mapping of names to numbers.", field=where)
    options = options_of(kind)
    parsed: dict[str, Any] = {}
    for name, given in value.items():
        place = f"{where}.{name}"
        if name not in options:
            raise InvalidInputError(
                f"There is no limit {str(name)[:60]!r}; there are {', '.join(options)}.",
                field=place,
            )
        if given is None:
            continue
        parsed[name] = options[name].kind.parse(given, place)
    return parsed


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()
    }


LimitName = Literal["max_concurrency", "day_tokens", "day_cost_usd"]


@dataclass(frozen=True, slots=True)
class PersonLimits:
    """One row of `user_limits`: everybody's (`user_id` None), or a person's.

    In a person's row None is as everybody has it, unless `unlimited` names it: then it is no limit.
    `under_way`: the person's runs that are queued or running, 0 in everybody's row.
    """

    user_id: UUID | None
    email: str | None
    max_concurrency: int | None
    day_tokens: int | None
    day_cost_usd: Decimal | None
    unlimited: Sequence[LimitName]
    under_way: int


@dataclass(frozen=True, slots=True)
class LimitInAll:
    """The limit of all runs together (None: no limit), and how many are queued or running."""

    max_concurrency: int | None
    under_way: int
