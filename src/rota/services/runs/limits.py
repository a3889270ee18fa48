"""Limits that the operator sets: runs at a time, usage in a day, and quotas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.runs.limits import (
    LimitInAll,
    LimitName,
    OwnLimits,
    PersonLimits,
    QuotaName,
    Quotas,
)
from rota.domain.runs.option_kinds import Count, Dollars
from rota.domain.text.shortening import quoted
from rota.store.database import Connection, Database
from rota.store.runs import limits as rows

LARGEST_CONCURRENCY: Final = 1_000_000
LARGEST_TOKENS: Final = 10**12
LARGEST_QUOTA: Final = 10**9

QUOTA_OPTIONS: Final[Mapping[QuotaName, str]] = {
    "max_schedules": "schedules",
    "min_interval_seconds": "shortest-interval",
    "max_waiting_runs": "waiting-runs",
    "max_rules": "rules",
    "max_rule_bytes": "rule-bytes",
    "max_notifications": "notifications",
}
"""Quotas, and the options of the command line that set them."""


class LimitKeyword(StrEnum):
    """Words in place of a number for a limit: no limit, or the limit of everybody."""

    NONE = "none"
    DEFAULT = "default"


LimitValue: TypeAlias = int | Decimal | LimitKeyword
LimitChanges: TypeAlias = Mapping[LimitName, LimitValue]
"""Limits to set; those that are not named stay."""


@dataclass(frozen=True, slots=True)
class LimitsShown:
    """All limits that are set: for all runs together, for everybody, and for single persons.

    `quotas` hold for each person without a quota of their own; defaults are included.
    """

    in_all: LimitInAll
    everyone: PersonLimits
    persons: tuple[PersonLimits, ...]
    quotas: Quotas


Check: TypeAlias = Callable[[LimitsShown], None]
"""Looks at all limits before some are set, and raises where they must not be."""


class LimitService:
    """Acts as the backend, because only the operator sets limits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def own(self, user_id: UserId) -> OwnLimits:
        """Return the limits that hold for a person, as the person."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.fetch_own_limits(conn)

    async def show(self) -> LimitsShown:
        """Return all limits that are set, and what is under way."""
        async with self._database.transaction() as conn:
            return await _show(conn)

    async def set_in_all(self, limit: LimitValue, *, check: Check | None = None) -> None:
        """Set how many runs of all people together may be under way.

        `check` is given all limits as they are, and may raise; nobody changes them meanwhile.
        """
        _refuse_default(limit, "all runs together")
        async with self._database.transaction() as conn:
            await _check(conn, check)
            await rows.set_limit_in_all(conn, limit if isinstance(limit, int) else None)

    async def set_for(
        self, user_id: UserId | None, changes: LimitChanges, *, check: Check | None = None
    ) -> None:
        """Set a person's own limits; with None those of each person who has none of their own.

        Everybody's limits are none where nobody set them; their quotas are what rota has. `check`
        as in `set_in_all`.
        """
        unlimited = [name for name, value in changes.items() if value is LimitKeyword.NONE]
        if user_id is None:
            for name, value in changes.items():
                if name not in QUOTA_OPTIONS:
                    _refuse_default(value, "everybody")
            unlimited = [name for name in unlimited if name in QUOTA_OPTIONS]
        values = {n: None if isinstance(v, LimitKeyword) else v for n, v in changes.items()}
        async with self._database.transaction() as conn:
            await _check(conn, check)
            await rows.set_limits(conn, user_id, values, unlimited=unlimited)


async def _show(conn: Connection) -> LimitsShown:
    in_all = await rows.fetch_limit_in_all(conn)
    found = await rows.list_limits(conn)
    quotas = await rows.fetch_quotas(conn, None)
    everyone = next((row for row in found if row.user_id is None), _NO_LIMITS)
    persons = tuple(row for row in found if row.user_id is not None)
    return LimitsShown(in_all, everyone, persons, quotas)


async def _check(conn: Connection, check: Check | None) -> None:
    if check is not None:
        await rows.lock_limits(conn)
        check(await _show(conn))


def parse_changes(
    concurrency: str | None,
    day_tokens: str | None,
    day_cost: str | None,
    quotas: Mapping[QuotaName, str | None],
) -> LimitChanges:
    """Read limits as they are written on a command line; raises InvalidInputError."""
    changes: dict[LimitName, LimitValue] = {}
    if concurrency is not None:
        changes["max_concurrency"] = _count(concurrency, "concurrency", LARGEST_CONCURRENCY)
    if day_tokens is not None:
        changes["day_tokens"] = _count(day_tokens, "day-tokens", LARGEST_TOKENS)
    if day_cost is not None:
        changes["day_cost_usd"] = _money(day_cost, "day-cost")
    for name, text in quotas.items():
        if text is not None:
            changes[name] = _count(text, QUOTA_OPTIONS[name], LARGEST_QUOTA)
    if not changes:
        options = ", ".join(f"--{option}" for option in QUOTA_OPTIONS.values())
        raise InvalidInputError(
            f"Name what to set: --concurrency, --day-tokens, --day-cost, {options}."
        )
    return changes


def _count(text: str, option: str, largest: int) -> int | LimitKeyword:
    if text in set(LimitKeyword):
        return LimitKeyword(text)
    counts = Count(most=largest)
    try:
        return counts.parse(counts.read(text.replace("_", ""), option), option)
    except InvalidInputError:
        raise InvalidInputError(
            f"`--{option}` is a whole number from 1 to {largest} (200k and 1.5M are such numbers), "
            f"none or default; not {quoted(text)}.",
            field=option,
        ) from None


def _money(text: str, option: str) -> Decimal | LimitKeyword:
    if text in set(LimitKeyword):
        return LimitKeyword(text)
    try:
        return Dollars().parse(Dollars().read(text, option), option)
    except InvalidInputError:
        raise InvalidInputError(
            f"--{option} is an amount of US dollars above 0, none or default; not {quoted(text)}.",
            field=option,
        ) from None


def _refuse_default(value: LimitValue, whose: str) -> None:
    if value is LimitKeyword.DEFAULT:
        raise InvalidInputError(
            f"'default' is what everybody has, and can be set for one person only; for {whose} "
            "write 'none' to take the limit away."
        )


_NO_LIMITS: Final = PersonLimits(
    None, None, None, None, None, (), 0, Quotas(None, None, None, None, None, None)
)
