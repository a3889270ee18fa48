"""What one attempt may still use: steps, tokens and money, of the run and of its day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from rota.domain.runs.limits import (
    WARN_AT,
    YOURS,
    DayLimits,
    LimitKind,
    LimitReachedError,
    Limits,
    Spent,
)


@dataclass(frozen=True, slots=True)
class DayBudget:
    """A day's limits, and how much of them is used. `whose` is `YOURS` or `SCHEDULES`."""

    whose: str
    limits: DayLimits
    spent: Spent


@dataclass(slots=True)
class Budget:
    """Counts what a run uses, and stops the run before a model call once a limit is used up.

    So at most one model call exceeds a limit. Replayed calls count, because they were paid for.
    """

    limits: Limits = field(default_factory=Limits)
    days: tuple[DayBudget, ...] = ()
    steps: int = 0
    spent: Spent = field(default_factory=Spent)
    warnings: list[str] = field(default_factory=list)
    _warned: set[str] = field(default_factory=set)

    @property
    def counts_money(self) -> bool:
        """Whether a limit in dollars holds: then the price of every model must be known."""
        return self.limits.cost_usd is not None or any(
            day.limits.cost_usd is not None for day in self.days
        )

    def step(self) -> None:
        """Count a model call that is about to be made; raises LimitReachedError."""
        for kind, whose, used, limit in self._counted():
            if used >= limit:
                raise LimitReachedError(kind, _stopped(kind, whose, limit))
        self.steps += 1
        self._warn()

    def replay(self) -> None:
        """Count a model call that an earlier attempt made: it costs nothing more."""
        self.steps += 1

    def step_made(self) -> None:
        """Count a model call that is over; raises LimitReachedError once a limit is used up."""
        self.steps += 1
        for kind, whose, used, limit in self._counted():
            if used > limit or (used == limit and kind != "steps"):
                raise LimitReachedError(kind, _stopped(kind, whose, limit))

    def add(self, spent: Spent, *, counted_today: bool = False) -> None:
        """Count what a model call used; `counted_today`: the day's figures have it already."""
        self.spent = self.spent + spent
        if not counted_today and spent:
            self.days = tuple(replace(day, spent=day.spent + spent) for day in self.days)
        self._warn()

    def set_days(self, spent: Mapping[str, Spent]) -> None:
        """Take over what the database has counted, by `whose`: other runs' use is in it."""
        self.days = tuple(replace(day, spent=spent.get(day.whose, day.spent)) for day in self.days)
        self._warn()

    def of_use(self) -> str | None:
        """Name the limits on tokens and money, of the run and its schedule; None: there are none.

        Those of a person are over all that they run, whatever it is.
        """
        named = [
            _named(kind, whose, limit)
            for kind, whose, _, limit in self._counted()
            if kind != "steps" and whose != YOURS
        ]
        return " and ".join(named) or None

    def advice(self) -> str | None:
        """Return what the model is told once a limit is near, None before."""
        if not self._warned:
            return None
        return (
            "You have used most of what this run may use. Finish now: answer with what you have, "
            "and say what is missing."
        )

    def _counted(self) -> list[tuple[LimitKind, str, Any, Any]]:
        """Return what is limited: its kind, whose it is, how much was used, and the limit."""
        counted: list[tuple[LimitKind, str, Any, Any]] = [
            ("steps", "", self.steps, self.limits.steps),
            ("tokens", "", self.spent.tokens, self.limits.tokens),
            ("cost", "", self.spent.cost_usd, self.limits.cost_usd),
        ]
        for day in self.days:
            counted += [
                ("day_tokens", day.whose, day.spent.tokens, day.limits.tokens),
                ("day_cost", day.whose, day.spent.cost_usd, day.limits.cost_usd),
            ]
        return [row for row in counted if row[-1] is not None]

    def _warn(self) -> None:
        for kind, whose, used, limit in self._counted():
            key = f"{kind} {whose}"
            share = float(used) / float(limit)
            if share >= WARN_AT and key not in self._warned:
                self._warned.add(key)
                if kind != "steps":  # an agent often uses its last step: no warning
                    self.warnings.append(f"{share:.0%} of {_named(kind, whose, limit)} was used.")


def _named(kind: LimitKind, whose: str, limit: Any) -> str:
    match kind:
        case "tokens" | "cost":
            return f"the run's limit of {_amount(limit)}"
        case "day_tokens" | "day_cost":
            return f"{whose} limit of {_amount(limit)} a day"
        case _:
            return f"the run's limit of {_calls(limit)}"


def _stopped(kind: LimitKind, whose: str, limit: Any) -> str:
    if kind == "steps":
        return f"The agent stopped at its limit of {_calls(limit)}."
    return f"The agent stopped because {_named(kind, whose, limit)} is used up."


def _calls(limit: Any) -> str:
    return "1 model call" if limit == 1 else f"{limit} model calls"


def _amount(limit: int | Decimal) -> str:
    if isinstance(limit, int):
        return f"{limit:,} tokens"
    return f"${limit:.2f}" if limit == round(limit, 2) else f"${limit.normalize():f}"
