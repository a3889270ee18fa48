"""Writes what attempts have collected, those that come together in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import structlog

from rota.agents.journal.steps import Step
from rota.domain.errors import RotaError
from rota.domain.text.storable import storable_json, storable_text
from rota.security.gate.calls import StepKey
from rota.services.runs.batches import GROUP_SIZE, Groups
from rota.store.database import Database
from rota.store.runs import journals as rows
from rota.store.runs.journals import AuditRow, JournalRows, StepRow, UsageRow
from rota.store.runs.rows import Claim

if TYPE_CHECKING:
    from rota.services.runs.recorder import RunRecorder

FLUSH_AFTER: Final = 0.1
"""Seconds that a finished step may wait for others to be written with."""

log = structlog.get_logger(__name__)


class FencedError(RotaError):
    """Another attempt has taken the run; this one must stop and may write nothing more."""


@dataclass(slots=True)
class Unwritten:
    """What an attempt has collected and not written yet."""

    snapshot: Mapping[str, Any] | None = None
    steps: dict[StepKey, Step] = field(default_factory=dict)
    audit: list[AuditRow] = field(default_factory=list)
    usage: dict[StepKey, UsageRow] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.steps or self.audit or self.usage)

    def rows(self, claim: Claim) -> JournalRows:
        """Return it as rows."""
        return JournalRows(
            claim,
            self.snapshot,
            [step_row(step) for step in self.steps.values()],
            self.audit,
            list(self.usage.values()),
        )

    def before(self, later: Unwritten) -> Unwritten:
        """Return this, followed by what was collected later."""
        return Unwritten(
            self.snapshot or later.snapshot,
            self.steps | later.steps,
            self.audit + later.audit,
            self.usage | later.usage,
        )


class JournalWriter:
    """Writes the journals of the runs of one loop."""

    def __init__(self, database: Database, *, group_size: int = GROUP_SIZE) -> None:
        self._database = database
        self._groups: Groups[RunRecorder, bool] = Groups(
            self._write_all, size=group_size, more_to_come=lambda _waiting: False
        )
        self._dirty: dict[RunRecorder, None] = {}
        self._writing: set[RunRecorder] = set()
        self._settled: WeakSet[RunRecorder] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()

    def soon(self, recorder: RunRecorder) -> None:
        """Write what this one has collected within `FLUSH_AFTER`, with that of others."""
        self._dirty[recorder] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self._begin)

    async def now(self, recorder: RunRecorder) -> None:
        """Write what this one has collected; raises FencedError if its run is lost, or over."""
        self._dirty.pop(recorder, None)
        if recorder in self._settled:
            raise FencedError("This run is over.")
        await self._submit(recorder)

    async def settle(self, recorder: RunRecorder) -> None:
        """Write nothing more for this one, and wait for what is being written.

        What it has left is for whoever stores its result: a write of it that came after would be
        fenced, and lost.
        """
        self._settled.add(recorder)
        self._dirty.pop(recorder, None)
        if recorder in self._writing:
            # What fails here was given back: it is for the result's transaction to say so.
            await asyncio.gather(self._groups.submit(recorder), return_exceptions=True)

    def forget(self, recorder: RunRecorder) -> None:
        """Leave what this one has collected unwritten."""
        self._dirty.pop(recorder, None)

    def _begin(self) -> None:
        self._timer = None
        recorders, self._dirty = list(self._dirty), {}
        for recorder in recorders:
            task = asyncio.create_task(self._flush(recorder))
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)

    async def _submit(self, recorder: RunRecorder) -> None:
        if not await self._groups.submit(recorder):
            raise FencedError("Another attempt has taken this run.")

    async def _flush(self, recorder: RunRecorder) -> None:
        try:
            await self._submit(recorder)
        except FencedError:
            recorder.lose()
            log.warning("journal_fenced", run_id=str(recorder.run_id))
        except Exception as error:  # noqa: BLE001  kept in memory: the next flush, or the result's transaction, writes it or fails the run
            log.warning("journal_flush_failed", run_id=str(recorder.run_id), error=str(error))
            self.soon(recorder)

    async def _write_all(self, recorders: Sequence[RunRecorder]) -> Sequence[bool]:
        """Write; returns of each whether its attempt still holds its run."""
        journals = {
            recorder: recorder.take()
            for recorder in dict.fromkeys(recorders)
            if recorder.is_dirty and recorder not in self._settled
        }
        if not journals:
            return [True] * len(recorders)
        self._writing = set(journals)
        try:
            async with self._database.connection() as conn:  # one statement: a transaction
                written = await rows.write_journals(
                    conn, [unwritten.rows(r.claim) for r, unwritten in journals.items()]
                )
        except BaseException:
            for recorder, unwritten in journals.items():
                recorder.give_back(unwritten)
            raise
        finally:
            self._writing = set()
        for recorder in journals:
            recorder.counted(written.days)
        return [r not in journals or r.run_id in written.held for r in recorders]


def step_row(step: Step) -> StepRow:
    """Return a step as its row; names and ids are a model's, errors a server's: any text."""
    return StepRow(
        model_step=step.key.model_step,
        call_index=step.key.call_index,
        kind=step.kind,
        name=storable_text(step.name),
        status=step.status,
        tool_call_id=storable_text(step.tool_call_id) if step.tool_call_id else None,
        request=step.request,
        response=step.response,
        usage=step.usage,
        cost_usd=step.cost_usd,
        attempts=storable_json(step.attempts),
        error=storable_text(step.error) if step.error else None,
        started_at=step.started_at,
        finished_at=step.finished_at,
    )
