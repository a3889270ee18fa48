"""The fair order of the queue, as one number: a job's priority, greater first.

Class comes before turn: what a person asks for now, then what is scheduled, then backfills. Within
a class it is everybody's first run before anybody's second (`admit_runs.sql` has the turns).
"""

from __future__ import annotations

from typing import Final

BEGUN: Final = 2_100_000_000
"""Priority of a run that has begun already and was handed over: before all that have not."""

REBASE_ABOVE: Final = 500_000_000
"""Turns past which they are begun anew: a priority is a 32-bit integer."""

_CLASS: Final = 1_000_000_000


def job_priority(priority: int, turn: int | None) -> int:
    """Return the priority of a run's job in the queue.

    `priority` is the run's: above 0 for "run now", 0 for what is scheduled, below 0 for backfills.
    `turn` counts up from 0; None for a run that has begun already.
    """
    if turn is None:
        return BEGUN
    kind = (priority > 0) - (priority < 0)
    return (kind + 1) * _CLASS - min(max(turn, 0), _CLASS - 1)
