"""Stores how runs ended: journal, result, end of the run and notifications, in batches.

All rows of a run commit together, or none. Up to twenty runs that end within five milliseconds
share a transaction. A run that cannot be stored fails alone; a run whose rows are locked is set
aside. Locks are taken on schedules first, then on runs, as everywhere in rota.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import structlog

from rota.domain.ids import ResultId
from rota.domain.notifications.notification import Category, NewNotification
from rota.domain.runs.options import MOST_RETRIES, RunOptions
from rota.domain.runs.run import FencedError, Outcome, ResultStatus, Trigger
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import (
    RESULT_CONTENT_LIMIT,
    WHOLE_RESULT_LIMIT,
    cut,
    storable_text,
)
from rota.security.secrets.redaction import redact_error
from rota.services.notifications.service import NotificationService, draft
from rota.services.runs.batches import BATCH_SIZE, BATCH_WAIT, Batcher, Locked
from rota.services.runs.endings import Ending, has_failed, metadata_of, notices_of
from rota.services.runs.intake import TakenRun
from rota.services.runs.journal_writer import WriteBuffer
from rota.store.approvals import actions as action_rows
from rota.store.database import Connection, Database
from rota.store.runs import journals as journal_rows
from rota.store.runs import results as result_rows
from rota.store.runs import rows as run_rows
from rota.store.runs.journals import JournalRows
from rota.store.schedules import rows as schedule_rows
from rota.store.schedules.rows import ResultLocks

PAUSED: Final = "The schedule stays paused until you type `rota schedules resume {}`."

RETRY_DELAYS: Final = tuple(
    min(timedelta(minutes=2**retry), timedelta(hours=1)) for retry in range(MOST_RETRIES)
)
"""How long after a failure for a passing reason a run is run again, the first time and later."""

_COUNTED: Final = frozenset({Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RETRY})
"""Runs that count towards `pause_after_failures`: those that the schedule itself started."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedAttempt:
    """An attempt that has ended, to be stored with the rest of its buffer."""

    taken: TakenRun
    buffer: WriteBuffer
    options: RunOptions
    ending: Ending
    duration_ms: int


_LONGEST_REASON: Final = 200
"""Characters of why a run failed, in the line of the log."""

PATIENCE: Final = 30.0
"""Seconds that a result is kept back by a lock; then its run makes room for others."""

Left = Mapping[FinishedAttempt, JournalRows]
"""What each attempt has collected and not written yet."""


class ResultWriter:
    """Stores finished runs. `more_to_come` says whether other runs may end soon."""

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
            self._store_all,
            size=batch_size,
            wait=BATCH_WAIT,
            more_to_come=more_to_come,
            patience=PATIENCE,
        )

    @property
    def is_behind(self) -> bool:
        """Whether more wait than the next transaction takes."""
        return self._batches.is_behind

    async def store(self, attempt: FinishedAttempt) -> Outcome:
        """Store one run, with others; raises FencedError if its attempt no longer holds it.

        Raises RowsLockedError where another session keeps the run or its schedule locked.
        """
        return await self._batches.submit(attempt)

    async def _store_all(self, batch: Sequence[FinishedAttempt]) -> list[Outcome | Locked]:
        await asyncio.gather(*(attempt.buffer.settle() for attempt in batch))
        left = {attempt: attempt.buffer.take() for attempt in batch}
        outcomes: Mapping[FinishedAttempt, Outcome] = {}
        try:
            outcomes = await self._store(left)
        finally:
            for attempt, journal in left.items():
                if attempt not in outcomes:
                    attempt.buffer.give_back(journal)
        for attempt, outcome in outcomes.items():
            say = log.warning if has_failed(outcome) else log.info
            say(
                "run_ended",
                **attempt.taken.as_logged(),
                status="cancelled" if "cancelled" in outcome.metadata else outcome.status.value,
                duration_ms=outcome.duration_ms,
                requests=outcome.pending_actions_created,
                **(
                    {"reason": shorten(outcome.content, _LONGEST_REASON)}
                    if has_failed(outcome)
                    else {}
                ),
            )
        return [outcomes.get(attempt, Locked.LOCKED) for attempt in batch]

    async def _store(self, left: Left) -> dict[FinishedAttempt, Outcome]:
        """Store what nobody has locked; where notifications fail, with a savepoint for each."""
        try:
            async with self._database.transaction() as conn:
                stored = await self._write(conn, left)
                try:
                    notices = [notice for _, own in stored.values() for notice in own]
                    await self._notifications.write(conn, notices)
                except Exception as error:
                    text = redact_error(error, 500)
                    log.warning("notifications_failed", count=len(stored), error=text)
                    raise _UntoldError from error
                return {attempt: outcome for attempt, (outcome, _) in stored.items()}
        except _UntoldError:
            pass
        async with self._database.transaction() as conn:
            return {
                attempt: await self._notify_alone(conn, outcome, own)
                for attempt, (outcome, own) in (await self._write(conn, left)).items()
            }

    async def _write(
        self, conn: Connection, left: Left
    ) -> dict[FinishedAttempt, tuple[Outcome, list[NewNotification]]]:
        """Write what nobody has locked, but not the notifications; returns these, and outcomes."""
        locks = await self._lock_schedules(conn, left)
        batch = [a for a in left if a.taken.run.schedule_id not in locks.locked]
        journals = [replace(left[attempt], snapshot=None) for attempt in batch]
        held = (await journal_rows.write_journals(conn, journals)).held
        if missing := [a.taken.claim for a in batch if a.taken.run.id not in held]:
            if len(await run_rows.list_held(conn, missing)) < len(missing):
                raise FencedError("Another attempt has taken this run.")
            batch = [attempt for attempt in batch if attempt.taken.run.id in held]
        if not batch:
            return {}
        ordered = sorted(batch, key=lambda attempt: str(attempt.taken.run.schedule_id))
        pauses = {attempt: await self._pause(conn, attempt, locks) for attempt in ordered}
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
        return dict(zip(batch, zip(outcomes, notices, strict=True), strict=True))

    async def _lock_schedules(
        self, conn: Connection, attempts: Iterable[FinishedAttempt]
    ) -> ResultLocks:
        schedules, failing, recovering = set(), set(), set()
        for attempt in attempts:
            schedule_id = attempt.taken.run.schedule_id
            if schedule_id is None:
                continue
            schedules.add(schedule_id)
            if attempt.ending.pause_note is not None or (_counts(attempt) and _failed(attempt)):
                failing.add(schedule_id)
            elif _counts(attempt):
                recovering.add(schedule_id)
        if not schedules:
            return ResultLocks(frozenset(), frozenset())
        return await schedule_rows.lock_for_results(
            conn, schedules, failing=failing, recovering=recovering
        )

    async def _outcome(self, conn: Connection, attempt: FinishedAttempt) -> Outcome:
        """Return the outcome to store; a retry of the run is written, where it is to be retried."""
        ending, schedule, run = attempt.ending, attempt.taken.schedule, attempt.taken.run
        text = ending.content
        if ending.pause_note is not None and schedule is not None:
            by_itself = f"The schedule is paused. {ending.resumes}" if ending.resumes else ""
            text = f"{text} {by_itself or PAUSED.format(schedule.name)}"
        whole = storable_text(text)
        content = cut(whole, RESULT_CONTENT_LIMIT)
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
            whole=cut(whole, WHOLE_RESULT_LIMIT).text if content.truncated else None,
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

    async def _pause(
        self, conn: Connection, attempt: FinishedAttempt, locks: ResultLocks
    ) -> list[NewNotification]:
        """Pause the schedule if this ending asks for it; returns what its owner is yet to hear."""
        schedule, ending = attempt.taken.schedule, attempt.ending
        if schedule is None or schedule.id not in locks.changed:
            return []
        if ending.pause_note is not None:
            await schedule_rows.pause(conn, schedule.id, ending.pause_note)
            return []
        if not _counts(attempt):
            return []
        failed = _failed(attempt)
        counted = await schedule_rows.count_failure(conn, schedule.id, failed=failed)
        if not failed or counted is None or counted[0] < counted[1]:
            return []
        note = "A run failed." if counted[0] == 1 else f"{counted[0]} runs in a row failed."
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


def _failed(attempt: FinishedAttempt) -> bool:
    return attempt.ending.status is ResultStatus.ERROR and "cancelled" not in attempt.ending.extra


def _counts(attempt: FinishedAttempt) -> bool:
    """Return whether a run counts towards its schedule's failures in a row: once per fire."""
    run, schedule = attempt.taken.run, attempt.taken.schedule
    if schedule is None or schedule.policy.pause_after_failures is None:
        return False
    by_person = run.trigger is Trigger.RETRY and run.fire_time is None
    if run.trigger not in _COUNTED or by_person:
        return False
    return not (attempt.ending.passing and (attempt.options.retries or 0) > 0)
