"""Rows of runs: claimed with a fencing token, finished only by whoever still holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from rota.domain.approvals.rules import Rule
from rota.domain.ids import ActionId, FencingToken, RunId, ScheduleId, UserId
from rota.domain.runs.limits import DayLimits
from rota.domain.runs.run import Claim, Outcome, Run, RunStatus, Trigger
from rota.store.approvals.rules import rule_from_row
from rota.store.database import Connection
from rota.store.records import jsonb, records
from rota.store.statements import Row, execute, many, one, one_or_none, value_or_none, values


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run, the hold on it, and what holds for its owner.

    `rules` are those on its calls. Of a run that executes an action, `policy_schedule_id` and
    `unattended` are those of the run that asked for it.
    """

    run: Run
    claim: Claim
    owner_zone: str
    day_limits: DayLimits
    rules: tuple[Rule, ...] = ()
    policy_schedule_id: ScheduleId | None = None
    unattended: bool = True


async def fetch_run(conn: Connection, run_id: RunId) -> Run | None:
    """Return a run, or None."""
    return await one_or_none(conn, "runs/fetch_run", _run, run_id=run_id)


async def insert_run(
    conn: Connection,
    *,
    user_id: UserId,
    schedule_id: ScheduleId | None,
    agent_name: str,
    prompt: str,
    trigger: Trigger,
    priority: int = 0,
    fire_time: datetime | None = None,
    options: Mapping[str, Any] | None = None,
    not_before: datetime | None = None,
    retry_of: RunId | None = None,
    is_serial: bool = False,
) -> Run:
    """Insert a waiting run and return it."""
    return await one(
        conn,
        "runs/insert_run",
        _run,
        user_id=user_id,
        schedule_id=schedule_id,
        agent_name=agent_name,
        prompt=prompt,
        trigger=trigger,
        priority=priority,
        fire_time=fire_time,
        options=jsonb(options),
        not_before=not_before,
        retry_of=retry_of,
        is_serial=is_serial,
    )


async def insert_retry(
    conn: Connection, run: Run, *, options: Mapping[str, Any], times: Sequence[datetime]
) -> tuple[RunId, datetime] | None:
    """Insert a later run of the same; `times` are for the first retry, the second, and so on.

    Returns the run and when it is due, None where the schedule is gone.
    """
    return await one_or_none(
        conn,
        "runs/insert_retry",
        lambda row: (RunId(row["id"]), row["not_before"]),
        run_id=run.id,
        schedule_id=run.schedule_id,
        options=jsonb(options),
        times=list(times),
    )


async def claim_runs(conn: Connection, run_ids: Sequence[RunId]) -> dict[RunId, ClaimedRun]:
    """Begin a new attempt of each; those that are over are left out."""
    rows = await many(conn, "runs/claim_runs", claimed_from_row, run_ids=list(run_ids))
    return {claimed.run.id: claimed for claimed in rows}


def claimed_from_row(row: Row) -> ClaimedRun:
    """Make the value from a row of `claim_runs`."""
    run = _run(row)
    claim = Claim(
        run.id,
        row["attempt"],
        FencingToken(row["fencing_token"]),
        row["snapshot"],
        row["cancel_reason"],
        row["hand_overs"],
    )
    limits = DayLimits(row["day_tokens"], row["day_cost_usd"])
    return ClaimedRun(
        run,
        claim,
        row["time_zone"],
        limits,
        tuple(rule_from_row(rule) for rule in row["rules"] or ()),
        row["policy_schedule_id"],
        unattended=row["policy_trigger"] != Trigger.MANUAL,
    )


async def count_hand_over(conn: Connection, claim: Claim) -> None:
    """Count an attempt that stopped so that another worker goes on, if it still holds its run."""
    await execute(conn, "runs/count_hand_over", run_id=claim.run_id, token=claim.token)


async def suspend_run(conn: Connection, claim: Claim) -> bool | None:
    """Park a run that its attempt holds, until nothing of it is pending.

    Returns whether it is parked, False where all was decided meanwhile and it waits for a worker
    again, None where the attempt no longer holds it.
    """
    if not await execute(conn, "runs/suspend_run", run_id=claim.run_id, token=claim.token):
        return None
    return not await value_or_none(conn, "approvals/resume_run", bool, run_id=claim.run_id)


async def finish_runs(
    conn: Connection, ends: Sequence[tuple[FencingToken, Outcome, Mapping[str, Any] | None]]
) -> dict[RunId, int]:
    """Store outcomes as results and end their runs, each only while its token holds it.

    The third of each is its attempt's snapshot, kept where none was stored before. Returns of the
    runs that were ended how many actions they asked for.
    """
    rows = await many(
        conn,
        "runs/finish_runs",
        Row,
        ends=records(
            {
                "run_id": outcome.run_id,
                "token": token,
                "result_id": outcome.result_id,
                "content": outcome.content,
                "status": outcome.status,
                "duration_ms": outcome.duration_ms,
                "metadata": outcome.metadata,
                "snapshot": snapshot,
            }
            for token, outcome, snapshot in ends
        ),
    )
    return {row["run_id"]: row["pending_actions_created"] for row in rows}


async def cancel_requests(conn: Connection, run_ids: Sequence[RunId]) -> tuple[RunId, ...]:
    """Return those of these runs that somebody has asked to stop."""
    return await values(conn, "runs/cancel_requests", RunId, run_ids=list(run_ids))


async def fetch_standstill(conn: Connection, run_id: RunId) -> tuple[RunStatus, str] | None:
    """Return whether a run without a result is cancelled or suspended, and why it was cancelled."""
    return await one_or_none(
        conn,
        "runs/fetch_standstill",
        lambda row: (RunStatus(row["status"]), row["cancel_reason"] or "no reason was given"),
        run_id=run_id,
    )


async def fetch_cancel_reason(conn: Connection, run_id: RunId) -> str | None:
    """Return why a run is to stop, None if it is not."""
    return await one_or_none(
        conn,
        "runs/fetch_cancel_reason",
        lambda row: row["cancel_reason"] or "it was cancelled",
        run_id=run_id,
    )


def _run(row: Row) -> Run:
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
        is_serial=row["is_serial"],
        options=row["options"],
        retry_of=RunId(row["retry_of"]) if row["retry_of"] is not None else None,
        action_id=ActionId(row["action_id"]) if row["action_id"] is not None else None,
    )
