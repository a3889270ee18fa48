"""Admission: which waiting runs enter the queue, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rota.domain.ids import UserId
from rota.domain.runs.priority import REBASE_ABOVE, job_priority
from rota.engine.queue import enqueue
from rota.store.database import Connection
from rota.store.runs import admission as rows

AHEAD: Final = 1_000
"""Runs that may be queued and not yet running: enough to keep workers busy from look to look.

Nobody stands behind a herd for it: whoever has no run queued has one let in all the same, and the
queue itself is in fair order. It is also the most that one admission lets in.
"""

MOST_LOCKED: Final = 100
"""People that one admission leaves out whose runs somebody has locked; the next one sees anew."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What an admission did.

    `runs_waiting`: runs are left that lack nothing but room in the queue, or that somebody's lock
    keeps back. `ran_low`: less than half
    of what may be queued was found in it. `locked`: another scheduler is admitting, and nothing was
    done.
    """

    count: int = 0
    runs_waiting: bool = False
    ran_low: bool = False
    locked: bool = False


async def admit(conn: Connection, *, ahead: int = AHEAD, most: int = AHEAD) -> Admission:
    """Queue waiting runs in fair order and within all limits, in the caller's transaction.

    About `most` of them at once: the next admission goes on.
    """
    if not await rows.lock(conn):
        return Admission(locked=True)
    found = await rows.admit_runs(conn, ahead=ahead, most=most)
    admitted = list(found.admitted)
    ran_low = 2 * found.places > ahead
    without: set[UserId] = set()
    # Those who were passed over may fit now that it is known who was let in, and who is left out.
    places = min(found.places, most)
    while len(without) < MOST_LOCKED and (
        found.locked or (found.admitted and len(found.admitted) < places and _are_left(found))
    ):
        without.update(found.locked)
        found = await rows.admit_runs(conn, ahead=ahead, most=most, without=without)
        places = min(found.places, most)
        admitted += found.admitted
    # A run that parked goes on while the job that parked it may still be there, about to be logged
    # as done, or to be given to another worker: neither is this one.
    if begun := [run.run_id for run in admitted if run.attempt]:
        await rows.delete_jobs(conn, begun)
    await _enqueue(conn, admitted)
    if any((run.start_tag or 0) > REBASE_ABOVE for run in admitted):
        await rows.rebase_start_tags(conn, above=REBASE_ABOVE)
    waiting = found.lack_room or (bool(found.admitted) and found.passed_over) or bool(without)
    return Admission(len(admitted), waiting, ran_low)


async def requeue_lost(conn: Connection, *, older_than_seconds: float) -> int:
    """Queue runs anew whose job was lost, in the caller's transaction; returns how many."""
    lost = await rows.runs_without_job(conn, older_than_seconds=older_than_seconds)
    await _enqueue(conn, lost)
    return len(lost)


async def _enqueue(conn: Connection, runs: Sequence[rows.QueuedRun]) -> None:
    await enqueue(conn, [(r.run_id, job_priority(r.priority, r.start_tag)) for r in runs])


def _are_left(found: rows.Round) -> bool:
    return found.lack_room or found.passed_over
