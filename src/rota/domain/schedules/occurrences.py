"""Occurrences of a schedule, and its last run, as people look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from rota.domain.ids import ScheduleId

Outcome: TypeAlias = Literal["fired", "skipped", "missed", "suppressed"]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """The outcome of a fire time, or of a range of fire times without a run."""

    fire_time: datetime
    last_fire_time: datetime | None
    fire_count: int | None
    outcome: Outcome
    reason: str
    run_id: UUID | None
    result_status: str | None
    run_status: str | None
    run_started_at: datetime | None
    cancel_reason: str | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The latest finished run of a schedule: the status of its result, or "cancelled"."""

    schedule_id: ScheduleId
    run_id: UUID
    finished_at: datetime | None
    outcome: str | None
