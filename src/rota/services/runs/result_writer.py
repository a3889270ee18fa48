"""Stores how runs ended: journal, result, end of the run and notifications, in batches.

Everything of a run commits together, or nothing. Twenty runs share a transaction, or as many as end
within five milliseconds; one that cannot be stored fails alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import structlog

from rota.domain.ids import ResultId
from rota.domain.notifications.notification import Category, NewNotification
from rota.domain.runs.options import MOST_RETRIES, RunOptions
from rota.domain.runs.run import FencedError, Outcome, ResultStatus, Trigger
from rota.domain.text.storable import RESULT_CONTENT_LIMIT, cut, storable_text
from rota.security.secrets.redaction import redact_error
from rota.services.notifications.service import NotificationService, draft
from rota.services.runs.batches import BATCH_SIZE, BATCH_WAIT, Batcher
from rota.services.runs.endings import Ending, metadata_of, notices_of
from rota.services.runs.intake import TakenRun
from rota.services.runs.journal_writer import WriteBuffer
from rota.store.approvals import actions as action_rows
from rota.store.database import Connection, Database
from rota.store.runs import journals as journal_rows
from rota.store.runs import results as result_rows
from rota.store.runs import rows as run_rows
from rota.store.runs.journals import JournalRows
from rota.store.schedules import rows as schedule_rows

PAUSED: Final = "The schedule is paused until then: `rota schedules resume {}` starts it again."

RETRY_DELAYS: Final = tuple(
    min(timedelta(minutes=2**retry), timedelta(hours=1)) for retry in range(MOST_RETRIES)
)
"""How long after a failure for a passing reason a run is run again, the first time and later."""

_COUNTED: Final = frozenset({Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY})
"""Runs that count towards `pause_after_failures`: those that the schedule itself started."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedAttempt:
    """An attempt that is over, to be stored with what its buffer has left."""

    taken: TakenRun
    buffer: WriteBuffer
    options: RunOptions
    ending: Ending
    duration_ms: int


Left = Mapping[FinishedAttempt, JournalRows]
"""What each attempt has collected and not written yet."""


class ResultWriter:
    """Stores finished runs. `more_to_come` says whether others may end soon."""

    def __init__(
        self,
        database: Database,
        notifications: NotificationService,
        *,
        clock: Callable[[], datetime],
        more_to_come: Callable[[int], bool],
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._clock = clock
        self._batches = Batcher[FinishedAttempt, Outcome](
            self._store_all, size=batch_size, wait=BATCH_WAIT, more_to_come=more_to_come
        )

    async def store(self, attempt: FinishedAttempt) -> Outcome:
        """Store one run, with others; raises FencedError if its attempt no longer holds it."""
        return await self._batches.submit(attempt)

    async def _store_all(self, batch: Sequence[FinishedAttempt]) -> list[Outcome]:
        await asyncio.gather(*(attempt.buffer.settle() for attempt in batch))
        left = {attempt: attempt.buffer.take() for attempt in batch}
        try:
            outcomes = await self._store(batch, left)
        except BaseException:
            for attempt, journal in left.items():
                attempt.buffer.give_back(journal)
            raise
        for outcome in outcomes:
            log.info(
                "run_finished",
                run_id=str(outcome.run_id),
                agent=outcome.agent_name,
                status=outcome.status.value,
                attempt=outcome.metadata["attempt"],
                duration_ms=outcome.duration_ms,
            )
        return outcomes

    async def _store(self, batch: Sequence[FinishedAttempt], left: Left) -> list[Outcome]:
        """Store a batch; only where notifications fail is a savepoint for each worth its price."""
        try:
            async with self._database.transaction() as conn:
                outcomes, notices = await self._write(conn, batch, left)
                try:
                    await self._notifications.write(conn, [n for own in notices for n in own])
                except Exception as error:
                    text = redact_error(error, 500)
                    log.warning("notifications_failed", count=len(batch), error=text)
                    raise _UntoldError from error
                return outcomes
        except _UntoldError:
            pass
        async with self._database.transaction() as conn:
            outcomes, notices = await self._write(conn, batch, left)
            return [
                await self._notify_alone(conn, outcome, own)
                for outcome, own in zip(outcomes, notices, strict=True)
            ]

    async def _write(
        self, conn: Connection, batch: Sequence[FinishedAttempt], left: Left
    ) -> tuple[list[Outcome], list[list[NewNotification]]]:
        """Write all but the notifications; returns these with the outcomes."""
        # Schedules' rows before runs', as schedulers lock them, and each kind in one order.
        ordered = sorted(batch, key=lambda attempt: str(attempt.taken.run.schedule_id))
        pauses = {attempt: await self._pause(conn, attempt) for attempt in ordered}
        journals = [replace(journal, snapshot=None) for journal in left.values()]
        written = await journal_rows.write_journals(conn, journals)
        if len(written.held) < len(batch):
            raise FencedError("Another attempt has taken this run.")
        drafts = [await self._outcome(conn, attempt) for attempt in batch]
        ends = [
            (attempt.taken.claim.token, draft, left[attempt].snapshot)
            for attempt, draft in zip(batch, drafts, strict=True)
        ]
        asked_for = await run_rows.finish_runs(conn, ends)
        if len(asked_for) < len(batch):
            raise FencedError("Another attempt has taken this run.")
        outcomes = [replace(o, pending_actions_created=asked_for[o.run_id]) for o in drafts]
        asking = [outcome.run_id for outcome in outcomes if outcome.pending_actions_created]
        requests = await action_rows.list_waiting_requests(conn, asking) if asking else {}
        notices = [
            [
                *notices_of(
                    outcome,
                    attempt.taken.run.user_id,
                    attempt.taken.schedule.name if attempt.taken.schedule else None,
                    attempt.taken.schedule.result_category
                    if attempt.taken.schedule
                    else Category.AGENT_RESULT,
                    requests.get(outcome.run_id, ()),
                ),
                *pauses[attempt],
            ]
            for attempt, outcome in zip(batch, outcomes, strict=True)
        ]
        return outcomes, notices

    async def _outcome(self, conn: Connection, attempt: FinishedAttempt) -> Outcome:
        """Return the outcome to store; a retry of the run is written, where it is to be retried."""
        ending, schedule, run = attempt.ending, attempt.taken.schedule, attempt.taken.run
        text = ending.content
        if ending.pause_note is not None and schedule is not None:
            text = f"{text} {PAUSED.format(schedule.name)}"
        content = cut(storable_text(text), RESULT_CONTENT_LIMIT)
        now = self._clock()
        metadata = metadata_of(run, attempt.taken.claim, ending, now)
        if content.truncated:
            metadata |= {"truncated": True, "original_length": content.original_length}
        metadata |= await self._retry(conn, attempt, now)
        return Outcome(
            run_id=run.id,
            result_id=ResultId(uuid4()),
            session_id=run.session_id,
            agent_name=run.agent_name,
            status=ending.status,
            content=content.text,
            pending_actions_created=0,  # as far as is known before it is stored
            duration_ms=attempt.duration_ms,
            metadata=metadata,
        )

    async def _retry(
        self, conn: Connection, attempt: FinishedAttempt, now: datetime
    ) -> dict[str, Any]:
        """Write a later run for one that failed for a passing reason, where its options ask."""
        run, left = attempt.taken.run, attempt.options.retries or 0
        if not attempt.ending.passing or left < 1:
            return {}
        # Those that failed together part ways.
        times = [now + delay * (1 + 0.2 * random.random()) for delay in RETRY_DELAYS]
        retry = await run_rows.insert_retry(
            conn,
            run,
            options={**(run.options or {}), "retries": left - 1},
            times=times,
        )
        if retry is None:
            return {}
        retry_id, at = retry
        return {
            "retry_at": at.astimezone(UTC).isoformat(timespec="seconds"),
            "retry_run_id": str(retry_id),
        }

    async def _pause(self, conn: Connection, attempt: FinishedAttempt) -> list[NewNotification]:
        """Pause the schedule if this ending asks for it; returns what its owner is yet to hear."""
        schedule, ending = attempt.taken.schedule, attempt.ending
        if schedule is None:
            return []
        if ending.pause_note is not None:
            await schedule_rows.pause(conn, schedule.id, ending.pause_note)
            return []
        if schedule.policy.pause_after_failures is None or not _counts(attempt):
            return []
        failed = ending.status is ResultStatus.ERROR and "cancelled" not in ending.extra
        counted = await schedule_rows.count_failure(conn, schedule.id, failed=failed)
        if not failed or counted is None or counted[0] < counted[1]:
            return []
        note = f"{counted[0]} runs in a row failed."
        if not await schedule_rows.pause(conn, schedule.id, note):
            return []
        return [
            draft(
                attempt.taken.run.user_id,
                f"{schedule.name} is paused",
                f"{note} {PAUSED.format(schedule.name)}",
                category=Category.ERROR,
                metadata={"schedule_id": str(schedule.id)},
            )
        ]

    async def _notify_alone(
        self, conn: Connection, outcome: Outcome, notices: Sequence[NewNotification]
    ) -> Outcome:
        try:
            async with conn.transaction():
                await self._notifications.write(conn, notices)
        except Exception as error:  # noqa: BLE001  SPEC-003: a failing NotificationService never costs the result
            text = redact_error(error, 500)
            log.warning("notification_failed", run_id=str(outcome.run_id), error=text)
            await result_rows.note_notification_error(conn, outcome.result_id, text)
            return replace(outcome, metadata={**outcome.metadata, "notification_error": text})
        return outcome


class _UntoldError(Exception):
    """Notifications could not be written."""


def _counts(attempt: FinishedAttempt) -> bool:
    """Return whether a run counts towards its schedule's failures in a row: once per fire."""
    run = attempt.taken.run
    by_person = run.trigger is Trigger.RETRY and run.fire_time is None
    if run.trigger not in _COUNTED or by_person:
        return False
    return not (attempt.ending.passing and (attempt.options.retries or 0) > 0)
