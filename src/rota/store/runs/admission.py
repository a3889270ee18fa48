"""Rows of runs on their way into the queue."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rota.domain.ids import RunId, UserId
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.statements import Row, execute, many, value


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run and its place in the fair order. `start_tag` is None if the run has begun already.

    `attempt` is the number of attempts so far.
    """

    run_id: RunId
    priority: int
    start_tag: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Round:
    """The outcome of one round of admission.

    `places`: the free places in the queue before it. `lack_room`: runs wait only for a free place.
    `passed_over`: a limit, or runs before them, kept runs waiting. `locked`: people with a run that
    was left because another session has it locked.
    """

    admitted: tuple[QueuedRun, ...]
    places: int
    lack_room: bool
    passed_over: bool
    locked: tuple[UserId, ...]


async def lock(conn: Connection) -> bool:
    """Take the lock of admission for this transaction; False while another one has it."""
    return await value(conn, "runs/lock_admission", bool)


async def admit_runs(
    conn: Connection, *, ahead: int, most: int, without: Collection[UserId] = ()
) -> Round:
    """Queue waiting runs that no limit keeps back, in fair order, under the lock of admission.

    Until `ahead` are queued and not yet running, `most` of them now; beyond that, one of everybody
    who has none queued. No runs of the people `without`. The caller enqueues them in the same
    transaction.
    """
    rows = await many(conn, "runs/admit_runs", Row, ahead=ahead, most=most, without=without)
    admitted = [read(QueuedRun, row) for row in rows if row["run_id"] is not None]
    return read(Round, {**rows[0], "admitted": admitted})


async def delete_jobs(conn: Connection, run_ids: Sequence[RunId]) -> None:
    """Delete the jobs of attempts that are over, of runs that are queued anew."""
    keys = [str(run_id) for run_id in run_ids]
    await execute(conn, "runs/delete_jobs_of_runs", keys=keys)


async def rebase_start_tags(conn: Connection, *, above: int) -> None:
    """Begin start tags anew in the classes that have come past `above`; admission is locked."""
    await execute(conn, "runs/rebase_start_tags", above=above)


async def runs_without_job(conn: Connection, *, older_than_seconds: float) -> tuple[QueuedRun, ...]:
    """Return runs that should be in the queue and are not: their job was lost or given up."""
    return await many(conn, "runs/runs_without_job", QueuedRun, seconds=older_than_seconds)


async def raise_job(conn: Connection, job_id: int, *, priority: int) -> None:
    """Give a job of the queue another priority."""
    await execute(conn, "runs/raise_job", job_id=job_id, priority=priority)
