"""Admission: which waiting runs enter the queue, and in which order."""

from __future__ import annotations

from typing import Final

from rota.engine.queue import enqueue
from rota.store import runs as run_rows
from rota.store.database import Connection

AHEAD: Final = 200
"""Runs that may be queued and not yet running: enough to keep workers busy, few enough that
somebody's next run never stands behind a herd."""


async def admit(conn: Connection, *, ahead: int = AHEAD) -> int:
    """Queue waiting runs, round-robin by user, in the caller's transaction; returns how many."""
    admitted = await run_rows.admit_runs(conn, ahead=ahead)
    await enqueue(conn, admitted)
    return len(admitted)


async def requeue_lost(conn: Connection, *, older_than_seconds: float) -> int:
    """Queue runs anew whose job was lost, in the caller's transaction; returns how many."""
    lost = await run_rows.runs_without_job(conn, older_than_seconds=older_than_seconds)
    await enqueue(conn, [(run_id, 0) for run_id in lost])
    return len(lost)
