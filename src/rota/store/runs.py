"""Rows of runs: claimed with a fencing token, journalled, finished; each write checks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from rota.domain.ids import ActionId, FencingToken, ResultId, RunId, ScheduleId, UserId
from rota.domain.runs import ResultStatus, Run, RunStatus, Trigger
from rota.store.database import Connection
from rota.store.statements import statement


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt's hold on a run."""

    run_id: RunId
    attempt: int
    token: FencingToken
    snapshot: Mapping[str, Any] | None
    cancel_reason: str | None = None  # somebody asked it to stop before this attempt began


@dataclass(frozen=True, slots=True)
class StepRow:
    """One row of `agent_run_steps`, without its run."""

    model_step: int
    call_index: int
    kind: str
    name: str
    status: str
    tool_call_id: str | None
    request: Mapping[str, Any]
    response: Any
    usage: Mapping[str, Any] | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of `audit_logs`, without its run."""

    tool_name: str
    tier: str
    decision: str
    outcome: str
    arguments: Mapping[str, Any]
    arguments_hash: str
    detail: str
    called_at: datetime


async def fetch_run(conn: Connection, run_id: RunId) -> Run | None:
    """Return a run, or None."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement("fetch_run"), {"run_id": run_id})
        row = await cursor.fetchone()
    return _run(row) if row is not None else None


async def insert_run(
    conn: Connection,
    *,
    user_id: UserId,
    schedule_id: ScheduleId | None,
    agent_name: str,
    prompt: str,
    trigger: Trigger,
    priority: int = 0,
) -> Run:
    """Insert a waiting run and return it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            statement("insert_run"),
            {
                "user_id": user_id,
                "schedule_id": schedule_id,
                "agent_name": agent_name,
                "prompt": prompt,
                "trigger": trigger,
                "priority": priority,
            },
        )
        row = await cursor.fetchone()
    if row is None:  # INSERT ... RETURNING of one row always returns it
        raise RuntimeError("insert_run returned no row")
    return _run(row)


async def claim_run(conn: Connection, run_id: RunId) -> Claim | None:
    """Begin a new attempt; None for a run that is over."""
    cursor = await conn.execute(statement("claim_run"), {"run_id": run_id})
    row = await cursor.fetchone()
    if row is None:
        return None
    return Claim(run_id, row[0], FencingToken(row[1]), row[2], row[3])


async def store_snapshot(conn: Connection, claim: Claim, snapshot: Mapping[str, Any]) -> None:
    """Keep what the first attempt ran with."""
    await conn.execute(
        statement("store_snapshot"),
        {"run_id": claim.run_id, "token": claim.token, "snapshot": Jsonb(dict(snapshot))},
    )


async def finish_run(
    conn: Connection,
    claim: Claim,
    *,
    content: str,
    status: ResultStatus,
    pending: int,
    duration_ms: int,
    metadata: Mapping[str, Any],
) -> tuple[ResultId, datetime] | None:
    """Store the result and end the run; None if this attempt no longer holds it."""
    cursor = await conn.execute(
        statement("finish_run"),
        {
            "run_id": claim.run_id,
            "token": claim.token,
            "content": content,
            "status": status,
            "pending": pending,
            "duration_ms": duration_ms,
            "metadata": Jsonb(dict(metadata)),
        },
    )
    row = await cursor.fetchone()
    return (ResultId(row[0]), row[1]) if row is not None else None


async def upsert_steps(conn: Connection, claim: Claim, steps: Sequence[StepRow]) -> bool:
    """Write steps; False, and nothing written, if this attempt no longer holds the run."""
    cursor = await conn.execute(
        statement("upsert_steps"),
        {
            "run_id": claim.run_id,
            "token": claim.token,
            "model_step": [s.model_step for s in steps],
            "call_index": [s.call_index for s in steps],
            "kind": [s.kind for s in steps],
            "name": [s.name for s in steps],
            "status": [s.status for s in steps],
            "tool_call_id": [s.tool_call_id for s in steps],
            "request": [Jsonb(dict(s.request)) for s in steps],
            "response": [_json_or_null(s.response) for s in steps],
            "usage": [_json_or_null(s.usage) for s in steps],
            "error": [s.error for s in steps],
            "started_at": [s.started_at for s in steps],
            "finished_at": [s.finished_at for s in steps],
        },
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def fetch_steps(conn: Connection, run_id: RunId) -> tuple[StepRow, ...]:
    """Return a run's journal in order."""
    cursor = await conn.execute(statement("fetch_steps"), {"run_id": run_id})
    return tuple(StepRow(*row) for row in await cursor.fetchall())


async def insert_audit_logs(
    conn: Connection,
    *,
    user_id: UserId,
    run_id: RunId,
    agent_name: str,
    entries: Sequence[AuditRow],
) -> None:
    """Append to the audit log."""
    await conn.execute(
        statement("insert_audit_logs"),
        {
            "user_id": user_id,
            "run_id": run_id,
            "agent_name": agent_name,
            "tool_name": [e.tool_name for e in entries],
            "tier": [e.tier for e in entries],
            "decision": [e.decision for e in entries],
            "outcome": [e.outcome for e in entries],
            "arguments": [Jsonb(dict(e.arguments)) for e in entries],
            "arguments_hash": [e.arguments_hash for e in entries],
            "detail": [e.detail for e in entries],
            "called_at": [e.called_at for e in entries],
        },
    )


async def hold_action(
    conn: Connection,
    claim: Claim,
    *,
    step: tuple[int, int] | None,
    tool_name: str,
    tool_version: int | None,
    arguments: Mapping[str, Any],
    arguments_hash: str,
    risk: str,
    reason: str,
) -> ActionId | None:
    """Store a pending action, once per step; None if this attempt no longer holds the run."""
    model_step, call_index = step if step is not None else (None, None)
    cursor = await conn.execute(
        statement("hold_action"),
        {
            "run_id": claim.run_id,
            "token": claim.token,
            "model_step": model_step,
            "call_index": call_index,
            "tool_name": tool_name,
            "tool_version": tool_version,
            "arguments": Jsonb(dict(arguments)),
            "arguments_hash": arguments_hash,
            "risk": risk,
            "reason": reason,
        },
    )
    row = await cursor.fetchone()
    return ActionId(row[0]) if row is not None else None


async def count_pending_actions(conn: Connection, run_id: RunId) -> int:
    """Return how many actions this run asked for."""
    cursor = await conn.execute(statement("count_pending_actions"), {"run_id": run_id})
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


async def admit_runs(conn: Connection, *, ahead: int) -> tuple[tuple[RunId, int], ...]:
    """Queue waiting runs, round-robin by user, until `ahead` are queued and not yet running.

    Returns (run, priority) in the order of their turns; the caller enqueues them in the same
    transaction. Empty while another transaction is admitting.
    """
    cursor = await conn.execute(statement("admit_runs"), {"ahead": ahead})
    rows = sorted(await cursor.fetchall(), key=lambda row: row[2])
    return tuple((RunId(row[0]), int(row[1])) for row in rows)


async def runs_without_job(conn: Connection, *, older_than_seconds: float) -> tuple[RunId, ...]:
    """Return runs that should be in the queue and are not: their job was lost or given up."""
    cursor = await conn.execute(statement("runs_without_job"), {"seconds": older_than_seconds})
    return tuple(RunId(row[0]) for row in await cursor.fetchall())


async def cancel_requests(conn: Connection, run_ids: Sequence[RunId]) -> tuple[RunId, ...]:
    """Return those of these runs that somebody has asked to stop."""
    cursor = await conn.execute(statement("cancel_requests"), {"run_ids": list(run_ids)})
    return tuple(RunId(row[0]) for row in await cursor.fetchall())


async def fetch_cancelled(conn: Connection, run_id: RunId) -> str | None:
    """Return why a run was cancelled before it began, None if it was not."""
    cursor = await conn.execute(statement("fetch_cancelled"), {"run_id": run_id})
    row = await cursor.fetchone()
    return (row[0] or "no reason was given") if row is not None else None


async def fetch_cancel_reason(conn: Connection, run_id: RunId) -> str | None:
    """Return why a run is to stop, None if it is not."""
    cursor = await conn.execute(statement("fetch_cancel_reason"), {"run_id": run_id})
    row = await cursor.fetchone()
    return (row[0] or "it was cancelled") if row is not None else None


def _run(row: Mapping[str, Any]) -> Run:
    schedule_id: UUID | None = row["schedule_id"]
    return Run(
        id=RunId(row["id"]),
        user_id=UserId(row["user_id"]),
        schedule_id=ScheduleId(schedule_id) if schedule_id is not None else None,
        fire_time=row["fire_time"],
        agent_name=row["agent_name"],
        prompt=row["prompt"],
        trigger=Trigger(row["trigger"]),
        status=RunStatus(row["status"]),
        session_id=row["session_id"],
        attempt=row["attempt"],
        fencing_token=row["fencing_token"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _json_or_null(value: Any) -> Jsonb | None:
    return Jsonb(value) if value is not None else None
