"""Which fire times lie ahead of a schedule, and which of them will not run, and why.

For whoever looks ahead: what is added, shown or previewed, and the calendar. It knows days off and
active time, which are fixed, and pauses of everything; what overlap or a schedule's own pause will
do then, nobody knows yet. What becomes of a fire that is due is in `firing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rota.domain.schedules.firing import WALK_LIMIT
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.timing import NamedDay, Timing

_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class UpcomingFire:
    """A fire time (UTC) that lies ahead; `suppressed` says why it will not run, None: it will."""

    fire_time: datetime
    suppressed: str | None


def upcoming_fires(
    timing: Timing,
    days_off: Sequence[NamedDay] = (),
    pauses: Sequence[Pause] = (),
    *,
    after: datetime,
    until: datetime | None = None,
    runs: int | None = None,
    looks: int = WALK_LIMIT,
) -> tuple[UpcomingFire, ...]:
    """Return the fire times in (after, until], earliest first; raises InvalidInputError.

    Up to the last of `runs` fires that will run, and of `looks` fire times at most. Where `runs`
    are counted, of the fires in a pause of everything the first stands for all.
    """
    if runs == 0:
        return ()
    rule, allowed = timing.rule(), timing.filter(days_off, pauses)
    found: list[UpcomingFire] = []
    fire_times = rule.fires_after(after)
    for _ in range(looks):
        fire_time = next(fire_times, None)
        if fire_time is None or (until is not None and fire_time > until):
            break
        fire = UpcomingFire(fire_time, allowed.objection(fire_time))
        found.append(fire)
        if runs is None:
            continue
        if fire.suppressed is None:
            runs -= 1
            if not runs:
                break
        elif (pause := allowed.pause_at(fire_time)) is not None:
            if pause.ends_at is None:
                break
            fire_times = rule.fires_after(pause.ends_at - _TICK)
    return tuple(found)
