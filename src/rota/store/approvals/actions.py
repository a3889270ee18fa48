"""Rows of pending actions: held, decided, executed. Every change is a compare-and-set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

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
from rota.store.database import Connection
from rota.store.statements import statement, value


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
    step: tuple[int, int] | None
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
    cursor = await conn.execute(
        statement("approvals/lock_held_run"), {"run_id": claim.run_id, "token": claim.token}
    )
    return await cursor.fetchone() is not None


async def fetch_to_execute(
    conn: Connection,
    *,
    action_id: ActionId | None = None,
    run_id: RunId | None = None,
    step: tuple[int, int] | None = None,
) -> ActionToExecute | None:
    """Lock and return an action, by its id, or by its place in the run that asked for it."""
    model_step, call_index = step if step is not None else (None, None)
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            statement("approvals/fetch_action_to_execute"),
            {
                "action_id": action_id,
                "run_id": run_id,
                "model_step": model_step,
                "call_index": call_index,
                "lasts": APPROVAL_LASTS,
            },
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    sealed = row["sealed_arguments"]
    return ActionToExecute(
        _action(row),
        bytes(sealed) if sealed is not None else None,
        row["executing_token"],
        row["definition_hash"],
        bool(row["is_stale"]),
    )


async def find_requests(
    conn: Connection, run: Run, tool_name: str, arguments_hash: str
) -> Requests:
    """Return what a run has asked for."""
    cursor = await conn.execute(
        statement("approvals/find_requests_of_run"),
        {
            "run_id": run.id,
            "user_id": run.user_id,
            "agent_name": run.agent_name,
            "tool_name": tool_name,
            "arguments_hash": arguments_hash,
            "most": MOST_WAITING,
        },
    )
    row = await cursor.fetchone()
    if row is None:  # an aggregate returns one row
        raise RuntimeError("find_requests_of_run returned no row")
    waits_already = ActionId(row[2]) if row[2] is not None else None
    return Requests(row[0], row[1], waits_already, refusals=row[3], waiting=row[4])


async def withdraw_like(
    conn: Connection, run_id: RunId, tool_name: str, arguments_hash: str
) -> tuple[ActionId, ...]:
    """Withdraw what a run still asks for that is like a call; returns the actions."""
    cursor = await conn.execute(
        statement("approvals/withdraw_like"),
        {"run_id": run_id, "tool_name": tool_name, "arguments_hash": arguments_hash},
    )
    return tuple(ActionId(row[0]) for row in await cursor.fetchall())


async def hold(conn: Connection, new: NewAction) -> None:
    """Insert a pending action."""
    model_step, call_index = new.step if new.step is not None else (None, None)
    await conn.execute(
        statement("approvals/hold_action"),
        {
            "id": new.id,
            "user_id": new.user_id,
            "run_id": new.run_id,
            "model_step": model_step,
            "call_index": call_index,
            "agent_name": new.agent_name,
            "tool_name": new.tool_name,
            "tool_version": new.tool_version,
            "definition_hash": new.definition_hash,
            "arguments": Jsonb(dict(new.arguments)),
            "sealed_arguments": new.sealed_arguments,
            "arguments_hash": new.arguments_hash,
            "argument_schema": Jsonb(dict(new.argument_schema)) if new.argument_schema else None,
            "risk": new.risk,
            "reason": new.reason,
            "account": new.account,
            "mode": new.mode.value,
            "expires_after": new.expires_after,
            "remind_after": new.remind_after,
        },
    )


async def start(conn: Connection, action: PendingAction, claim: Claim) -> bool:
    """Begin to execute an approved action; False for all but the first who tries."""
    cursor = await conn.execute(
        statement("approvals/start_action"),
        {
            "action_id": action.id,
            "version": action.version,
            "arguments_hash": action.arguments_hash,
            "token": claim.token,
        },
    )
    return await cursor.fetchone() is not None


async def take_over(conn: Connection, action_id: ActionId, claim: Claim) -> bool:
    """Go on with an action that an earlier attempt began."""
    cursor = await conn.execute(
        statement("approvals/take_over_action"), {"action_id": action_id, "token": claim.token}
    )
    return await cursor.fetchone() is not None


async def end(
    conn: Connection,
    action_id: ActionId,
    before: ActionStatus,
    after: ActionStatus,
    *,
    result: str,
    claim: Claim | None = None,
) -> bool:
    """Move an action on, with what came of it; with `claim` only if that attempt executes it."""
    cursor = await conn.execute(
        statement("approvals/end_action"),
        {
            "action_id": action_id,
            "from_status": before.value,
            "to_status": after.value,
            "result": result,
            "token": claim.token if claim is not None else None,
        },
    )
    return await cursor.fetchone() is not None


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
    await conn.execute(
        statement("approvals/record_decision"),
        {
            "action_id": action_id,
            "decision": decision,
            "outcome": outcome,
            "actor": actor,
            "origin": origin,
            "detail": detail,
        },
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
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            statement("approvals/list_actions"),
            {
                "statuses": [s.value for s in statuses] if statuses is not None else None,
                "run_id": run_id,
                "prefix": prefix,
                "agent_name": agent_name,
                "tool_name": tool_name,
                "risks": list(risks) if risks is not None else None,
                "limit": limit,
            },
        )
        return tuple(_action(row) for row in await cursor.fetchall())


async def requests_of(
    conn: Connection, run_ids: Sequence[RunId]
) -> dict[RunId, tuple[Request, ...]]:
    """Return what waits of each of some runs, the riskiest first."""
    found: defaultdict[RunId, list[Request]] = defaultdict(list)
    cursor = await conn.execute(
        statement("approvals/list_requests_of_runs"), {"run_ids": list(run_ids)}
    )
    for run_id, action_id, tool_name, risk, account in await cursor.fetchall():
        found[RunId(run_id)].append(Request(ActionId(action_id), tool_name, risk, account))
    return {run_id: tuple(requests) for run_id, requests in found.items()}


async def count_precedents(conn: Connection, action: PendingAction, now: datetime) -> Precedents:
    """Return how people decided on what this agent asked of this tool in the last 90 days."""
    cursor = await conn.execute(
        statement("approvals/count_precedents"),
        {
            "user_id": action.user_id,
            "agent_name": action.agent_name,
            "tool_name": action.tool_name,
            "since": now - timedelta(days=HISTORY_DAYS),
        },
    )
    row = await cursor.fetchone()
    if row is None:  # an aggregate returns one row
        raise RuntimeError("count_precedents returned no row")
    return Precedents(approved=row[0], refused=row[1])


async def decide(
    conn: Connection,
    action_id: ActionId,
    decision: Literal["approve", "refuse"],
    *,
    version: int | None,
    reason: str,
    via: str,
) -> ActionStatus:
    """Decide as the transaction's person.

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
    cursor = await conn.execute(
        statement("approvals/edit_action"),
        {
            "action_id": action.id,
            "user_id": action.user_id,
            "version": action.version,
            "arguments": Jsonb(dict(arguments)),
            "sealed_arguments": sealed_arguments,
            "arguments_hash": arguments_hash,
        },
    )
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else None


async def runs_of_expired(conn: Connection, *, limit: int) -> tuple[RunId | None, ...]:
    """Return runs with actions whose time is over; None for those of runs that are gone."""
    cursor = await conn.execute(
        statement("approvals/list_runs_of_expired_actions"), {"limit": limit}
    )
    return tuple(RunId(row[0]) if row[0] else None for row in await cursor.fetchall())


async def expire(conn: Connection, run_id: RunId | None) -> tuple[ActionOf, ...]:
    """Expire the actions of a run whose time is over; the run's row is locked first."""
    if run_id is not None:
        await conn.execute(statement("approvals/lock_run"), {"run_id": run_id})
    cursor = await conn.execute(statement("approvals/expire_actions"), {"run_id": run_id})
    return _of(await cursor.fetchall())


async def resume(conn: Connection, run_id: RunId) -> None:
    """Let a parked run go on, if nothing of it is pending; its row is locked by the caller."""
    await conn.execute(statement("approvals/resume_run"), {"run_id": run_id})


async def resume_stranded(conn: Connection) -> int:
    """Let parked runs go on of which nothing is pending; returns how many there were."""
    cursor = await conn.execute(statement("approvals/resume_stranded_runs"))
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


async def remind(conn: Connection) -> tuple[ActionOf, ...]:
    """Take note that owners are reminded now; returns the actions that have waited so long."""
    cursor = await conn.execute(statement("approvals/remind_of_actions"))
    return _of(await cursor.fetchall())


async def close_left(conn: Connection) -> tuple[ActionOf, ...]:
    """Close actions of runs that waited for them, and are over; returns them as they are now."""
    cursor = await conn.execute(statement("approvals/close_left_actions"))
    return _of(await cursor.fetchall())


async def warn(conn: Connection, before: timedelta) -> tuple[ActionOf, ...]:
    """Mark and return pending actions that expire soon and were not warned of."""
    cursor = await conn.execute(statement("approvals/warn_of_expiry"), {"before": before})
    return _of(await cursor.fetchall())


def _of(rows: Sequence[Sequence[Any]]) -> tuple[ActionOf, ...]:
    return tuple(
        ActionOf(
            ActionId(row[0]),
            UserId(row[1]),
            row[2],
            row[3],
            ActionStatus(row[4]),
            RunId(row[5]) if row[5] is not None else None,
        )
        for row in rows
    )


def _action(row: Mapping[str, Any]) -> PendingAction:
    run_id = row["run_id"]

    def at(name: str) -> datetime | None:
        value: datetime | None = row[name]
        return value

    return PendingAction(
        id=ActionId(row["id"]),
        user_id=UserId(row["user_id"]),
        run_id=RunId(run_id) if run_id is not None else None,
        agent_name=row["agent_name"],
        tool_name=row["tool_name"],
        tool_version=row["tool_version"],
        arguments=row["arguments"],
        arguments_hash=row["arguments_hash"],
        risk=row["risk"],
        reason=row["reason"],
        account=row["account"],
        mode=ActionMode(row["mode"]),
        status=ActionStatus(row["status"]),
        version=row["version"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_at=at("decided_at"),
        decided_via=row["decided_via"],
        decision_reason=row["decision_reason"],
        started_at=at("started_at"),
        finished_at=at("finished_at"),
        result=row["result"],
        proposed_arguments=row["proposed_arguments"],
        argument_schema=row["argument_schema"],
        escalated_at=at("escalated_at"),
        decided_by=UserId(row["decided_by"]) if row["decided_by"] is not None else None,
    )
