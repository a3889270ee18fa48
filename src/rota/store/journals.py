"""Rows of a run's journal: its steps, its audit log, what it holds and what it used.

Each write names the attempt that makes it, and writes nothing once another attempt has the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from psycopg.types.json import Jsonb

from rota.domain.ids import ActionId, RunId, ScheduleId, UserId
from rota.domain.limits import Spent
from rota.store.database import Connection
from rota.store.records import records, row_of
from rota.store.runs import Claim
from rota.store.statements import statement

NOTHING: Final = Spent()
"""What a day has come to before anything was used."""


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


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What model calls used on a day of the owner's zone."""

    user_id: UserId
    day: date
    schedule_id: ScheduleId | None
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal


async def store_snapshots(
    conn: Connection, snapshots: Sequence[tuple[Claim, Mapping[str, Any]]]
) -> None:
    """Keep what the first attempts ran with."""
    await conn.execute(
        statement("store_snapshots"),
        {
            "snapshots": records(
                {"run_id": claim.run_id, "token": claim.token, "snapshot": snapshot}
                for claim, snapshot in snapshots
            )
        },
    )


async def write_steps(
    conn: Connection, journals: Iterable[tuple[Claim, Sequence[StepRow]]]
) -> dict[RunId, frozenset[int]]:
    """Write steps of several runs; returns the runs that their attempts still hold.

    With each the model steps whose use the same attempt had written before. Of runs that are not
    held nothing is written.
    """
    journals = list(journals)
    cursor = await conn.execute(
        statement("write_steps"),
        {
            "holders": [claim.run_id for claim, _ in journals],
            "tokens": [claim.token for claim, _ in journals],
            "steps": records(
                {"run_id": claim.run_id, **row_of(step)}
                for claim, steps in journals
                for step in steps
            ),
        },
    )
    return {RunId(row[0]): frozenset(row[1]) for row in await cursor.fetchall()}


async def fetch_steps(conn: Connection, run_id: RunId) -> tuple[StepRow, ...]:
    """Return a run's journal in order."""
    cursor = await conn.execute(statement("fetch_steps"), {"run_id": run_id})
    return tuple(StepRow(*row) for row in await cursor.fetchall())


async def insert_audit_logs(conn: Connection, entries: Sequence[tuple[RunId, AuditRow]]) -> None:
    """Append to the audit log."""
    await conn.execute(
        statement("insert_audit_logs"),
        {"entries": records({"run_id": run_id, **row_of(entry)} for run_id, entry in entries)},
    )


async def add_usage(
    conn: Connection, rows: Sequence[UsageRow]
) -> dict[tuple[UserId, date, ScheduleId | None], Spent]:
    """Add to the days; returns what each day comes to, in all (None) and by schedule."""
    cursor = await conn.execute(
        statement("add_usage"), {"usage": records(row_of(row) for row in rows)}
    )
    return {
        (UserId(row[0]), row[1], ScheduleId(row[2]) if row[2] else None): Spent(row[3], row[4])
        for row in await cursor.fetchall()
    }


async def fetch_usage(
    conn: Connection, user_id: UserId, day: date, schedule_id: ScheduleId | None
) -> dict[ScheduleId | None, Spent]:
    """Return what a day has come to: in all (None), and for the schedule."""
    cursor = await conn.execute(
        statement("fetch_usage"), {"user_id": user_id, "day": day, "schedule_id": schedule_id}
    )
    return {
        ScheduleId(row[0]) if row[0] else None: Spent(row[1], row[2])
        for row in await cursor.fetchall()
    }


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
