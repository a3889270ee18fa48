"""Limits that the operator sets: how much may run at a time, and be used in a day."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.runs.limits import LimitInAll, LimitName, PersonLimits
from rota.store.database import Database
from rota.store.runs import limits as rows

_LARGEST_CONCURRENCY: Final = 1_000_000
_LARGEST: Final = 10**12


class Word(StrEnum):
    """What may stand where a limit is expected: no limit, or the one that everybody has."""

    NONE = "none"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class LimitChanges:
    """Limits to set; None leaves one as it is."""

    max_concurrency: int | Word | None = None
    day_tokens: int | Word | None = None
    day_cost_usd: Decimal | Word | None = None

    def given(self) -> dict[LimitName, int | Decimal | Word]:
        """Return the limits that are to change, by the names of their columns."""
        values: dict[LimitName, int | Decimal | Word | None] = {
            "max_concurrency": self.max_concurrency,
            "day_tokens": self.day_tokens,
            "day_cost_usd": self.day_cost_usd,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class LimitsShown:
    """All limits that are set: of all runs together, of each person, and of single persons."""

    in_all: LimitInAll
    everyone: PersonLimits
    persons: tuple[PersonLimits, ...]


class LimitService:
    """Acts as the backend: limits are the operator's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def show(self) -> LimitsShown:
        """Return all limits that are set, and what is under way."""
        async with self._database.transaction() as conn:
            in_all = await rows.fetch_limit_in_all(conn)
            found = await rows.list_limits(conn)
        everyone = next((row for row in found if row.user_id is None), _NO_LIMITS)
        return LimitsShown(in_all, everyone, tuple(r for r in found if r.user_id is not None))

    async def set_in_all(self, limit: int | Word) -> None:
        """Set how many runs of all people together may be under way."""
        _refuse_default(limit, "all runs together")
        async with self._database.transaction() as conn:
            await rows.set_limit_in_all(conn, limit if isinstance(limit, int) else None)

    async def set_everyone(self, changes: LimitChanges) -> None:
        """Set the limits of each person who has none of their own."""
        given = changes.given()
        for value in given.values():
            _refuse_default(value, "everybody")
        values = {name: None if isinstance(value, Word) else value for name, value in given.items()}
        async with self._database.transaction() as conn:
            await rows.set_limits(conn, None, values)

    async def set_person(self, user_id: UserId, changes: LimitChanges) -> None:
        """Set a person's own limits."""
        given = changes.given()
        values = {name: None if isinstance(value, Word) else value for name, value in given.items()}
        unlimited = [name for name, value in given.items() if value is Word.NONE]
        async with self._database.transaction() as conn:
            await rows.set_limits(conn, user_id, values, unlimited=unlimited)


def parse_changes(
    concurrency: str | None, day_tokens: str | None, day_cost: str | None
) -> LimitChanges:
    """Read limits as they are written on a command line; raises InvalidInputError."""
    changes = LimitChanges(
        None if concurrency is None else _count(concurrency, "concurrency", _LARGEST_CONCURRENCY),
        None if day_tokens is None else _count(day_tokens, "day-tokens", _LARGEST),
        None if day_cost is None else _money(day_cost, "day-cost"),
    )
    if all(getattr(changes, field.name) is None for field in fields(changes)):
        raise InvalidInputError("Say what to set: --concurrency, --day-tokens or --day-cost.")
    return changes


def _word(text: str) -> Word | None:
    return Word(text) if text in set(Word) else None


def _count(text: str, option: str, largest: int) -> int | Word:
    if (word := _word(text)) is not None:
        return word
    digits = text.replace("_", "")
    if digits.isascii() and digits.isdigit() and 1 <= int(digits[:20]) <= largest:
        return int(digits)
    raise InvalidInputError(
        f"--{option} is a whole number from 1 to {largest}, none or default; not {text[:60]!r}.",
        field=option,
    )


def _money(text: str, option: str) -> Decimal | Word:
    if (word := _word(text)) is not None:
        return word
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or not 0 < amount <= _LARGEST:
        raise InvalidInputError(
            f"--{option} is an amount of US dollars above 0, none or default; not {text[:60]!r}.",
            field=option,
        )
    return amount


def _refuse_default(value: int | Decimal | Word, whose: str) -> None:
    if value is Word.DEFAULT:
        raise InvalidInputError(
            f"'default' is what everybody has, and can be set for one person only; for {whose} "
            "write 'none' to take the limit away."
        )


_NO_LIMITS: Final = PersonLimits(None, None, None, None, None, (), 0)
