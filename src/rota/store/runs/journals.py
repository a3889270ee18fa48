"""Rows of a run's journal: its steps, audit entries, pending actions and usage.

Each write names its attempt, and writes nothing if another attempt has taken the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from rota.domain.ids import ActionId, RunId, ScheduleId, UserId
from rota.domain.runs.limits import Spent
from rota.domain.runs.run import Claim
from rota.domain.runs.steps import Step, StepKey
from rota.domain.text.storable import storable_json, storable_text
from rota.store.database import Connection
from rota.store.records import records, row_of
from rota.store.statements import Row, many, page

NOTHING: Final = Spent()
"""What a day has come to before anything was used."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of `audit_logs`, without its run. Written twice under one key, it is one row."""

    entry_key: UUID
    tool_name: str
    tier: str
    decision: str
    outcome: str
    arguments: Mapping[str, Any]
    arguments_hash: str
    detail: str
    called_at: datetime
    action_id: ActionId | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of a step's model call, on a day in the owner's time zone."""

    model_step: int
    day: date
    schedule_id: ScheduleId | None
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class JournalRows:
    """The rows that an attempt writes. The snapshot is stored only if the run has none yet."""

    claim: Claim
    snapshot: Mapping[str, Any] | None = None
    steps: Sequence[Step] = ()
    audit: Sequence[AuditRow] = ()
    usage: Sequence[UsageRow] = ()


Days = Mapping[tuple[UserId, date, ScheduleId | None], Spent]
"""What days have come to. A day in all has no schedule."""


@dataclass(frozen=True, slots=True)
class Written:
    """The runs that their attempts still hold, and the new totals of the days with new usage."""

    held: frozenset[RunId]
    days: Days


async def write_journals(conn: Connection, journals: Sequence[JournalRows]) -> Written:
    """Write what attempts have collected; of a run that its attempt lost nothing is written."""
    rows = await many(
        conn,
        "runs/write_journals",
        Row,
        journals=records(
            {"run_id": j.claim.run_id, "token": j.claim.token, "snapshot": j.snapshot}
            for j in journals
        ),
        steps=records(
            {"run_id": j.claim.run_id, **_storable(step)} for j in journals for step in j.steps
        ),
        audit=records(
            {"run_id": j.claim.run_id, **row_of(entry)} for j in journals for entry in j.audit
        ),
        usage=records(
            {"run_id": j.claim.run_id, **row_of(used)} for j in journals for used in j.usage
        ),
    )
    return Written(
        held=frozenset(row["run_id"] for row in rows if row["run_id"] is not None),
        days={
            (row["user_id"], row["day"], row["schedule_id"]): Spent(row["tokens"], row["cost_usd"])
            for row in rows
            if row["run_id"] is None
        },
    )


async def fetch_steps(conn: Connection, run_id: RunId) -> tuple[Step, ...]:
    """Return a run's journal in order."""
    return await many(conn, "runs/fetch_steps", Step, run_id=run_id)


async def list_steps(
    conn: Connection, run_id: RunId, *, after: StepKey, limit: int
) -> tuple[Step, ...]:
    """Return the calls of a run after one, in order."""
    return await page(conn, "runs/list_steps", Step, run_id=run_id, limit=limit, **after._asdict())


async def step_states(conn: Connection, run_id: RunId) -> dict[StepKey, tuple[str, int]]:
    """Return the status of each call of a run, and how many attempts of it failed."""
    rows = await many(conn, "runs/list_step_states", Row, run_id=run_id)
    return {
        StepKey(row["model_step"], row["call_index"]): (row["status"], row["attempts"])
        for row in rows
    }


async def fetch_usage(
    conn: Connection, user_id: UserId, day: date, schedule_id: ScheduleId | None
) -> dict[ScheduleId | None, Spent]:
    """Return what a day has come to: in all (None), and for the schedule."""
    rows = await many(
        conn, "runs/fetch_usage", Row, user_id=user_id, day=day, schedule_id=schedule_id
    )
    return {row["schedule_id"]: Spent(row["tokens"], row["cost_usd"]) for row in rows}


def _storable(step: Step) -> dict[str, Any]:
    """Return a step as its row; names and ids are a model's, errors a server's: any text."""
    return {
        **row_of(step),
        "name": storable_text(step.name),
        "tool_call_id": storable_text(step.tool_call_id) if step.tool_call_id else None,
        "attempts": storable_json(step.attempts),
        "error": storable_text(step.error) if step.error else None,
    }
