"""Writes the steps, audit rows and usage of many attempts in one transaction.

Each attempt collects into a `WriteBuffer`; the `JournalWriter` of an event loop writes the buffers
in batches, and only while their attempts hold their runs. When an attempt
ends, `ResultWriter` writes the rest of its buffer together with its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final
from weakref import WeakSet

import structlog

from rota.domain.runs.limits import SCHEDULES, YOURS, Spent
from rota.domain.runs.run import Claim, FencedError, Run
from rota.domain.runs.steps import Step, StepKey
from rota.services.runs.batches import BATCH_SIZE, Batcher, Locked
from rota.store.database import Database
from rota.store.runs import journals as rows
from rota.store.runs.journals import AuditRow, JournalRows, UsageRow
from rota.store.runs.rows import list_held

FLUSH_AFTER: Final = 0.1
"""Seconds that a finished step may wait for others to be written with."""

log = structlog.get_logger(__name__)


class WriteBuffer:
    """The rows that one attempt has collected and not written yet.

    `day` is the day, in the owner's time zone, that the run's usage counts towards. `spent_today`
    are the totals of that day when usage was last written, for the run's owner and its schedule.
    """

    def __init__(self, writer: JournalWriter, run: Run, claim: Claim, *, day: date) -> None:
        self._writer = writer
        self.run: Final = run
        self.claim: Final = claim
        self.day: Final = day
        self.snapshot: Mapping[str, Any] | None = None
        self.spent_today: Mapping[str, Spent] = {}
        self.is_lost = False
        self._steps: dict[StepKey, Step] = {}
        self._audit: list[AuditRow] = []
        self._usage: dict[int, UsageRow] = {}

    def keep_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Write what the attempt runs with, together with the first thing that it writes.

        An attempt that dies before that has left nothing that a later one could go on from.
        """
        self.snapshot = snapshot

    def add(
        self,
        *,
        step: Step | None = None,
        audit: Sequence[AuditRow] = (),
        usage: UsageRow | None = None,
    ) -> None:
        """Collect a step in place of an earlier one of its key, audit rows, and what was used.

        They are written within `FLUSH_AFTER`.
        """
        if step is not None:
            self._steps[step.key] = step
        if usage is not None:
            self._usage[usage.model_step] = usage
        self._audit += audit
        self._writer.soon(self)

    async def flush(self) -> None:
        """Write everything collected so far; raises FencedError if the run is lost, or over."""
        await self._writer.now(self)

    async def settle(self) -> None:
        """Write nothing more by itself: what is left is taken, and written with the result."""
        await self._writer.settle(self)

    def reopen(self) -> None:
        """Write by itself again: its result could not be stored."""
        self._writer.reopen(self)

    def close(self) -> None:
        """Write nothing more; what is not written by now stays unwritten."""
        self._writer.forget(self)

    @property
    def is_dirty(self) -> bool:
        """Whether there is anything to write; a snapshot waits for company."""
        return bool(self._steps or self._audit or self._usage)

    def take(self) -> JournalRows:
        """Take what is collected, to write it; `give_back` what was not."""
        taken = JournalRows(
            self.claim,
            self.snapshot,
            list(self._steps.values()),
            self._audit,
            list(self._usage.values()),
        )
        self.snapshot, self._steps, self._audit, self._usage = None, {}, [], {}
        return taken

    def give_back(self, taken: JournalRows) -> None:
        """Collect again what could not be written, before what was collected since."""
        self.snapshot = taken.snapshot or self.snapshot
        self._steps = {step.key: step for step in taken.steps} | self._steps
        self._audit = [*taken.audit, *self._audit]
        self._usage = {used.model_step: used for used in taken.usage} | self._usage

    def counted(self, days: rows.Days) -> None:
        """Take note of what the days have come to, where this run's use was just added."""
        for whose, schedule_id in ((YOURS, None), (SCHEDULES, self.run.schedule_id)):
            spent = days.get((self.run.user_id, self.day, schedule_id))
            if spent is not None:
                self.spent_today = {**self.spent_today, whose: spent}


class JournalWriter:
    """Writes the buffers of the attempts of one event loop."""

    def __init__(self, database: Database, *, batch_size: int = BATCH_SIZE) -> None:
        self._database = database
        self._batches: Batcher[WriteBuffer, bool] = Batcher(
            self._write_all, size=batch_size, more_to_come=lambda _waiting: False
        )
        self._dirty: dict[WriteBuffer, None] = {}
        self._writing: set[WriteBuffer] = set()
        self._settled: WeakSet[WriteBuffer] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()

    @property
    def is_behind(self) -> bool:
        """Whether more wait than the next transaction takes."""
        return self._batches.is_behind

    def soon(self, buffer: WriteBuffer) -> None:
        """Write what this one has collected within `FLUSH_AFTER`, with that of others."""
        self._dirty[buffer] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self._begin)

    async def now(self, buffer: WriteBuffer) -> None:
        """Write what this one has collected; raises FencedError if its run is lost, or over."""
        self._dirty.pop(buffer, None)
        if buffer in self._settled:
            raise FencedError("This run is over.")
        await self._submit(buffer)

    async def settle(self, buffer: WriteBuffer) -> None:
        """Write nothing more for this one, and wait for what is being written.

        What it has left is for whoever stores its result: a write of it that came after would be
        fenced, and lost.
        """
        self._settled.add(buffer)
        self._dirty.pop(buffer, None)
        if buffer in self._writing:
            # What fails here was given back: it is for the result's transaction to say so.
            await asyncio.gather(self._batches.submit(buffer), return_exceptions=True)

    def reopen(self, buffer: WriteBuffer) -> None:
        """Write for this one again."""
        self._settled.discard(buffer)

    def forget(self, buffer: WriteBuffer) -> None:
        """Leave what this one has collected unwritten."""
        self._dirty.pop(buffer, None)

    def _begin(self) -> None:
        self._timer = None
        buffers, self._dirty = list(self._dirty), {}
        for buffer in buffers:
            task = asyncio.create_task(self._flush(buffer))
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)

    async def _submit(self, buffer: WriteBuffer) -> None:
        if not await self._batches.submit(buffer):
            raise FencedError("Another attempt has taken this run.")

    async def _flush(self, buffer: WriteBuffer) -> None:
        try:
            await self._submit(buffer)
        except FencedError:  # the next step that is recorded stops its attempt
            log.warning("journal_fenced", run_id=str(buffer.run.id))
        except Exception as error:  # noqa: BLE001  kept in memory: the next flush, or the result's transaction, writes it or fails the run
            log.warning("journal_flush_failed", run_id=str(buffer.run.id), error=str(error))
            self.soon(buffer)

    async def _write_all(self, buffers: Sequence[WriteBuffer]) -> Sequence[bool | Locked]:
        """Write; returns of each whether its attempt still holds its run, or LOCKED."""
        taken = {
            buffer: buffer.take()
            for buffer in dict.fromkeys(buffers)
            if buffer.is_dirty and buffer not in self._settled
        }
        if not taken:  # an earlier batch has written it, or has found its run lost
            return [not buffer.is_lost for buffer in buffers]
        self._writing = set(taken)
        try:
            async with self._database.connection() as conn:  # one statement: a transaction
                written = await rows.write_journals(conn, list(taken.values()))
                missing = [b.claim for b in taken if b.run.id not in written.held]
                locked = await list_held(conn, missing) if missing else frozenset()
        except BaseException:
            for buffer, journal in taken.items():
                buffer.give_back(journal)
            raise
        finally:
            self._writing = set()
        for buffer, journal in taken.items():
            if buffer.run.id in locked:
                buffer.give_back(journal)
            elif buffer.run.id not in written.held:
                buffer.is_lost = True  # also for who waits for a later batch, with nothing to write
            buffer.counted(written.days)
        return [
            Locked.LOCKED if buffer.run.id in locked else not buffer.is_lost for buffer in buffers
        ]
