"""Writes what attempts have collected, those that come together in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import structlog

from rota.domain.runs.run import FencedError
from rota.services.runs.batches import BATCH_SIZE, Batcher
from rota.store.database import Database
from rota.store.runs import journals as rows

if TYPE_CHECKING:
    from rota.services.runs.recorder import RunRecorder

FLUSH_AFTER: Final = 0.1
"""Seconds that a finished step may wait for others to be written with."""

log = structlog.get_logger(__name__)


class JournalWriter:
    """Writes the journals of the runs of one loop."""

    def __init__(self, database: Database, *, batch_size: int = BATCH_SIZE) -> None:
        self._database = database
        self._batches: Batcher[RunRecorder, bool] = Batcher(
            self._write_all, size=batch_size, more_to_come=lambda _waiting: False
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
            await asyncio.gather(self._batches.submit(recorder), return_exceptions=True)

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
        if not await self._batches.submit(recorder):
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
