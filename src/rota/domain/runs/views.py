"""Runs, results, journals and usage as people look at them: one row of the database each.

The store makes them, services return them, and faces (command line, API, web) show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Result:
    """One row of `agent_execution_results`, with its run's session, attempt and trigger."""

    id: UUID
    user_id: UUID
    schedule_id: UUID | None
    run_id: UUID
    agent_name: str
    prompt: str
    result_content: str
    status: str
    pending_actions_created: int
    execution_duration_ms: int
    metadata: Mapping[str, Any]
    created_at: datetime
    session_id: str
    attempt: int
    trigger: str
    fire_time: datetime | None
    schedule_name: str | None
    result_category: str


@dataclass(frozen=True, slots=True)
class RunView:
    """One row of `agent_runs`, to be shown. Times are aware and in UTC.

    `options` are this run's own. `model` and `limits` are those that its first attempt began with,
    None before. `metadata` is its result's.
    """

    id: UUID
    schedule_id: UUID | None
    schedule_name: str | None
    agent_name: str
    prompt: str
    trigger: str
    status: str
    priority: int
    attempt: int
    fire_time: datetime | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    journal_pruned_at: datetime | None
    result_status: str | None
    not_before: datetime | None
    retry_of: UUID | None
    options: Mapping[str, Any] | None
    model: str | None
    limits: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class UsageView:
    """What was used on a day: in all (`schedule_id` None), or by the runs of one schedule.

    `schedule_name` is None as well where the schedule is gone. `day_limits` are the schedule's, as
    JSON. What calls cost whose price nobody knows is not in `cost_usd`.
    """

    day: date
    schedule_id: UUID | None
    schedule_name: str | None
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    day_limits: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class StepRow:
    """One row of `agent_run_steps`, without its run. `cost_usd` None: no price is known."""

    model_step: int
    call_index: int
    kind: str
    name: str
    status: str
    tool_call_id: str | None
    request: Mapping[str, Any]
    response: Any
    usage: Mapping[str, Any] | None
    cost_usd: Decimal | None
    attempts: Sequence[Mapping[str, Any]] | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None
