"""A run: its states, what triggered it, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from rota.domain.errors import RotaError
from rota.domain.ids import ActionId, FencingToken, ResultId, RunId, ScheduleId, UserId


class Trigger(StrEnum):
    """What started a run."""

    SCHEDULE = "schedule"
    CATCH_UP = "catch_up"
    MANUAL = "manual"
    BACKFILL = "backfill"
    RETRY = "retry"
    ACTION = "action"  # it executes an approved action, and nothing else


class RunStatus(StrEnum):
    """Where a run stands; `NEXT` holds the transitions.

    >>> await app.runs.all(me, status=rota.RunStatus.RUNNING, limit=10)
    ()
    """

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"
    FINISHED = "finished"
    CANCELLED = "cancelled"


NEXT: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.WAITING: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.QUEUED: frozenset({RunStatus.WAITING, RunStatus.RUNNING, RunStatus.CANCELLED}),
    # running → running is a new attempt: its worker died, or handed it over. A run that is
    # cancelled under way has what it did so far as its result.
    RunStatus.RUNNING: frozenset(
        {RunStatus.RUNNING, RunStatus.SUSPENDED, RunStatus.FINISHED, RunStatus.CANCELLED}
    ),
    # It holds no worker, and goes on once what it asked for is decided, or it is cancelled.
    RunStatus.SUSPENDED: frozenset({RunStatus.WAITING}),
    RunStatus.FINISHED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


OVER: Final = frozenset(status for status, following in NEXT.items() if not following)
"""Where a run stays for good."""


class ResultStatus(StrEnum):
    """`success`: the agent finished. `partial`: it stopped early and left something worth keeping.

    `error`: nothing usable; the content is the message.

    >>> await app.results.latest(me, status=rota.ResultStatus.ERROR)
    ()
    """

    SUCCESS = "success"
    PARTIAL = "partial"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `agent_runs`. Times are aware and in UTC."""

    id: RunId
    user_id: UserId
    schedule_id: ScheduleId | None
    fire_time: datetime | None
    agent_name: str
    prompt: str
    trigger: Trigger
    status: RunStatus
    session_id: str
    attempt: int
    fencing_token: FencingToken | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    is_serial: bool = False
    options: Mapping[str, Any] | None = None  # domain/runs/options, of this run alone
    retry_of: RunId | None = None
    action_id: ActionId | None = None  # the approved action that it executes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `ScheduledExecutionService.execute` returns: the stored result, as a value.

    `whole` is all of a content that was cut, None where it was not.
    """

    run_id: RunId
    result_id: ResultId
    session_id: str
    agent_name: str
    status: ResultStatus
    content: str
    pending_actions_created: int
    duration_ms: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    whole: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """SPEC-003's dictionary; `error` is the message, or None unless the status is `error`."""
        failed = self.status is ResultStatus.ERROR
        return {
            "success": not failed,
            "status": self.status.value,
            "content": self.content,
            "error": self.content if failed else None,
            "pending_actions_created": self.pending_actions_created,
            "execution_duration_ms": self.duration_ms,
            "run_id": str(self.run_id),
            "result_id": str(self.result_id),
            "session_id": self.session_id,
            "agent_name": self.agent_name,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt's hold on a run. `hand_overs` counts earlier attempts that stopped on purpose."""

    run_id: RunId
    attempt: int
    token: FencingToken
    snapshot: Mapping[str, Any] | None
    cancel_reason: str | None = None  # somebody asked it to stop before this attempt began
    hand_overs: int = 0


class FencedError(RotaError):
    """Another attempt has taken the run; this one must stop and may write nothing more."""


class RowsLockedError(RotaError):
    """Another transaction holds a lock on the run or its schedule. Try again later."""

    def __init__(self) -> None:
        """Name the only likely holder: nobody else can lock these rows for long."""
        super().__init__("A session of its owner's holds a lock on the run, or on its schedule.")
