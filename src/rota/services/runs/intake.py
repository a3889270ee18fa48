"""Intake: a worker claims runs in batches, and reads all that is needed to begin them.

`ScheduledExecutionService` takes every run here before it begins an attempt. Admission
(engine/admission) decides which runs may be taken, and when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rota.domain.ids import RunId
from rota.domain.runs.steps import Step
from rota.domain.schedules.schedule import Schedule
from rota.services.runs.batches import Batcher, Locked
from rota.store.database import Connection, Database
from rota.store.records import row_of
from rota.store.runs import journals as journal_rows
from rota.store.runs.intake import ClaimedRun, claim_runs
from rota.store.runs.rows import insert_manual_run, list_to_claim

PATIENCE: Final = 1.0
"""Seconds that a run is waited for which somebody has locked; then it goes back to the queue."""


@dataclass(frozen=True, slots=True)
class TakenRun(ClaimedRun):
    """A run that this process holds. `earlier` is the journal of earlier attempts."""

    earlier: tuple[Step, ...] = ()

    @property
    def is_dry_run(self) -> bool:
        """Whether an earlier attempt of the run began as a dry run."""
        return bool((self.claim.snapshot or {}).get("options", {}).get("dry_run"))

    def as_logged(self) -> dict[str, object]:
        """Return what a line of the log says of whose run it is."""
        named = {"schedule": self.schedule.name} if self.schedule is not None else {}
        return named | {
            "agent": self.run.agent_name,
            "run_id": str(self.run.id),
            "trigger": self.run.trigger.value,
            "attempt": self.claim.attempt,
        }


class Intake:
    """Takes runs, those that come together in one transaction."""

    def __init__(
        self,
        database: Database,
        *,
        size: int,
        more_to_come: Callable[[int], bool],
    ) -> None:
        self._database = database
        self._batches = Batcher[RunId, TakenRun | None](
            self._take_all,
            size=size,
            more_to_come=more_to_come,
            drop_cancelled=True,
            patience=PATIENCE,
        )

    @property
    def is_behind(self) -> bool:
        """Whether more wait than the next transaction takes."""
        return self._batches.is_behind

    async def take(self, run_id: RunId) -> TakenRun | None:
        """Begin a new attempt of a run; None for one that is over, or gone.

        Raises RowsLockedError for one that another session keeps locked.
        """
        return await self._batches.submit(run_id)

    async def take_new(self, schedule: Schedule) -> TakenRun:
        """Make a manual run of a schedule and take it, before any scheduler may admit it."""
        async with self._database.transaction() as conn:
            run_id = await insert_manual_run(conn, schedule)
            taken = (await self._taken(conn, [run_id]))[0]
        if taken is None or isinstance(taken, Locked):  # inserted in this very transaction
            raise RuntimeError("a run was written and cannot be claimed")
        return replace(taken, schedule=schedule)

    async def _take_all(self, run_ids: Sequence[RunId]) -> list[TakenRun | Locked | None]:
        # No transaction: should the reads fail, a claim that stays costs no more than an attempt.
        async with self._database.pipelined() as conn:
            return await self._taken(conn, run_ids)

    async def _taken(
        self, conn: Connection, run_ids: Sequence[RunId]
    ) -> list[TakenRun | Locked | None]:
        claimed = await claim_runs(conn, sorted(set(run_ids)))
        missing = [run_id for run_id in run_ids if run_id not in claimed]
        locked = await list_to_claim(conn, missing) if missing else ()
        taken: list[TakenRun | Locked | None] = []
        for run_id in run_ids:
            found = claimed.pop(run_id, None)  # a run that is asked for twice is taken once
            if found is None:
                taken.append(Locked.LOCKED if run_id in locked else None)
                continue
            is_first = found.claim.attempt == 1
            earlier = () if is_first else await journal_rows.fetch_steps(conn, run_id)
            taken.append(TakenRun(**row_of(found), earlier=earlier))
        return taken
