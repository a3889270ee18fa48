"""Requests of a person for a run, a retry or a cancellation, through functions in the database.

These functions check the owner of the agent, schedule or run. They write only a waiting run, or the
request to cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rota.domain.ids import RunId, ScheduleId
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.overlap import OverlapPolicy
from rota.store.database import Connection
from rota.store.idempotency import ask_once
from rota.store.statements import execute, value


async def request_run(
    conn: Connection, agent_name: str, prompt: str, options: RunOptions | None
) -> RunId:
    """Ask for a run of an agent now."""
    return await ask_once(
        lambda: value(
            conn,
            "runs/request_run",
            RunId,
            agent_name=agent_name,
            prompt=prompt,
            options=_written(options),
        )
    )


async def request_schedule_run(
    conn: Connection,
    schedule_id: ScheduleId,
    prompt: str | None,
    overlap: OverlapPolicy | None,
    options: RunOptions | None,
) -> RunId:
    """Ask for a run of a schedule now, under its own overlap policy where none is named.

    Raises NotFoundError, and ConflictError where the policy lets nothing start.
    """
    return await ask_once(
        lambda: value(
            conn,
            "runs/request_schedule_run",
            RunId,
            schedule_id=schedule_id,
            prompt=prompt,
            overlap=overlap,
            options=_written(options),
        )
    )


async def request_retry(conn: Connection, run_id: RunId) -> RunId:
    """Ask for a new run of what a run was asked; raises NotFoundError, ConflictError."""
    return await ask_once(lambda: value(conn, "runs/request_retry", RunId, run_id=run_id))


async def request_cancel(conn: Connection, run_id: RunId, note: str | None) -> None:
    """Ask a run to stop; raises NotFoundError."""
    await execute(conn, "runs/request_cancel", run_id=run_id, note=note)


def _written(options: RunOptions | None) -> Mapping[str, Any] | None:
    return options.as_json() or None if options is not None else None
