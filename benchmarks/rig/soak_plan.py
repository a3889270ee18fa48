"""What is done to whom, and when: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

SCHEDULERS: Final = ("scheduler-1", "scheduler-2")
WORKERS: Final = ("worker-1", "worker-2", "worker-3")
PROCESSES: Final = (*SCHEDULERS, *WORKERS)

Kind = Literal["kill", "end", "stall", "kill all workers", "kill server", "cut", "block"]

_ODDS: Final[Sequence[tuple[float, Kind, Sequence[str]]]] = (
    (4, "kill", WORKERS),
    (2, "kill", SCHEDULERS),
    (2, "end", WORKERS),
    (1, "end", SCHEDULERS),
    (3, "stall", WORKERS),
    (1, "stall", SCHEDULERS),
    (1, "kill all workers", ()),
    (2, "kill server", ()),
    (2, "cut", ()),
    (2, "block", ()),
)
_EACH_ONCE: Final = (0, 4, 7, 8, 9)
"""What happens in every soak, however short: a kill, a stall, a dead server, cuts, a block."""

_GAP: Final = (3.0, 7.0)  # a process that starts costs some five seconds of CPU
_STALLED: Final = (12.0, 18.0)  # a lease is ten seconds
_DOWN: Final = (0.1, 3.0)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One thing that is done, `at` seconds after the beginning.

    `lasts` is how long a process stays stopped, or the dead are left dead, in seconds.
    """

    at: float
    kind: Kind
    target: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".strip() + f" (for {self.lasts:.1f} s)"


def plan(seed: int, seconds: float) -> tuple[Disturbance, ...]:
    """Return all that is done within some seconds, in order."""
    chance = random.Random(seed)
    first = [_ODDS[number] for number in _EACH_ONCE]
    chance.shuffle(first)
    weights = [weight for weight, _, _ in _ODDS]
    planned: list[Disturbance] = []
    at = chance.uniform(*_GAP)
    while at < seconds:
        _, kind, targets = first.pop() if first else chance.choices(_ODDS, weights)[0]
        target = chance.choice(targets) if targets else ""
        lasts = chance.uniform(*(_STALLED if kind == "stall" else _DOWN))
        planned.append(Disturbance(at, kind, target, lasts))
        at += chance.uniform(*_GAP)
    return tuple(planned)
