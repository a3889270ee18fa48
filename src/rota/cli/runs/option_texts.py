"""How limits, tokens and money read on a terminal."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from rota.domain.runs.limits import DayLimits, Limits
from rota.domain.schedules.rules.intervals import length_in_words


def limits_in_words(limits: Limits) -> str:
    """Say the limits of a run that are set, nothing where none is."""
    parts = [
        limits.wall_seconds and _length(limits.wall_seconds),
        limits.idle_seconds and f"{_length(limits.idle_seconds)} without progress",
        limits.steps and counted(limits.steps, "model call"),
        limits.tokens and counted(limits.tokens, "token"),
        limits.cost_usd and money(limits.cost_usd),
    ]
    return _at_most([part for part in parts if part])


def day_limits_in_words(limits: DayLimits) -> str:
    """Say the limits of a day that are set, nothing where none is."""
    parts = [
        limits.tokens and counted(limits.tokens, "token"),
        limits.cost_usd and money(limits.cost_usd),
    ]
    return _at_most([part for part in parts if part])


def money(amount: Decimal) -> str:
    """Say an amount of US dollars: to the cent, or so that a small one is not nothing."""
    if amount == 0 or amount == round(amount, 2):
        return f"${amount:,.2f}"
    return f"${amount:,.4f}" if amount >= Decimal("0.0001") else "<$0.0001"


def counted(count: int, noun: str) -> str:
    """Say a number of things in good English."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _at_most(parts: list[str]) -> str:
    return f"at most {', '.join(parts)}" if parts else ""


def _length(seconds: int) -> str:
    return length_in_words(timedelta(seconds=seconds))
