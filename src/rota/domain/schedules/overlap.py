"""Names of overlap policies, and of their decisions while earlier runs are unfinished.

The rule itself is the SQL function `rota.judge_overlap`. So schedulers and "run now" decide by the
same rule, under the lock of the schedule's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class OverlapPolicy(StrEnum):
    """The overlap policies of Temporal, under the field's usual names.

    A run is unfinished while it is waiting, queued, running or suspended.
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
    """What an overlap policy decides on a fire time."""

    RUN = "run"
    """A run is written; it starts as soon as no serial run of the schedule is before it."""
    CANCEL_AND_RUN = "cancel_and_run"
    """The unfinished runs are asked to stop, and a run is written."""
    SKIP = "skip"
    """No run is written."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A policy's decision on a fire time, and the unfinished runs on which it is based.

    `since` is the fire time, or the start, of the first of these runs. `parked`: one is suspended.
    """

    decision: OverlapDecision = OverlapDecision.RUN
    since: datetime | None = None
    parked: bool = False
