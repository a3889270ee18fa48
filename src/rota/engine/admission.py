"""Admission: which waiting runs enter the queue, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rota.domain.runs.turns import REBASE_ABOVE, job_priority
from rota.engine.queue import enqueue
from rota.store.database import Connection
from rota.store.runs import admission as rows

AHEAD: Final = 1_000
"""Runs that may be queued and not yet running: enough to keep workers busy from look to look.

Nobody stands behind a herd for it: whoever has no run queued has one let in all the same, and the
queue itself is in fair order. It is also the most that one admission lets in.
"""


@dataclass(frozen=True, slots=True)
class Admission:
    """What an admission did.

    `runs_waiting`: runs are left that lack nothing but room in the queue. `ran_low`: less than half
    of what may be queued was found in it. `locked`: another scheduler is admitting, and nothing was
    done.
    """

    count: int = 0
    runs_waiting: bool = False
    ran_low: bool = False
    locked: bool = False


async def admit(conn: Connection, *, ahead: int = AHEAD) -> Admission:
    """Queue waiting runs in fair order and within all limits, in the caller's transaction."""
    if not await rows.lock(conn):
        return Admission(locked=True)
    found = await rows.admit_runs(conn, ahead=ahead)
    turns = list(found.turns)
    ran_low = 2 * found.places > ahead
    # Those who were passed over may fit now that it is known who was let in.
    while found.turns and len(found.turns) < found.places and _are_left(found):
        found = await rows.admit_runs(conn, ahead=ahead)
        turns += found.turns
    # A run that parked goes on while the job that parked it may still be there, about to be logged
    # as done, or to be given to another worker: neither is this one.
    if begun := [turn.run_id for turn in turns if turn.attempt]:
        await rows.delete_jobs(conn, begun)
    await enqueue(conn, [(turn.run_id, job_priority(turn.priority, turn.turn)) for turn in turns])
    if any((turn.turn or 0) > REBASE_ABOVE for turn in turns):
        await rows.rebase_turns(conn, above=REBASE_ABOVE)
    waiting = found.lack_room or (bool(found.turns) and found.passed_over)
    return Admission(len(turns), waiting, ran_low)


async def requeue_lost(conn: Connection, *, older_than_seconds: float) -> int:
    """Queue runs anew whose job was lost, in the caller's transaction; returns how many."""
    lost = await rows.runs_without_job(conn, older_than_seconds=older_than_seconds)
    await enqueue(conn, [(turn.run_id, job_priority(turn.priority, turn.turn)) for turn in lost])
    return len(lost)


def _are_left(found: rows.Round) -> bool:
    return found.lack_room or found.passed_over
