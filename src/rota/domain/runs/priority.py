"""Priorities of jobs in the queue, for fair queuing between people. A greater number comes first.

Admission and the queue use it. The class decides first: runs that a person asks for now, then
scheduled runs, then backfills. Within a class, the smaller start tag comes first. So the first run
of each person comes before the second run of any person (`admit_runs.sql` gives the tags).
"""

from __future__ import annotations

from typing import Final

BEGUN: Final = 2_100_000_000
"""Priority of a run that has begun already and was handed over: before all that have not."""

REBASE_ABOVE: Final = 500_000_000
"""Start tags past which they are begun anew: a priority is a 32-bit integer."""

_CLASS: Final = 1_000_000_000


def job_priority(priority: int, start_tag: int | None) -> int:
    """Return the priority of a run's job in the queue.

    `priority` is the run's: above 0 for "run now", 0 for what is scheduled, below 0 for backfills.
    `start_tag` counts up from 0; None for a run that has begun already.
    """
    if start_tag is None:
        return BEGUN
    kind = (priority > 0) - (priority < 0)
    return (kind + 1) * _CLASS - min(max(start_tag, 0), _CLASS - 1)
