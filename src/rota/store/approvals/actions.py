"""Rows of pending actions: held, decided, executed. Every change is a compare-and-set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from rota.domain.agents.configuration import Risk
from rota.domain.approvals.actions import (
    APPROVAL_LASTS,
    MOST_WAITING,
    ActionMode,
    ActionStatus,
    PendingAction,
    Request,
)
from rota.domain.approvals.review import HISTORY_DAYS, Precedents
from rota.domain.ids import ActionId, RunId, UserId
from rota.domain.runs.run import Claim, Run
from rota.domain.runs.steps import StepKey
from rota.store.database import Connection
from rota.store.records import jsonb
from rota.store.statements import Row, execute, many, one, one_or_none, value, value_or_none


@dataclass(frozen=True, slots=True)
class ActionToExecute:
    """An action with what the backend alone reads.

    `sealed_arguments` are all of the arguments, encrypted; None where those shown are all.
    `executing_token` is that of the attempt that began it last. `definition_hash` is that of a
    pinned tool when the call was held. `is_stale`: it was approved too long ago to be begun now.
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
class ActionOf:
    """Whose action, and what it is: for a notice."""

    id: ActionId
    user_id: UserId
    agent_name: str
    tool_name: str
    status: ActionStatus
    run_id: RunId | None


@dataclass(frozen=True, slots=True)
class Requests:
    """What a run has asked for so far, beside a call that is like some of it.

    `was_refused` is whether this very call was, `refusals` how many of its tool were;
    `waits_already` is a pending one that another tool made, not a model message; `waiting` is how
    many of the agent's requests wait for its owner in all, up to `MOST_WAITING`.
    """

    count: int
    was_refused: bool
    waits_already: ActionId | None
    refusals: int
    waiting: int


async def lock_held_run(conn: Connection, claim: Claim) -> bool:
    """Lock a run that its attempt holds; False where it holds it no longer."""
    return (
        await execute(conn, "approvals/lock_held_run", run_id=claim.run_id, token=claim.token) > 0
    )


async def fetch_to_execute(
    conn: Connection,
    *,
    action_id: ActionId | None = None,
    run_id: RunId | None = None,
    step: StepKey | None = None,
) -> ActionToExecute | None:
    """Lock and return an action, by its id, or by its place in the run that asked for it."""
    model_step, call_index = step if step is not None else (None, None)
    return await one_or_none(
        conn,
        "approvals/fetch_action_to_execute",
        _to_execute,
        action_id=action_id,
        run_id=run_id,
        model_step=model_step,
        call_index=call_index,
        lasts=APPROVAL_LASTS,
    )


async def find_requests(
    conn: Connection, run: Run, tool_name: str, arguments_hash: str
) -> Requests:
    """Return what a run has asked for."""
    return await one(
        conn,
        "approvals/find_requests_of_run",
        Requests,
        run_id=run.id,
        user_id=run.user_id,
        agent_name=run.agent_name,
        tool_name=tool_name,
        arguments_hash=arguments_hash,
        most=MOST_WAITING,
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
    model_step, call_index = new.step if new.step is not None else (None, None)
    await execute(
        conn,
        "approvals/hold_action",
        id=new.id,
        user_id=new.user_id,
        run_id=new.run_id,
        model_step=model_step,
        call_index=call_index,
        agent_name=new.agent_name,
        tool_name=new.tool_name,
        tool_version=new.tool_version,
        definition_hash=new.definition_hash,
        arguments=jsonb(new.arguments),
        sealed_arguments=new.sealed_arguments,
        arguments_hash=new.arguments_hash,
        argument_schema=jsonb(new.argument_schema or None),
        risk=new.risk,
        reason=new.reason,
        account=new.account,
        mode=new.mode.value,
        expires_after=new.expires_after,
        remind_after=new.remind_after,
    )


async def start(conn: Connection, action: PendingAction, claim: Claim) -> bool:
    """Begin to execute an approved action, which is recorded; False for all but the first."""
    return (
        await execute(
            conn,
            "approvals/start_action",
            action_id=action.id,
            version=action.version,
            arguments_hash=action.arguments_hash,
            token=claim.token,
        )
        > 0
    )


async def take_over(conn: Connection, action_id: ActionId, claim: Claim) -> bool:
    """Go on with an action that an earlier attempt began, which is recorded."""
    return (
        await execute(conn, "approvals/take_over_action", action_id=action_id, token=claim.token)
        > 0
    )


async def end(
    conn: Connection, action_id: ActionId, after: ActionStatus, *, result: str, claim: Claim
) -> bool:
    """Store what came of a running action, if this attempt executes it; the journal records it."""
    return (
        await execute(
            conn,
            "approvals/end_action",
            action_id=action_id,
            status=after.value,
            result=result,
            token=claim.token,
        )
        > 0
    )


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


async def list_actions(
    conn: Connection,
    *,
    statuses: Sequence[ActionStatus] | None = None,
    run_id: RunId | None = None,
    prefix: str | None = None,
    agent_name: str | None = None,
    tool_name: str | None = None,
    risks: Sequence[Risk] | None = None,
    limit: int,
) -> tuple[PendingAction, ...]:
    """Return the actions that the transaction's person sees, newest first."""
    return await many(
        conn,
        "approvals/list_actions",
        _action,
        statuses=[s.value for s in statuses] if statuses is not None else None,
        run_id=run_id,
        prefix=prefix,
        agent_name=agent_name,
        tool_name=tool_name,
        risks=list(risks) if risks is not None else None,
        limit=limit,
    )


async def requests_of(
    conn: Connection, run_ids: Sequence[RunId]
) -> dict[RunId, tuple[Request, ...]]:
    """Return what waits of each of some runs, the riskiest first."""
    found: defaultdict[RunId, list[Request]] = defaultdict(list)
    for row in await many(conn, "approvals/list_requests_of_runs", Row, run_ids=list(run_ids)):
        request = Request(row["id"], row["tool_name"], row["risk"], row["account"])
        found[row["run_id"]].append(request)
    return {run_id: tuple(requests) for run_id, requests in found.items()}


async def count_precedents(conn: Connection, action: PendingAction, now: datetime) -> Precedents:
    """Return how people decided on what this agent asked of this tool in the last 90 days."""
    return await one(
        conn,
        "approvals/count_precedents",
        Precedents,
        user_id=action.user_id,
        agent_name=action.agent_name,
        tool_name=action.tool_name,
        since=now - timedelta(days=HISTORY_DAYS),
    )


async def decide(
    conn: Connection,
    action_id: ActionId,
    decision: Literal["approve", "refuse"],
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
    conn: Connection,
    action_id: ActionId,
    outcome: Literal["happened", "did_not", "again"],
    via: str,
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
        arguments=jsonb(arguments),
        sealed_arguments=sealed_arguments,
        arguments_hash=arguments_hash,
    )


async def runs_of_expired(conn: Connection, *, limit: int) -> tuple[RunId | None, ...]:
    """Return runs with actions whose time is over; None for those of runs that are gone."""
    return await many(
        conn, "approvals/list_runs_of_expired_actions", lambda row: row["run_id"], limit=limit
    )


async def expire(conn: Connection, run_id: RunId | None) -> tuple[ActionOf, ...]:
    """Expire the actions of a run whose time is over; the run's row is locked first."""
    if run_id is not None:
        await execute(conn, "approvals/lock_run", run_id=run_id)
    return await many(conn, "approvals/expire_actions", _of, run_id=run_id)


async def resume(conn: Connection, run_id: RunId) -> None:
    """Let a parked run go on, if nothing of it is pending; its row is locked by the caller."""
    await execute(conn, "approvals/resume_run", run_id=run_id)


async def resume_stranded(conn: Connection) -> int:
    """Let parked runs go on of which nothing is pending; returns how many there were."""
    return await value(conn, "approvals/resume_stranded_runs", int)


async def remind(conn: Connection) -> tuple[ActionOf, ...]:
    """Take note that owners are reminded now; returns the actions that have waited so long."""
    return await many(conn, "approvals/remind_of_actions", _of)


async def close_left(conn: Connection) -> tuple[ActionOf, ...]:
    """Close actions of runs that waited for them, and are over; returns them as they are now."""
    return await many(conn, "approvals/close_left_actions", _of)


async def warn(conn: Connection, before: timedelta) -> tuple[ActionOf, ...]:
    """Mark and return pending actions that expire soon and were not warned of."""
    return await many(conn, "approvals/warn_of_expiry", _of, before=before)


def _of(row: Row) -> ActionOf:
    return ActionOf(**row | {"status": ActionStatus(row["status"])})


def _to_execute(row: Row) -> ActionToExecute:
    return ActionToExecute(
        _action(row),
        row["sealed_arguments"],
        row["executing_token"],
        row["definition_hash"],
        bool(row["is_stale"]),
    )


_FIELDS: Final = tuple(field.name for field in fields(PendingAction))


def _action(row: Mapping[str, Any]) -> PendingAction:
    statuses = {"mode": ActionMode(row["mode"]), "status": ActionStatus(row["status"])}
    return PendingAction(**{name: row[name] for name in _FIELDS} | statuses)
