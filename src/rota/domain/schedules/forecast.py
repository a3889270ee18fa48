"""Which fire times lie ahead of a schedule, and which of them will not run, and why.

For whoever looks ahead: what is added, shown or previewed, and the calendar. It knows days off and
active time, which are fixed; what overlap or a pause will do then, nobody knows yet. What becomes
of a fire that is due is in `firing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from rota.domain.schedules.firing import WALK_LIMIT
from rota.domain.schedules.timing import NamedDay, Timing


@dataclass(frozen=True, slots=True)
class UpcomingFire:
    """A fire time (UTC) that lies ahead; `suppressed` says why it will not run, None: it will."""

    fire_time: datetime
    suppressed: str | None


def upcoming_fires(
    timing: Timing,
    days_off: Sequence[NamedDay] = (),
    *,
    after: datetime,
    until: datetime | None = None,
    runs: int | None = None,
    looks: int = WALK_LIMIT,
) -> tuple[UpcomingFire, ...]:
    """Return the fire times in (after, until], earliest first; raises InvalidInputError.

    Up to the last of `runs` fires that will run, and of `looks` fire times at most.
    """
    if runs == 0:
        return ()
    allowed = timing.filter(days_off)
    found: list[UpcomingFire] = []
    for fire_time in islice(timing.rule().fires_after(after), looks):
        if until is not None and fire_time > until:
            break
        fire = UpcomingFire(fire_time, allowed.objection(fire_time))
        found.append(fire)
        if fire.suppressed is None and runs is not None:
            runs -= 1
            if not runs:
                break
    return tuple(found)
