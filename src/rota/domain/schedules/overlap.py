"""What a fire does while an earlier run of its schedule is under way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never


class OverlapPolicy(StrEnum):
    """Temporal's meanings, by the names that the field uses."""

    SKIP = "skip"
    """The fire is skipped."""
    BUFFER_ONE = "buffer_one"
    """One run waits until the earlier one has ended; further fires are skipped."""
    BUFFER_ALL = "buffer_all"
    """Every run waits for its turn."""
    CANCEL_OTHER = "cancel_other"
    """The earlier run is cancelled, its partial result kept; the new one starts when it ended."""
    ALLOW_ALL = "allow_all"
    """Runs go side by side."""


class Start(StrEnum):
    """What becomes of a fire."""

    RUN = "run"
    """A run is written; it starts as soon as no serial run of the schedule is before it."""
    CANCEL_AND_RUN = "cancel_and_run"
    """The unfinished runs are asked to stop, and a run is written."""
    SKIP = "skip"
    """No run is written."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The unfinished runs of a schedule; `since` is the fire time, or the start, of the first."""

    count: int = 0
    since: datetime | None = None

    def plus_one(self, since: datetime) -> UnderWay:
        """Count a run that has just been written."""
        return UnderWay(self.count + 1, self.since or since)


def start_of(policy: OverlapPolicy, under_way: UnderWay) -> Start:
    """Decide what a fire does, given the unfinished runs of its schedule."""
    match policy:
        case OverlapPolicy.ALLOW_ALL | OverlapPolicy.BUFFER_ALL:
            return Start.RUN
        case OverlapPolicy.SKIP:
            return Start.SKIP if under_way.count else Start.RUN
        case OverlapPolicy.BUFFER_ONE:
            return Start.SKIP if under_way.count > 1 else Start.RUN
        case OverlapPolicy.CANCEL_OTHER:
            return Start.CANCEL_AND_RUN if under_way.count else Start.RUN
        case _:
            assert_never(policy)
