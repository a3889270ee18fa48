"""Rows of runs: claimed with a fencing token, and finished only by the attempt that holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from rota.domain.ids import FencingToken, RunId, UserId
from rota.domain.runs.run import Claim, Outcome, Run, RunStatus
from rota.domain.schedules.schedule import Schedule
from rota.store.database import Connection
from rota.store.records import records, row_of
from rota.store.statements import (
    execute,
    has_effect,
    many,
    one_or_none,
    value,
    value_or_none,
    values,
)


async def insert_manual_run(conn: Connection, schedule: Schedule) -> RunId:
    """Insert a waiting run of a schedule that somebody asked for."""
    return await value(conn, "runs/insert_manual_run", RunId, **row_of(schedule))


async def insert_retry(
    conn: Connection, run: Run, *, options: Mapping[str, Any], times: Sequence[datetime]
) -> tuple[RunId, datetime] | None:
    """Insert a later run of the same; `times` are for the first retry, the second, and so on.

    Returns the run and when it is due, None where the schedule is gone.
    """
    return await one_or_none(
        conn,
        "runs/insert_retry",
        itemgetter("id", "not_before"),
        run_id=run.id,
        schedule_id=run.schedule_id,
        options=options,
        times=times,
    )


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run that is claimed only to be ended, with the values that its result needs."""

    run_id: RunId
    user_id: UserId
    agent_name: str
    session_id: str
    attempt: int
    token: FencingToken


async def hold_run(
    conn: Connection, run_id: RunId, token: FencingToken | None = None
) -> HeldRun | None:
    """Hold a run to end it, whatever it holds; None where it is over, or another attempt has it.

    `token`: of the attempt that had taken it, if one had.
    """
    return await one_or_none(conn, "runs/hold_run", HeldRun, run_id=run_id, token=token)


async def list_to_claim(conn: Connection, run_ids: Sequence[RunId]) -> tuple[RunId, ...]:
    """Return those of these runs that are not over, and not parked."""
    return await values(conn, "runs/list_runs_to_claim", RunId, run_ids=run_ids)


async def list_held(conn: Connection, claims: Sequence[Claim]) -> frozenset[RunId]:
    """Return the runs of these claims that their attempts still hold, whoever has them locked."""
    found = await values(
        conn,
        "runs/list_held_runs",
        RunId,
        run_ids=[claim.run_id for claim in claims],
        tokens=[claim.token for claim in claims],
    )
    return frozenset(found)


async def count_hand_over(conn: Connection, claim: Claim) -> None:
    """Count an attempt that stopped so that another worker goes on, if it still holds its run."""
    await execute(conn, "runs/count_hand_over", run_id=claim.run_id, token=claim.token)


async def suspend_run(conn: Connection, claim: Claim) -> bool | None:
    """Park a run that its attempt holds, until nothing of it is pending.

    Returns whether it is parked, False where all was decided meanwhile and it waits for a worker
    again, None where the attempt no longer holds it.
    """
    if not await has_effect(conn, "runs/suspend_run", run_id=claim.run_id, token=claim.token):
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
        itemgetter("run_id", "pending_actions_created"),
        ends=records(
            {"token": token, "snapshot": snapshot, **row_of(outcome)}
            for token, outcome, snapshot in ends
        ),
    )
    return dict(rows)


async def cancel_requests(conn: Connection, run_ids: Sequence[RunId]) -> tuple[RunId, ...]:
    """Return those of these runs that somebody has asked to stop."""
    return await values(conn, "runs/cancel_requests", RunId, run_ids=run_ids)


async def fetch_state(conn: Connection, run_id: RunId) -> tuple[RunStatus, str] | None:
    """Return where a run stands and why it was cancelled, if it was; None where there is none."""
    return await one_or_none(
        conn,
        "runs/fetch_state",
        lambda row: (RunStatus(row["status"]), row["cancel_reason"]),
        run_id=run_id,
    )


async def fetch_cancel_reason(conn: Connection, run_id: RunId) -> str | None:
    """Return why a run is to stop, None if it is not."""
    return await value_or_none(conn, "runs/fetch_cancel_reason", str, run_id=run_id)
