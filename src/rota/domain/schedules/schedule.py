"""A schedule as its row has it, and its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from rota.domain.errors import InvalidInputError
from rota.domain.ids import ScheduleId, UserId
from rota.domain.notifications.notification import Category
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.timing import Timing


class CatchUp(StrEnum):
    """Which of the missed fire times within the catch-up window run late."""

    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a schedule behaves when runs overlap, fires are missed, or runs fail.

    `max_runs` counts runs that the schedule started; `pause_after_failures` counts results with
    status `error` in a row. None: no limit.
    """

    overlap: OverlapPolicy = OverlapPolicy.SKIP
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: timedelta = timedelta(hours=1)
    max_runs: int | None = None
    pause_after_failures: int | None = None

    def check(self) -> None:
        """Raise InvalidInputError, naming the field, for a number that makes no sense."""
        if self.catch_up_window < timedelta(0) or self.catch_up_window > timedelta(days=366):
            raise InvalidInputError(
                "The catch-up window must be between 0 and a year.", field="catch_up_window"
            )
        for name, value in (
            ("max_runs", self.max_runs),
            ("pause_after_failures", self.pause_after_failures),
        ):
            if value is not None and not 1 <= value < 2**31:
                raise InvalidInputError(f"{name} is 1 or more, not {value}.", field=name)


State: TypeAlias = Literal["active", "paused", "completed"]
"""Completed: it has no fire time left."""


@dataclass(frozen=True, slots=True)
class WhichSchedules:
    """Which of a person's schedules: of an agent, in a state, whose names begin so. None: any."""

    agent_name: str | None = None
    state: State | None = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleContent:
    """What a person decides of a schedule: all that adding, editing or a file writes into its row.

    `time_zone` is its own IANA zone, None for its owner's. `timing` is in the zone that applies.
    `options` are RunOptions as JSON.
    """

    name: str
    agent_name: str
    prompt: str | None
    time_zone: str | None
    timing: Timing
    policy: Policy
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """One row of `agent_schedules`, with the time zone that applies: its own or its owner's.

    `next_fire_time` is the next fire time. `next_fire_at` is when a scheduler handles it, later by
    the jitter. `plan_from` is when its rule was set last. `revision` grows with every change that a
    person makes. `paused_by_rota`: rota paused it, and no person did.

    >>> schedule = await app.schedules.get(me, "each-morning")
    >>> schedule.agent_name, schedule.state, schedule.timing.time_zone
    ('clerk', 'active', 'UTC')
    """

    id: ScheduleId
    user_id: UserId
    name: str
    agent_name: str
    prompt: str | None
    timing: Timing
    policy: Policy
    follows_owner_zone: bool
    result_category: Category
    is_active: bool
    pause_note: str | None
    next_fire_at: datetime | None
    next_fire_time: datetime | None
    plan_from: datetime
    paused_at: datetime | None
    completed_at: datetime | None
    runs_started: int
    failures_in_row: int
    revision: int
    created_at: datetime
    uses_calendars: bool = False
    paused_by_rota: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # domain/runs/options, as JSON

    @property
    def content(self) -> ScheduleContent:
        """Return what its owner says of it."""
        return ScheduleContent(
            name=self.name,
            agent_name=self.agent_name,
            prompt=self.prompt,
            time_zone=None if self.follows_owner_zone else self.timing.time_zone,
            timing=self.timing,
            policy=self.policy,
            options=self.options,
        )

    @property
    def runs_left(self) -> int | None:
        """Return how many runs it may still start; None: any number."""
        limit = self.policy.max_runs
        return None if limit is None else max(0, limit - self.runs_started)

    @property
    def state(self) -> State:
        """Return "paused", "completed" (it has no fire left) or "active"."""
        if not self.is_active:
            return "paused"
        return "completed" if self.completed_at is not None else "active"
