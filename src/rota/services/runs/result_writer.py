"""Stores how runs ended: journal, result, end of the run and notifications, in batches.

Everything of a run commits together, or nothing. Twenty runs share a transaction, or as many as end
within five milliseconds; one that cannot be stored fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from rota.domain.notifications.notification import Category, NewNotification
from rota.domain.runs.options import MOST_RETRIES, RunOptions
from rota.domain.runs.run import Claim, FencedError, Outcome, ResultStatus, Run, Trigger
from rota.domain.schedules.schedule import Schedule
from rota.domain.text.storable import RESULT_CONTENT_LIMIT, cut, storable_text
from rota.security.secrets.redaction import redact_text
from rota.services.notifications.service import NotificationService, draft
from rota.services.runs.batches import BATCH_SIZE, BATCH_WAIT, Batcher
from rota.services.runs.endings import Ending, metadata_of, notices_of
from rota.services.runs.recorder import RunRecorder
from rota.services.runs.unwritten import Unwritten
from rota.store.approvals import actions as action_rows
from rota.store.database import Connection, Database
from rota.store.runs import journals as journal_rows
from rota.store.runs import results as result_rows
from rota.store.runs import rows as run_rows
from rota.store.runs.rows import Ended
from rota.store.schedules import rows as schedule_rows

PAUSED: Final = "The schedule is paused until then: `rota schedules resume {}` starts it again."

RETRY_DELAYS: Final = tuple(
    min(timedelta(minutes=2**retry), timedelta(hours=1)) for retry in range(MOST_RETRIES)
)
"""How long after a failure for a passing reason a run is run again, the first time and later."""

_COUNTED: Final = frozenset({Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY})
"""Runs that count towards `pause_after_failures`: those that the schedule itself started."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over, to be stored."""

    run: Run
    schedule: Schedule | None
    claim: Claim
    recorder: RunRecorder
    options: RunOptions
    ending: Ending
    duration_ms: int


class ResultWriter:
    """Stores finished runs. `more_to_come` says whether others may end soon."""

    def __init__(
        self,
        database: Database,
        notifications: NotificationService,
        *,
        clock: Callable[[], datetime],
        random: Callable[[], float],
        more_to_come: Callable[[int], bool],
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._clock = clock
        self._random = random
        self._batches = Batcher[Finished, Outcome](
            self._store_all, size=batch_size, wait=BATCH_WAIT, more_to_come=more_to_come
        )

    async def store(self, finished: Finished) -> Outcome:
        """Store one run, with others; raises FencedError if its attempt no longer holds it."""
        return await self._batches.submit(finished)

    async def _store_all(self, batch: Sequence[Finished]) -> list[Outcome]:
        await asyncio.gather(*(finished.recorder.settle() for finished in batch))
        unwritten = {finished.recorder: finished.recorder.take() for finished in batch}
        try:
            outcomes = await self._store(batch, unwritten)
        except BaseException:
            for recorder, collected in unwritten.items():
                recorder.give_back(collected)
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

    async def _store(
        self, batch: Sequence[Finished], unwritten: Mapping[RunRecorder, Unwritten]
    ) -> list[Outcome]:
        """Store a batch; only where notifications fail is a savepoint for each worth its price."""
        try:
            async with self._database.transaction() as conn:
                outcomes, notices = await self._write(conn, batch, unwritten)
                with _telling():
                    await self._notifications.write(conn, [n for own in notices for n in own])
                return outcomes
        except _UntoldError as error:
            log.warning("notifications_failed", count=len(batch), error=_said(error.reason))
        async with self._database.transaction() as conn:
            outcomes, notices = await self._write(conn, batch, unwritten)
            return [
                await self._notify_alone(conn, outcome, own)
                for outcome, own in zip(outcomes, notices, strict=True)
            ]

    async def _write(
        self,
        conn: Connection,
        batch: Sequence[Finished],
        unwritten: Mapping[RunRecorder, Unwritten],
    ) -> tuple[list[Outcome], list[list[NewNotification]]]:
        """Write all but the notifications; returns these with the outcomes."""
        # Schedules' rows before runs', as schedulers lock them, and each kind in one order.
        ordered = sorted(batch, key=lambda finished: str(finished.run.schedule_id))
        pauses = {finished.run.id: await self._pause(conn, finished) for finished in ordered}
        journals = [replace(u.rows(r.claim), snapshot=None) for r, u in unwritten.items()]
        written = await journal_rows.write_journals(conn, journals)
        if len(written.held) < len(batch):
            raise FencedError("Another attempt has taken this run.")
        ends = [
            await self._ended(conn, finished, unwritten[finished.recorder]) for finished in batch
        ]
        stored = await run_rows.finish_runs(conn, ends)
        if len(stored) < len(batch):
            raise FencedError("Another attempt has taken this run.")
        outcomes = [
            Outcome(
                run_id=finished.run.id,
                result_id=stored[finished.run.id].id,
                session_id=finished.run.session_id,
                agent_name=finished.run.agent_name,
                status=end.status,
                content=end.content,
                pending_actions_created=stored[finished.run.id].pending,
                duration_ms=end.duration_ms,
                metadata=end.metadata,
            )
            for finished, end in zip(batch, ends, strict=True)
        ]
        asking = [outcome.run_id for outcome in outcomes if outcome.pending_actions_created]
        requests = await action_rows.requests_of(conn, asking) if asking else {}
        notices = [
            [
                *notices_of(
                    outcome,
                    finished.run.user_id,
                    finished.schedule.name if finished.schedule else None,
                    finished.schedule.result_category
                    if finished.schedule
                    else Category.AGENT_RESULT,
                    requests.get(outcome.run_id, ()),
                ),
                *pauses[finished.run.id],
            ]
            for finished, outcome in zip(batch, outcomes, strict=True)
        ]
        return outcomes, notices

    async def _ended(self, conn: Connection, finished: Finished, unwritten: Unwritten) -> Ended:
        ending, schedule = finished.ending, finished.schedule
        text = ending.content
        if ending.pause_note is not None and schedule is not None:
            text = f"{text} {PAUSED.format(schedule.name)}"
        content = cut(storable_text(text), RESULT_CONTENT_LIMIT)
        now = self._clock()
        metadata = metadata_of(finished.run, finished.claim, ending, now)
        if content.truncated:
            metadata |= {"truncated": True, "original_length": content.original_length}
        metadata |= await self._retry(conn, finished, now)
        return Ended(
            finished.claim,
            content.text,
            ending.status,
            finished.duration_ms,
            metadata,
            unwritten.snapshot,
        )

    async def _retry(self, conn: Connection, finished: Finished, now: datetime) -> dict[str, Any]:
        """Write a later run for one that failed for a passing reason, where its options ask."""
        run, left = finished.run, finished.options.retries or 0
        if not finished.ending.passing or left < 1:
            return {}
        # Those that failed together part ways.
        times = [now + delay * (1 + 0.2 * self._random()) for delay in RETRY_DELAYS]
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

    async def _pause(self, conn: Connection, finished: Finished) -> list[NewNotification]:
        """Pause the schedule if this ending asks for it; returns what its owner is yet to hear."""
        schedule, ending = finished.schedule, finished.ending
        if schedule is None:
            return []
        if ending.pause_note is not None:
            await schedule_rows.pause(conn, schedule.id, ending.pause_note)
            return []
        if schedule.policy.pause_after_failures is None or not _counts(finished):
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
                finished.run.user_id,
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
            text = _said(error)
            log.warning("notification_failed", run_id=str(outcome.run_id), error=text)
            await result_rows.note_notification_error(conn, outcome.result_id, text)
            return replace(outcome, metadata={**outcome.metadata, "notification_error": text})
        return outcome


class _UntoldError(Exception):
    """Notifications could not be written."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _UntoldError(error) from error


def _counts(finished: Finished) -> bool:
    """Return whether a run counts towards its schedule's failures in a row: once per fire."""
    by_person = finished.run.trigger is Trigger.RETRY and finished.run.fire_time is None
    if finished.run.trigger not in _COUNTED or by_person:
        return False
    return not (finished.ending.passing and (finished.options.retries or 0) > 0)


def _said(error: Exception) -> str:
    return redact_text(f"{type(error).__name__}: {error}")[:500]
