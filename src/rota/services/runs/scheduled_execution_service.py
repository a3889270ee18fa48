"""Executes a run: load the agent, gate its tools, run it, store the result, tell its owner.

SPEC-003, AC-2 to AC-6. Whatever happens to the agent, one result is stored: an error is a result.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Final
from uuid import uuid4

import structlog

from rota.domain.errors import (
    ConflictError,
    RotaError,
    StatementError,
    SuspendedError,
    UnreadableError,
)
from rota.domain.ids import FencingToken, ResultId, RunId, UserId
from rota.domain.notifications.notification import Category
from rota.domain.runs.run import FencedError, Outcome, ResultStatus, RowsLockedError, Run
from rota.domain.schedules.schedule import Schedule
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import storable_text
from rota.domain.text.zones import zone_shown
from rota.security.secrets.redaction import redact_text
from rota.services.runs.attempt import Attempt, Workbench
from rota.services.runs.batches import BATCH_SIZE
from rota.services.runs.endings import notices_of
from rota.services.runs.intake import Intake, TakenRun
from rota.services.runs.journal_writer import JournalWriter, WriteBuffer
from rota.services.runs.result_writer import FinishedAttempt, ResultWriter
from rota.store.approvals import actions as action_rows
from rota.store.database import despite_deadlocks
from rota.store.runs import results as result_rows
from rota.store.runs import rows as run_rows
from rota.store.schedules import rows as schedule_rows

_LOOK_EVERY: Final = 0.005

_LONGEST_REASON: Final = 900
"""Characters of what is said of a run that is set aside: the note of its schedule has 1,000."""

log = structlog.get_logger(__name__)


class ScheduledExecutionService:
    """Executes runs on one event loop. It keeps no state from one run to the next."""

    def __init__(self, bench: Workbench, *, batch_size: int = BATCH_SIZE) -> None:
        self._bench = bench
        self._journals = JournalWriter(bench.database, batch_size=batch_size)
        self._taking = 0
        self._under_way = 0
        self._intake = Intake(
            bench.database, size=batch_size, more_to_come=lambda waiting: waiting < self._taking
        )
        self._writer = ResultWriter(
            bench.database,
            bench.notifications,
            clock=bench.clock,
            batch_size=batch_size,
            more_to_come=lambda waiting: waiting < self._under_way,
        )

    async def execute(
        self, schedule: Schedule, run: Run | None = None, *, taken: TakenRun | None = None
    ) -> Outcome:
        """Execute a schedule's agent and return the stored outcome.

        `run` is the run that the scheduler made; without one a manual run is made. `taken` is the
        hold on it, if the caller has taken it already. A run that is over is not repeated: its
        stored outcome is returned. Failures of an agent are outcomes, not exceptions.

        Raises SuspendedError when the run is suspended until a decision, and FencedError when
        another attempt has taken the run. Raises UnavailableError when the database is gone, and
        RowsLockedError when another session keeps the run or its schedule locked. After that a
        later attempt stores what is in the journal.
        """
        if run is None:
            return await self._execute(await self._intake.take_new(schedule))
        taken = taken or await self.take(run.id)
        if taken is None:
            return await self._stored_outcome(run.id)
        return await self._execute(replace(taken, schedule=schedule))

    async def execute_run(self, run: Run, *, taken: TakenRun | None = None) -> Outcome:
        """Execute a run that belongs to no schedule (any more), like `execute`."""
        taken = taken or await self.take(run.id)
        return await (self._execute(taken) if taken else self._stored_outcome(run.id))

    async def take(self, run_id: RunId) -> TakenRun | None:
        """Begin a new attempt of a run; None for one that is over, or gone."""
        self._taking += 1
        try:
            return await self._intake.take(run_id)
        finally:
            self._taking -= 1

    async def come_round(self) -> None:
        """Return once the database has answered, and a next transaction has room for a run.

        Raises UnavailableError where no connection can be had.
        """
        await self._bench.database.round_trip()
        writers = (self._intake, self._journals, self._writer)
        while any(one.is_behind for one in writers):  # noqa: ASYNC110  three of them, and seldom
            await asyncio.sleep(_LOOK_EVERY)

    async def set_aside(
        self, run_id: RunId, error: Exception, token: FencingToken | None = None
    ) -> None:
        """End a run that cannot be begun or stored, with an error result that says why.

        Its schedule is paused where rows of it cannot be read: so it would go each time. `token` is
        of the attempt, where the run could be taken.
        """
        reason = shorten(storable_text(redact_text(_why(error))), _LONGEST_REASON)
        log.error("run_set_aside", run_id=str(run_id), reason=reason)

        async def end() -> None:
            async with self._bench.database.transaction() as conn:
                if isinstance(error, UnreadableError):
                    await schedule_rows.pause_of_run(conn, run_id, reason)
                held = await run_rows.hold_run(conn, run_id, token)
                if held is None:
                    return
                outcome = Outcome(
                    run_id=held.run_id,
                    result_id=ResultId(uuid4()),
                    session_id=held.session_id,
                    agent_name=held.agent_name,
                    status=ResultStatus.ERROR,
                    content=reason,
                    pending_actions_created=0,
                    duration_ms=0,
                    metadata={"session_id": held.session_id, "attempt": held.attempt},
                )
                await run_rows.finish_runs(conn, [(held.token, outcome, None)])
                notices = notices_of(outcome, held.user_id, None, Category.ERROR)
                await self._bench.notifications.write(conn, notices)

        await despite_deadlocks(end)

    async def write_missing_notifications(self, *, limit: int = 100) -> int:
        """Write notifications that failed when their results were stored; returns how many."""
        async with self._bench.database.transaction() as conn:
            missing = await result_rows.claim_unnotified(conn, limit=limit)
            requests = await action_rows.list_waiting_requests(
                conn, [RunId(r.run_id) for r in missing]
            )
            for result in missing:
                await self._bench.notifications.write(
                    conn,
                    notices_of(
                        result.outcome,
                        UserId(result.user_id),
                        result.schedule_name,
                        result.result_category,
                        requests.get(RunId(result.run_id), ()),
                    ),
                )
        return len(missing)

    async def _execute(self, taken: TakenRun) -> Outcome:
        started = time.perf_counter()
        day = self._bench.clock().astimezone(zone_shown(taken.owner_zone)).date()
        buffer = WriteBuffer(self._journals, taken.run, taken.claim, day=day)
        attempt = Attempt(self._bench, taken, buffer)
        log.info("run_started", **taken.as_logged())
        self._under_way += 1
        try:
            try:
                ending = await attempt.run()
            except asyncio.CancelledError:  # handed over: what is journalled so far stays
                await asyncio.shield(self._hand_over(buffer))
                raise
            except SuspendedError:
                await self._suspend(buffer, taken)
                raise
            duration_ms = round((time.perf_counter() - started) * 1000)
            try:
                return await self._writer.store(
                    FinishedAttempt(taken, buffer, attempt.options, ending, duration_ms)
                )
            except RowsLockedError:
                buffer.reopen()
                await self._hand_over(buffer)
                raise
        finally:
            self._under_way -= 1
            buffer.close()

    async def _suspend(self, buffer: WriteBuffer, taken: TakenRun) -> None:
        """Park a run, and tell its owner what it waits for."""
        run = buffer.run
        await buffer.flush()
        async with self._bench.database.transaction() as conn:
            if (is_parked := await run_rows.suspend_run(conn, buffer.claim)) is None:
                raise FencedError("Another attempt has taken this run.")
            pending = (await action_rows.list_waiting_requests(conn, [run.id])).get(run.id, ())
            if pending:
                await self._bench.notifications.notify_pending_actions(
                    run.user_id,
                    len(pending),
                    agent_name=run.agent_name,
                    run_id=run.id,
                    requests=pending,
                    conn=conn,
                )
        log.info("run_suspended", **taken.as_logged(), parked=is_parked, pending=len(pending))

    async def _hand_over(self, buffer: WriteBuffer) -> None:
        """Write what is journalled so far; an attempt that lost the run has nothing to write."""
        try:
            await buffer.flush()
            async with self._bench.database.connection() as conn:
                await run_rows.count_hand_over(conn, buffer.claim)
        except FencedError:
            return
        except RotaError as error:
            log.warning("journal_flush_failed", run_id=str(buffer.run.id), error=str(error))

    async def _stored_outcome(self, run_id: RunId) -> Outcome:
        async with self._bench.database.connection() as conn:
            result = await result_rows.fetch_result_of_run(conn, run_id)
        if result is None:
            raise ConflictError("This run was cancelled; it cannot be executed.")
        return result.outcome


def _why(error: Exception) -> str:
    if isinstance(error, StatementError):
        return f"The database refused this run ({error.reason})."
    if isinstance(error, RotaError):
        return error.message
    return f"This run cannot start or be stored ({type(error).__name__}: {error})."
