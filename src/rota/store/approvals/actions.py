"""Rows of pending actions: held, decided, executed. Every change is a compare-and-set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from rota.domain.agents.configuration import Risk
from rota.domain.approvals.actions import (
    APPROVAL_LASTS,
    MOST_WAITING,
    ActionMode,
    ActionStatus,
    ApprovalDecision,
    ApprovalRequest,
    PendingAction,
    Settlement,
)
from rota.domain.approvals.review import HISTORY_DAYS, Precedents
from rota.domain.ids import ActionId, RunId, UserId
from rota.domain.runs.run import Claim, Run
from rota.domain.runs.steps import StepKey
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.records import row_of
from rota.store.statements import (
    Row,
    execute,
    has_effect,
    many,
    one,
    one_or_none,
    value,
    value_or_none,
)


@dataclass(frozen=True, slots=True)
class ActionToExecute:
    """An action with the columns that only the backend reads.

    `sealed_arguments` are all arguments, encrypted; None if the shown arguments are complete.
    `executing_token` is the token of the attempt that last began the action. `definition_hash` is
    the hash of a pinned tool at the time of the request. `is_stale`: the approval is too old for
    the action to begin now.
    """

    action: PendingAction
    sealed_arguments: bytes | None
    executing_token: int | None
    definition_hash: str | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class NewAction:
    """An action to hold. `arguments` are redacted where `sealed_arguments` holds all of them."""

    id: ActionId
    user_id: UserId
    run_id: RunId
    step: StepKey | None
    agent_name: str
    tool_name: str
    tool_version: int | None
    arguments: Mapping[str, Any]
    sealed_arguments: bytes | None
    arguments_hash: str
    argument_schema: Mapping[str, Any] | None
    risk: Risk
    reason: str
    account: str
    mode: ActionMode
    expires_after: timedelta
    remind_after: timedelta | None
    definition_hash: str | None = None  # of a pinned tool


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """The earlier approval requests of a run, compared with a new call.

    `count`: all requests of the run. `was_refused`: the same call was refused before.
    `first_like_it`: the first request for the same call. `refusals`: refused requests for the same
    tool. `waits_already`: a pending request for it that another tool made, not a model message.
    `waiting`: all waiting requests of this agent, up to `MOST_WAITING`.
    """

    count: int
    was_refused: bool
    waits_already: ActionId | None
    first_like_it: ActionId | None
    refusals: int
    waiting: int


async def lock_held_run(conn: Connection, claim: Claim) -> bool:
    """Lock a run that its attempt holds; False where it holds it no longer."""
    return await has_effect(conn, "approvals/lock_held_run", run_id=claim.run_id, token=claim.token)


async def fetch_to_execute(
    conn: Connection,
    *,
    action_id: ActionId | None = None,
    run_id: RunId | None = None,
    step: StepKey | None = None,
) -> ActionToExecute | None:
    """Lock and return an action, by its id, or by its place in the run that asked for it."""
    model_step, call_index = step or (None, None)
    return await one_or_none(
        conn,
        "approvals/fetch_action_to_execute",
        ActionToExecute,
        action_id=action_id,
        run_id=run_id,
        model_step=model_step,
        call_index=call_index,
        lasts=APPROVAL_LASTS,
    )


async def find_requests(
    conn: Connection, run: Run, tool_name: str, arguments_hash: str
) -> RequestCounts:
    """Return what a run has asked for."""
    return await one(
        conn,
        "approvals/find_requests_of_run",
        RequestCounts,
        run_id=run.id,
        tool_name=tool_name,
        arguments_hash=arguments_hash,
        most=MOST_WAITING,
        **row_of(run),
    )


async def withdraw_like(conn: Connection, run_id: RunId, repeated: NewAction) -> None:
    """Withdraw what a run still asks for that is asked for again."""
    await execute(
        conn,
        "approvals/withdraw_like",
        run_id=run_id,
        tool_name=repeated.tool_name,
        arguments_hash=repeated.arguments_hash,
        detail=f"asked for again by a retry: {repeated.id}",
    )


async def hold(conn: Connection, new: NewAction) -> None:
    """Insert a pending action."""
    model_step, call_index = new.step or (None, None)
    await execute(
        conn,
        "approvals/hold_action",
        model_step=model_step,
        call_index=call_index,
        **row_of(new),
    )


async def start(conn: Connection, action: PendingAction, claim: Claim) -> bool:
    """Begin to execute an approved action, which is recorded; False for all but the first."""
    return await has_effect(
        conn,
        "approvals/start_action",
        action_id=action.id,
        token=claim.token,
        **row_of(action),
    )


async def take_over(conn: Connection, action_id: ActionId, claim: Claim) -> bool:
    """Go on with an action that an earlier attempt began, which is recorded."""
    return await has_effect(
        conn, "approvals/take_over_action", action_id=action_id, token=claim.token
    )


async def end(
    conn: Connection, action_id: ActionId, after: ActionStatus, *, result: str, claim: Claim
) -> bool:
    """Store what came of a running action, if this attempt executes it; the journal records it."""
    return await has_effect(
        conn,
        "approvals/end_action",
        action_id=action_id,
        status=after,
        result=result,
        token=claim.token,
    )


async def end_found(conn: Connection, action_id: ActionId, claim: Claim, *, result: str) -> None:
    """Store that an action that was begun before took effect, which is recorded."""
    await execute(
        conn,
        "approvals/end_found_action",
        action_id=action_id,
        token=claim.token,
        result=result,
    )


async def list_unknown(
    conn: Connection, tool_names: Sequence[str], within: timedelta, *, limit: int
) -> tuple[ActionToExecute, ...]:
    """Return the latest actions of unknown outcome, of some tools."""
    return await many(
        conn,
        "approvals/list_unknown_actions",
        ActionToExecute,
        tool_names=list(tool_names),
        within=within,
        limit=limit,
    )


async def note_found(conn: Connection, action_id: ActionId, result: str) -> bool:
    """Store proof that an action of unknown outcome took effect; False where it is settled."""
    return await has_effect(conn, "approvals/note_found_action", action_id=action_id, result=result)


async def close(conn: Connection, action: PendingAction, reason: str) -> ActionStatus | None:
    """Close an approved action as failed, and a running one as unknown; None for any other."""
    return await value_or_none(
        conn, "approvals/close_action", ActionStatus, action_id=action.id, reason=reason
    )


async def record(
    conn: Connection,
    action_id: ActionId,
    decision: str,
    outcome: str,
    *,
    actor: str,
    origin: str,
    detail: str = "",
) -> None:
    """Append to the audit log what was decided on an action, or became of it."""
    await execute(
        conn,
        "approvals/record_decision",
        action_id=action_id,
        decision=decision,
        outcome=outcome,
        actor=actor,
        origin=origin,
        detail=detail,
    )


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """Which actions a list is of; None: any agent, tool or risk."""

    statuses: Sequence[ActionStatus]
    agent_name: str | None = None
    tool_name: str | None = None
    risks: Sequence[Risk] | None = None


async def list_actions(
    conn: Connection,
    wanted: ActionFilter,
    *,
    after: tuple[datetime, UUID] | None = None,
    limit: int,
) -> tuple[PendingAction, ...]:
    """Return actions that the transaction's person sees, newest first.

    `after` are `created_at` and the id of the last one of the page before.
    """
    after_at, after_id = after or (None, None)
    return await many(
        conn,
        "approvals/list_actions",
        PendingAction,
        after_at=after_at,
        after_id=after_id,
        limit=limit,
        **row_of(wanted),
    )


async def count_actions(conn: Connection, wanted: ActionFilter) -> int:
    """Return how many such actions the transaction's person sees."""
    return await value(conn, "approvals/count_actions", int, **row_of(wanted))


async def find_actions(
    conn: Connection, *, prefix: str | None = None, run_id: RunId | None = None, limit: int
) -> tuple[PendingAction, ...]:
    """Return actions that the transaction's person sees, newest first.

    `prefix` is the beginning of an id, hexadecimal digits and hyphens. Those of a run are what it
    asked for, and what it executes.
    """
    return await many(
        conn, "approvals/find_actions", PendingAction, prefix=prefix, run_id=run_id, limit=limit
    )


async def list_waiting_requests(
    conn: Connection, run_ids: Sequence[RunId]
) -> dict[RunId, tuple[ApprovalRequest, ...]]:
    """Return what waits of each of some runs, the riskiest first."""
    found: defaultdict[RunId, list[ApprovalRequest]] = defaultdict(list)
    for row in await many(conn, "approvals/list_requests_of_runs", Row, run_ids=run_ids):
        found[row["run_id"]].append(read(ApprovalRequest, row))
    return {run_id: tuple(requests) for run_id, requests in found.items()}


async def count_precedents(conn: Connection, action: PendingAction, now: datetime) -> Precedents:
    """Return how people decided on what this agent asked of this tool in the last 90 days."""
    return await one(
        conn,
        "approvals/count_precedents",
        Precedents,
        since=now - timedelta(days=HISTORY_DAYS),
        **row_of(action),
    )


async def decide(
    conn: Connection,
    action_id: ActionId,
    decision: ApprovalDecision,
    *,
    version: int | None,
    arguments_hash: str | None,
    reason: str,
    via: str,
) -> ActionStatus:
    """Decide as the transaction's person on arguments of this version and hash.

    Raises NotFoundError, and ConflictError whose `status` is what the action is by now: a status,
    or `edited`.
    """
    return await value(
        conn,
        "approvals/decide_action",
        ActionStatus,
        action_id=action_id,
        decision=decision,
        version=version,
        arguments_hash=arguments_hash,
        reason=reason,
        via=via,
    )


async def settle(
    conn: Connection, action_id: ActionId, outcome: Settlement, via: str
) -> ActionStatus:
    """Say what became of an action of unknown outcome; raises as `decide` does."""
    return await value(
        conn,
        "approvals/settle_action",
        ActionStatus,
        action_id=action_id,
        outcome=outcome,
        via=via,
    )


async def edit(
    conn: Connection,
    action: PendingAction,
    *,
    arguments: Mapping[str, Any],
    sealed_arguments: bytes | None,
    arguments_hash: str,
) -> int | None:
    """Replace the arguments of a pending action; returns its new version, None if too late."""
    return await value_or_none(
        conn,
        "approvals/edit_action",
        int,
        action_id=action.id,
        user_id=action.user_id,
        version=action.version,
        arguments=arguments,
        sealed_arguments=sealed_arguments,
        arguments_hash=arguments_hash,
    )


async def list_runs_with_expired(conn: Connection, *, limit: int) -> tuple[RunId | None, ...]:
    """Return runs with actions whose time is over; None for those of runs that are gone."""
    return await many(
        conn, "approvals/list_runs_of_expired_actions", itemgetter("run_id"), limit=limit
    )


async def lock_run(conn: Connection, run_id: RunId) -> bool:
    """Lock a run's row; False while somebody else has it."""
    return await has_effect(conn, "approvals/lock_run", run_id=run_id)


async def expire(conn: Connection, run_id: RunId | None) -> tuple[PendingAction, ...]:
    """Expire and record the actions of a run whose time is over; the caller has locked its row."""
    return await many(conn, "approvals/expire_actions", PendingAction, run_id=run_id)


async def resume(conn: Connection, run_id: RunId) -> None:
    """Let a parked run go on, if nothing of it is pending; its row is locked by the caller."""
    await execute(conn, "approvals/resume_run", run_id=run_id)


async def resume_stranded(conn: Connection) -> int:
    """Let parked runs go on of which nothing is pending; returns how many there were."""
    return await value(conn, "approvals/resume_stranded_runs", int)


async def remind(conn: Connection) -> tuple[PendingAction, ...]:
    """Take note that owners are reminded now; returns the actions that have waited so long."""
    return await many(conn, "approvals/remind_of_actions", PendingAction)


async def close_orphaned(conn: Connection) -> tuple[PendingAction, ...]:
    """Close and record actions of runs that waited for them, and are over; returns them closed."""
    return await many(conn, "approvals/close_left_actions", PendingAction)


async def warn(conn: Connection, before: timedelta) -> tuple[PendingAction, ...]:
    """Mark and return pending actions that expire soon and were not warned of."""
    return await many(conn, "approvals/warn_of_expiry", PendingAction, before=before)
