"""How long rows are kept, and the result of a pruning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rota.domain.errors import InvalidInputError

FOREVER: Final = "forever"

LONGEST: Final = 36_500
"""Days, a hundred years; what is to be kept for longer is kept for ever."""


class Period(StrEnum):
    """Periods of retention that can be set separately; the value is the policy's field."""

    JOURNAL = "journal_days"
    RUN = "run_days"
    NOTIFICATION = "notification_days"
    HISTORY = "history_days"
    QUEUE_LOG = "queue_log_days"
    AUDIT = "audit_days"


class Kind(StrEnum):
    """Kinds of pruned rows, in order of pruning: a run after its journal and notifications."""

    JOURNALS = "journals"
    NOTIFICATIONS = "notifications"
    SCHEDULE_CHANGES = "schedule_changes"
    INCIDENTS = "incidents"
    RUNS = "runs"
    OCCURRENCES = "occurrences"
    QUEUE_LOG = "queue_log"
    AUDIT = "audit"


PERIODS: Final[Mapping[Kind, Period]] = {
    Kind.JOURNALS: Period.JOURNAL,
    Kind.NOTIFICATIONS: Period.NOTIFICATION,
    Kind.SCHEDULE_CHANGES: Period.HISTORY,
    Kind.INCIDENTS: Period.HISTORY,
    Kind.RUNS: Period.RUN,
    Kind.OCCURRENCES: Period.RUN,
    Kind.QUEUE_LOG: Period.QUEUE_LOG,
    Kind.AUDIT: Period.AUDIT,
}


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days that each kind of row is kept after its end. None: for ever."""

    journal_days: int | None
    run_days: int | None
    notification_days: int | None
    history_days: int | None
    queue_log_days: int | None
    audit_days: int | None

    def changed(self, days: Mapping[Period, int | None]) -> RetentionPolicy:
        """Return the policy with other days; raises InvalidInputError for one that cannot be."""
        for period, number in days.items():
            if number is not None and not 1 <= number <= LONGEST:
                raise InvalidInputError(
                    f"{period} is 1 to {LONGEST} days, or {FOREVER}, not {number}.", field=period
                )
        made = replace(self, **{period.value: number for period, number in days.items()})
        if made.run_days is not None and (
            made.journal_days is None or made.journal_days > made.run_days
        ):
            raise InvalidInputError(
                f"A journal cannot outlive its run: journals {in_words(made.journal_days)}, "
                f"runs {in_words(made.run_days)}. Keep journals for {in_words(made.run_days)} or "
                "less, or runs for as long as journals.",
                field=Period.JOURNAL if Period.JOURNAL in days else Period.RUN,
            )
        return made

    def before(self, kind: Kind, now: datetime) -> datetime | None:
        """Return the instant before which this kind is pruned; None: never."""
        days: int | None = getattr(self, PERIODS[kind])
        return None if days is None else now - timedelta(days=days)


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows that a pruning deleted, or would delete.

    `audit_refused` are chains of the audit log that are not in order. They keep all their entries.
    """

    steps: int = 0
    runs: int = 0
    results: int = 0
    occurrences: int = 0
    notifications: int = 0
    schedule_changes: int = 0
    incidents: int = 0
    queue_log: int = 0
    audit: int = 0
    audit_refused: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Pruned)}
        )


def parse_days(text: str, period: Period) -> int | None:
    """Read a number of days, or `forever`; raises InvalidInputError."""
    written = text.strip().lower()
    if written == FOREVER:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", written):
        raise InvalidInputError(
            f"{period} is a number of days, or {FOREVER}, not {text!r}.", field=period
        )
    return int(written)


def in_words(days: int | None) -> str:
    """Return `forever`, `1 day` or `30 days`."""
    return FOREVER if days is None else f"{days} day{'' if days == 1 else 's'}"
