"""Shows the fire times of a schedule's rule before it is stored: `rota schedules preview`.

It needs no database. It knows the days off in the draft, but not the days of calendars.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rota.domain.schedules.clock_notes import clock_notes
from rota.domain.schedules.drafts import Draft
from rota.domain.schedules.forecast import UpcomingFire, check_that_it_runs, upcoming_fires
from rota.domain.schedules.timing import Timing


@dataclass(frozen=True, slots=True)
class Preview:
    """A rule in words, its next fire times, and the effect of daylight saving time on them."""

    timing: Timing
    in_words: str
    fires: tuple[UpcomingFire, ...]
    clock_notes: tuple[str, ...]


def preview(draft: Draft, time_zone: str, *, runs: int, now: datetime) -> Preview:
    """Read a draft in a zone; its fires go up to the last of `runs` that will run.

    Raises InvalidInputError, for a rule that never runs too: no schedule may have it.
    """
    timing = draft.timing(time_zone, now=now).anchored(now)
    check_that_it_runs(timing, now=now)
    return Preview(
        timing,
        timing.rule().in_words(),
        upcoming_fires(timing, after=now, runs=runs),
        clock_notes(timing, now),
    )
