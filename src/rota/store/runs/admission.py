"""Rows of runs on their way into the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rota.domain.ids import RunId
from rota.store.database import Connection
from rota.store.statements import execute, statement


@dataclass(frozen=True, slots=True)
class Turn:
    """A run and its place in the fair order; `turn` is None where the run has begun already.

    `attempt` counts the attempts that it has had.
    """

    run_id: RunId
    priority: int
    turn: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of admission did.

    `places`: runs that the queue had room for before it. `lack_room`: runs wait that lack nothing
    but room. `passed_over`: runs were left because of a limit, or of those before them.
    """

    turns: tuple[Turn, ...]
    places: int
    lack_room: bool
    passed_over: bool


async def lock(conn: Connection) -> bool:
    """Take the lock of admission for this transaction; False while another one has it."""
    cursor = await conn.execute(statement("runs/lock_admission"))
    row = await cursor.fetchone()
    return bool(row and row[0])


async def admit_runs(conn: Connection, *, ahead: int) -> Round:
    """Queue waiting runs that no limit keeps back, in fair order, under the lock of admission.

    Until `ahead` are queued and not yet running; beyond that, one of everybody who has none queued.
    The caller enqueues them in the same transaction.
    """
    cursor = await conn.execute(statement("runs/admit_runs"), {"ahead": ahead})
    rows = await cursor.fetchall()
    turns = tuple(Turn(RunId(row[3]), *row[4:7]) for row in rows if row[3] is not None)
    return Round(turns, int(rows[0][0]), rows[0][1], rows[0][2])


async def delete_jobs(conn: Connection, run_ids: Sequence[RunId]) -> None:
    """Delete the jobs of attempts that are over, of runs that are queued anew."""
    keys = [str(run_id) for run_id in run_ids]
    await conn.execute(statement("runs/delete_jobs_of_runs"), {"keys": keys})


async def rebase_turns(conn: Connection, *, above: int) -> None:
    """Begin turns anew in the classes that have come past `above`, under the lock of admission."""
    await conn.execute(statement("runs/rebase_turns"), {"above": above})


async def runs_without_job(conn: Connection, *, older_than_seconds: float) -> tuple[Turn, ...]:
    """Return runs that should be in the queue and are not: their job was lost or given up."""
    cursor = await conn.execute(statement("runs/runs_without_job"), {"seconds": older_than_seconds})
    return tuple(Turn(RunId(row[0]), *row[1:4]) for row in await cursor.fetchall())


async def raise_job(conn: Connection, job_id: int, *, priority: int) -> None:
    """Give a job of the queue another priority."""
    await execute(conn, "runs/raise_job", job_id=job_id, priority=priority)
