"""Overlap policies, and what they make of a fire while earlier runs of its schedule are unfinished.

The rule itself is the SQL function `rota.judge_overlap`, so that schedulers and "run now" judge
alike, under the lock of the schedule's row. Here are its names only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class OverlapPolicy(StrEnum):
    """Temporal's meanings, by the names that the field uses.

    A run is unfinished while it waits, is queued, runs, or is parked until its owner has decided.
    """

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


class OverlapDecision(StrEnum):
    """What becomes of a fire."""

    RUN = "run"
    """A run is written; it starts as soon as no serial run of the schedule is before it."""
    CANCEL_AND_RUN = "cancel_and_run"
    """The unfinished runs are asked to stop, and a run is written."""
    SKIP = "skip"
    """No run is written."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a policy makes of a fire, and the unfinished runs by which it was judged.

    `since` is the fire time, or the start, of the first of them; `parked`: one waits for its owner.
    """

    decision: OverlapDecision = OverlapDecision.RUN
    since: datetime | None = None
    parked: bool = False
