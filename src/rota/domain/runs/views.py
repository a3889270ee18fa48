"""Runs, results and usage for people to look at, each from one row of the database.

The store makes these values, services return them, and faces (command line, API, web) show them. A
worker uses `Run` instead, and the calls of a run are `Step`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from rota.domain.ids import ResultId, RunId, ScheduleId
from rota.domain.notifications.notification import Category
from rota.domain.runs.run import Outcome, ResultStatus, RunStatus, Trigger

RunKey: TypeAlias = tuple[datetime, datetime, UUID]
"""Where a run stands in lists: `created_at`, `fire_time` or NO_FIRE_TIME, and its id."""

ResultKey: TypeAlias = tuple[datetime, UUID]
"""Where a result stands in lists: `created_at` and its id."""

NO_FIRE_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Result:
    """One row of `agent_execution_results`, with its run's session, attempt and trigger.

    >>> (result,) = await app.results.latest(me, agent_name="clerk")
    >>> result.status.value, result.result_content, result.pending_actions_created
    ('success', 'I asked for a note.', 1)
    """

    id: UUID
    user_id: UUID
    schedule_id: UUID | None
    run_id: UUID
    agent_name: str
    prompt: str
    result_content: str
    status: ResultStatus
    pending_actions_created: int
    execution_duration_ms: int
    metadata: Mapping[str, Any]
    created_at: datetime
    session_id: str
    attempt: int
    trigger: Trigger
    fire_time: datetime | None
    schedule_name: str | None
    result_category: Category

    @property
    def key(self) -> ResultKey:
        """Where it stands in lists."""
        return self.created_at, self.id

    @property
    def outcome(self) -> Outcome:
        """The outcome that was stored as this result."""
        return Outcome(
            run_id=RunId(self.run_id),
            result_id=ResultId(self.id),
            session_id=self.session_id,
            agent_name=self.agent_name,
            status=self.status,
            content=self.result_content,
            pending_actions_created=self.pending_actions_created,
            duration_ms=self.execution_duration_ms,
            metadata=self.metadata,
        )


@dataclass(frozen=True, slots=True)
class WholeResult:
    """A result with its full text and its calls.

    `text` is the full content if the stored one was cut; None if it was not cut, or is not kept.
    `calls` are the tools that the run called, in order, and how often. It is empty once they are
    pruned.
    """

    result: Result
    text: str | None
    calls: tuple[tuple[str, int], ...]

    @property
    def content(self) -> str:
        """As much of the answer as there is."""
        return self.result.result_content if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class RunView:
    """One row of `agent_runs`, to be shown. Times are aware and in UTC.

    `options` are this run's own. `model` and `limits` are those that its first attempt began with,
    None before. `metadata` is its result's, `error` the beginning of why it failed. In a list
    `prompt` is the beginning of a long one, and `metadata` is without what a dry run would do.

    >>> run, steps = await app.runs.get(me, None)
    >>> run.agent_name, run.status.value
    ('clerk', 'finished')
    """

    id: UUID
    schedule_id: UUID | None
    schedule_name: str | None
    agent_name: str
    prompt: str
    trigger: Trigger
    status: RunStatus
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
    result_status: ResultStatus | None
    not_before: datetime | None
    retry_of: UUID | None
    options: Mapping[str, Any] | None
    model: str | None
    limits: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None
    error: str | None

    @property
    def key(self) -> RunKey:
        """Where it stands in lists."""
        return self.created_at, self.fire_time or NO_FIRE_TIME, self.id

    @property
    def is_dry(self) -> bool:
        """Whether it only shows what it would do."""
        return bool((self.options or {}).get("dry_run"))


@dataclass(frozen=True, slots=True)
class RunUse:
    """What a run has used so far: by its calls as far as they are kept, else by its result.

    `cost_usd` is None where the price of a call is not known.
    """

    model_calls: int
    failed_model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt of a run, by the calls that it made. Times are None where it made none.

    `cost_usd` is None where the price of a call is not known.
    """

    attempt: int
    first_call_at: datetime | None
    last_call_at: datetime | None
    model_calls: int
    failed_model_calls: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are listed; None: whatever they are. `before` and `since` bound `created_at`."""

    agent_name: str | None = None
    schedule_id: ScheduleId | None = None
    status: RunStatus | None = None
    result_status: ResultStatus | None = None
    trigger: Trigger | None = None
    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results are listed; None: whatever they are. `since` bounds `created_at`.

    `words`: only answers with all of these words, or with words that begin so.
    """

    agent_name: str | None = None
    schedule_id: ScheduleId | None = None
    status: ResultStatus | None = None
    since: datetime | None = None
    words: str | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands, and its result once it has one.

    `cancel_reason` says something only of a run that was cancelled.
    """

    run_id: RunId
    status: RunStatus
    cancel_reason: str
    result: Result | None


@dataclass(frozen=True, slots=True)
class UsageView:
    """The use in one day: of all runs (`schedule_id` None), or of the runs of one schedule.

    `schedule_name` is also None if the schedule was removed. `day_limits` are the schedule's, as
    JSON. `cost_usd` does not include calls whose price is not known. `unpriced_calls`
    counts those calls, as far as their journal is still kept.
    """

    day: date
    schedule_id: UUID | None
    schedule_name: str | None
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    unpriced_calls: int
    day_limits: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class AgentUsage:
    """The use of one agent's runs that ended in one day, as their results say.

    `cost_usd` does not include runs of an unknown price; `unpriced_runs` counts them.
    """

    day: date
    agent_name: str
    runs: int
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    unpriced_runs: int
