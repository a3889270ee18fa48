"""How things stand for a person, at a glance: what `rota status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from rota.domain.operations.processes import Process
from rota.domain.schedules.pauses import Pause


@dataclass(frozen=True, slots=True)
class Today:
    """What became of a person's runs and fires since midnight of their zone.

    `failed` counts results with status `error`, `cancelled` those of runs that somebody stopped.
    """

    succeeded: int
    partial: int
    failed: int
    cancelled: int
    skipped_fires: int
    missed_fires: int
    tokens: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits: runs by their status, calls for a yes or a word, and what nobody has read.

    `calls_to_settle` have an unknown outcome. `next_expiry` is when the first call expires.
    """

    runs_running: int
    runs_queued: int
    runs_waiting: int
    runs_parked: int
    calls_to_decide: int
    calls_to_settle: int
    next_expiry: datetime | None
    unread_notifications: int


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run of today that failed."""

    run_id: UUID
    schedule: str | None
    agent: str
    ended_at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class ComingFire:
    """A fire that will run: its time, jitter included where it is the next one."""

    schedule: str
    agent: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PausedSchedule:
    """A schedule that is paused by itself, and why."""

    schedule: str
    note: str


@dataclass(frozen=True, slots=True)
class Status:
    """How things stand at `now`; `failures` are the latest of today.

    `next_fires` are those of the schedules that fire next, one of each.
    """

    now: datetime
    time_zone: str
    since: datetime
    processes: tuple[Process, ...]
    pause: Pause | None
    today: Today
    failures: tuple[FailedRun, ...]
    waiting: Waiting
    paused_schedules: tuple[PausedSchedule, ...]
    overdue: tuple[str, ...]
    next_fires: tuple[ComingFire, ...]

    @property
    def is_scheduler_alive(self) -> bool:
        """Whether somebody fires schedules."""
        return any(process.kind == "scheduler" for process in self.processes)

    @property
    def is_worker_alive(self) -> bool:
        """Whether somebody executes runs."""
        return any(process.kind == "worker" for process in self.processes)
