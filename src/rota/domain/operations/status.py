"""A person's day at a glance, as `rota status` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from rota.domain.operations.processes import Process
from rota.domain.schedules.pauses import Pause


@dataclass(frozen=True, slots=True)
class Today:
    """Counts of a person's runs and fire times since midnight in their zone.

    `failed` counts results with status `error`, `cancelled` the runs that somebody stopped.
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
    """What waits: runs by their status, calls to approve or to settle, and unread notifications.

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
    """A fire time that will start a run. The next one of a schedule includes the jitter."""

    schedule: str
    agent: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PausedSchedule:
    """A schedule with a pause of its own, and the reason."""

    schedule: str
    note: str


@dataclass(frozen=True, slots=True)
class Status:
    """The state at `now`. `failures` are the latest of today.

    `next_fires` are the nearest fire times, at most one for each schedule.
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


@dataclass(frozen=True, slots=True)
class Queue:
    """Runs of everybody that are not over, by their status.

    `lag`: seconds that the oldest run that may begin has waited, None where none does.
    """

    waiting: int
    queued: int
    running: int
    suspended: int
    lag: float | None


@dataclass(frozen=True, slots=True)
class System:
    """How rota itself is at `now`.

    `is_writable`: the database takes writes. `scheduler_silent_for`: seconds since a scheduler
    looked at the clock, None if none was there for a day. `overdue_fires` are those of everybody
    that are overdue by a minute or more, 1,000 at most. They and `queue` are for operators.
    """

    now: datetime
    version: str
    is_writable: bool
    is_scheduler_alive: bool
    is_worker_alive: bool
    scheduler_silent_for: float | None
    processes: tuple[Process, ...]
    overdue_fires: int | None
    queue: Queue | None
