"""Executes a run: load the agent, gate its tools, run it, store the result, tell its owner.

SPEC-003, AC-2 to AC-6. Whatever happens to the agent, one result is stored: an error is a result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import structlog

from rota.agents.journal import JournalMiddleware, Progress, StepLimitError
from rota.agents.loader import (
    AgentExecutor,
    ModelFactory,
    load_agent_executor_db,
    snapshot_of,
)
from rota.agents.models import classify_model_error
from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.domain.content import RESULT_CONTENT_LIMIT, cut, storable_json, storable_text
from rota.domain.errors import ConflictError, RotaError, SetupRequiredError
from rota.domain.ids import ResultId, RunId, UserId
from rota.domain.notifications import Category
from rota.domain.runs import Outcome, ResultStatus, Run, Trigger
from rota.domain.schedules import Schedule
from rota.security.redaction import redact_text
from rota.security.tool_wrapper import (
    ApprovalContext,
    GateGuard,
    WrappedTools,
    WrappingFailure,
    wrap_tools_with_approval,
)
from rota.services.notification_service import NotificationService
from rota.services.run_recorder import FencedError, RunRecorder
from rota.store import results as result_rows
from rota.store import runs as run_rows
from rota.store import schedules as schedule_rows
from rota.store import users as user_rows
from rota.store.database import Connection, Database
from rota.store.results import Result
from rota.store.runs import Claim

MAX_ATTEMPTS: Final = 5
"""A run whose worker died this often is given up: something in it kills workers."""

_PAUSED: Final = "The schedule is paused until then: `rota schedules resume {}` starts it again."

_COUNTED: Final = frozenset({Trigger.SCHEDULE, Trigger.CATCH_UP})
"""Runs that count towards `pause_after_failures`: those that the schedule itself started."""

UnwrappedTools = Literal["withhold", "allow"]
ToolContextFactory = Callable[[UserId, Callable[[], datetime]], ToolContext]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, before it is stored."""

    status: ResultStatus
    content: str
    progress: Progress = field(default_factory=Progress)
    warnings: tuple[str, ...] = ()
    pause_note: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class ScheduledExecutionService:
    """Executes runs on one event loop; holds no state that matters between them."""

    def __init__(
        self,
        database: Database,
        notifications: NotificationService,
        *,
        registry: ToolRegistry,
        tool_context: ToolContextFactory,
        models: ModelFactory,
        clock: Callable[[], datetime],
        unwrapped_tools: UnwrappedTools = "withhold",
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._registry = registry
        self._tool_context = tool_context
        self._models = models
        self._clock = clock
        self._unwrapped_tools: UnwrappedTools = unwrapped_tools

    async def execute(self, schedule: Schedule, run: Run | None = None) -> Outcome:
        """Execute a schedule's agent and return the stored outcome.

        `run` is the run that the scheduler made; without one a manual run is made. A run that is
        over already is not repeated: its stored outcome is returned. Agent failures are outcomes,
        not exceptions; raises FencedError when another attempt has taken the run, and
        UnavailableError when the database is gone.
        """
        if run is None:
            async with self._database.transaction() as conn:
                run = await run_rows.insert_run(
                    conn,
                    user_id=schedule.user_id,
                    schedule_id=schedule.id,
                    agent_name=schedule.agent_name,
                    prompt=schedule.prompt or "",
                    trigger=Trigger.MANUAL,
                )
                # Taken here and now: no scheduler may admit it meanwhile.
                claim = await run_rows.claim_run(conn, run.id)
            return await self._execute(run, schedule, claim)
        return await self._execute(run, schedule, await self._claim(run.id))

    async def execute_run(self, run: Run) -> Outcome:
        """Execute a run that belongs to no schedule (any more), like `execute`."""
        return await self._execute(run, None, await self._claim(run.id))

    async def write_missing_notifications(self, *, limit: int = 100) -> int:
        """Write notifications that failed when their results were stored; returns how many."""
        async with self._database.transaction() as conn:
            missing = await result_rows.claim_unnotified(conn, limit=limit)
            for result in missing:
                await self._notify(
                    conn,
                    _outcome_of(result),
                    UserId(result.user_id),
                    result.schedule_name,
                    Category(result.result_category),
                )
        return len(missing)

    async def _claim(self, run_id: RunId) -> Claim | None:
        async with self._database.connection() as conn:
            return await run_rows.claim_run(conn, run_id)

    async def _execute(self, run: Run, schedule: Schedule | None, claim: Claim | None) -> Outcome:
        if claim is None:
            return await self._stored_outcome(run.id)
        started = time.perf_counter()
        recorder = await self._recorder(run, claim)
        try:
            ending = await self._attempt(run, schedule, claim, recorder)
        except (FencedError, asyncio.CancelledError):
            # Not ours any more, or handed over: what is journalled stays, and nothing is stored.
            await asyncio.shield(_flush_quietly(recorder))
            raise
        finally:
            await recorder.close()
        duration_ms = round((time.perf_counter() - started) * 1000)
        if ending.pause_note is not None and schedule is not None:
            ending = replace(ending, content=f"{ending.content} {_PAUSED.format(schedule.name)}")
        return await self._store(run, schedule, claim, recorder, ending, duration_ms)

    async def _recorder(self, run: Run, claim: Claim) -> RunRecorder:
        earlier: tuple[run_rows.StepRow, ...] = ()
        if claim.attempt > 1:
            async with self._database.connection() as conn:
                earlier = await run_rows.fetch_steps(conn, run.id)
        return RunRecorder(self._database, run, claim, earlier=earlier, clock=self._clock)

    async def _attempt(
        self, run: Run, schedule: Schedule | None, claim: Claim, recorder: RunRecorder
    ) -> Ending:
        if claim.attempt > MAX_ATTEMPTS:
            return Ending(
                ResultStatus.ERROR,
                f"Given up after {MAX_ATTEMPTS} attempts: each time the worker that ran this "
                "agent died before it finished.",
            )
        if claim.cancel_reason is not None:
            return _cancelled(Progress(), claim.cancel_reason)
        try:
            executor, now = await self._load(run, schedule, claim, recorder)
        except SetupRequiredError as error:
            return _needs_setup(error)
        except RotaError as error:
            return Ending(ResultStatus.ERROR, error.message)
        return await self._invoke(executor, run, claim, recorder, now)

    async def _load(
        self, run: Run, schedule: Schedule | None, claim: Claim, recorder: RunRecorder
    ) -> tuple[AgentExecutor, datetime]:
        async with self._database.connection() as conn:
            zone = (
                schedule.time_zone
                if schedule is not None
                else await user_rows.fetch_time_zone(conn, run.user_id)
            )
            began = datetime.fromisoformat(claim.snapshot["now"]) if claim.snapshot else None
            now = (began or self._clock()).astimezone(ZoneInfo(zone))
            executor = await load_agent_executor_db(
                conn,
                run.agent_name,
                run.user_id,
                registry=self._registry,
                tool_context=self._tool_context(run.user_id, lambda: now),
                models=self._models,
                now=now,
                snapshot=claim.snapshot,
            )
        if claim.snapshot is None:
            recorder.keep_snapshot(snapshot_of(executor.configuration, now.astimezone(UTC)))
        return executor, now

    async def _invoke(
        self,
        executor: AgentExecutor,
        run: Run,
        claim: Claim,
        recorder: RunRecorder,
        now: datetime,
    ) -> Ending:
        configuration = executor.configuration
        context = ApprovalContext(
            user_id=run.user_id,
            run_id=run.id,
            agent_name=run.agent_name,
            session_id=run.session_id,
            declarations={tool.name: tool for tool in configuration.tools},
            ledger=recorder,
            loop=asyncio.get_running_loop(),
        )
        wrapped = wrap_tools_with_approval(executor.tools, context)
        exceptions, warnings = self._unwrapped(wrapped, context)
        admitted = [exception.tool for exception in exceptions]
        journal = JournalMiddleware(
            recorder,
            max_steps=configuration.max_steps,
            declarations=context.declarations,
            clock=self._clock,
        )
        extra = {"model": configuration.model}
        try:
            reply = await executor.ainvoke(
                run.prompt,
                tools=[*wrapped.tools, *admitted],
                journal=journal,
                guard=GateGuard(context, admitted),
                now=now,
            )
        except FencedError:
            raise
        except asyncio.CancelledError:
            reason = await self._cancel_reason(run.id)
            if reason is None:  # handed over
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            ending = _cancelled(journal.progress, reason)
        except RotaError as error:
            ending = _refused(error, journal.progress)
        except Exception as error:  # noqa: BLE001  whatever a model client or graph raises is this run's result, never the worker's end
            ending = _failed(error)
            log.warning(
                "agent_failed", run_id=str(run.id), attempt=claim.attempt, error=ending.content
            )
        else:
            if reply.cut:
                message = "The model's output limit cut the answer."
                ending = _stopped_early(replace(reply.progress, texts=[reply.text]), message)
            else:
                ending = Ending(ResultStatus.SUCCESS, reply.text)
        return replace(
            ending, progress=journal.progress, warnings=warnings, extra={**extra, **ending.extra}
        )

    async def _cancel_reason(self, run_id: RunId) -> str | None:
        async with self._database.connection() as conn:
            return await run_rows.fetch_cancel_reason(conn, run_id)

    def _unwrapped(
        self, wrapped: WrappedTools, context: ApprovalContext
    ) -> tuple[tuple[WrappingFailure, ...], tuple[str, ...]]:
        """Decide on tools that could not be wrapped: readers run, others are withheld."""
        admitted: list[WrappingFailure] = []
        warnings: list[str] = []
        for failure in wrapped.failures:
            declaration = context.declarations.get(failure.tool_name)
            reads_only = declaration is not None and declaration.read_only
            log.warning(
                "tool_wrapping_failed",
                run_id=str(context.run_id),
                tool=failure.tool_name,
                error=failure.error,
            )
            if reads_only or self._unwrapped_tools == "allow":
                admitted.append(failure)
                warnings.append(f"{failure.tool_name} ran without the approval system.")
            else:
                warnings.append(
                    f"{failure.tool_name} was withheld: the approval system could not wrap it."
                )
        return tuple(admitted), tuple(warnings)

    async def _store(
        self,
        run: Run,
        schedule: Schedule | None,
        claim: Claim,
        recorder: RunRecorder,
        ending: Ending,
        duration_ms: int,
    ) -> Outcome:
        content = cut(storable_text(ending.content), RESULT_CONTENT_LIMIT)
        async with self._database.transaction() as conn:
            # The schedule's row before the run's: schedulers lock them in this order.
            pause_note = await self._pause(conn, run, schedule, ending)
            await recorder.write_to(conn)
            pending = await run_rows.count_pending_actions(conn, run.id)
            metadata = _metadata(run, claim, ending, self._clock())
            if content.truncated:
                metadata |= {"truncated": True, "original_length": content.original_length}
            stored = await run_rows.finish_run(
                conn,
                claim,
                content=content.text,
                status=ending.status,
                pending=pending,
                duration_ms=duration_ms,
                metadata=metadata,
            )
            if stored is None:
                raise FencedError("Another attempt has taken this run.")
            outcome = Outcome(
                run_id=run.id,
                result_id=stored[0],
                session_id=run.session_id,
                agent_name=run.agent_name,
                status=ending.status,
                content=content.text,
                pending_actions_created=pending,
                duration_ms=duration_ms,
                metadata=metadata,
            )
            error = await self._notify_or_note(conn, outcome, run, schedule)
            if pause_note is not None and schedule is not None:
                await self._notifications.notify_user(
                    run.user_id,
                    f"{schedule.name} is paused",
                    f"{pause_note} {_PAUSED.format(schedule.name)}",
                    category=Category.ERROR,
                    metadata={"schedule_id": str(schedule.id)},
                    conn=conn,
                )
        if error is not None:
            outcome = replace(outcome, metadata={**metadata, "notification_error": error})
        log.info(
            "run_finished",
            run_id=str(run.id),
            agent=run.agent_name,
            status=ending.status.value,
            attempt=claim.attempt,
            duration_ms=duration_ms,
        )
        return outcome

    async def _pause(
        self, conn: Connection, run: Run, schedule: Schedule | None, ending: Ending
    ) -> str | None:
        """Pause the schedule if this ending asks for it; returns what its owner is yet to hear."""
        if schedule is None:
            return None
        if ending.pause_note is not None:
            await schedule_rows.pause(conn, schedule.id, ending.pause_note)
            return None
        if schedule.policy.pause_after_failures is None or run.trigger not in _COUNTED:
            return None
        failed = ending.status is ResultStatus.ERROR and "cancelled" not in ending.extra
        counted = await schedule_rows.count_failure(conn, schedule.id, failed=failed)
        if not failed or counted is None or counted[0] < counted[1]:
            return None
        note = f"{counted[0]} runs in a row failed."
        return note if await schedule_rows.pause(conn, schedule.id, note) else None

    async def _notify_or_note(
        self, conn: Connection, outcome: Outcome, run: Run, schedule: Schedule | None
    ) -> str | None:
        """Notify in a savepoint: if that fails the result is kept, and says so."""
        category = schedule.result_category if schedule is not None else Category.AGENT_RESULT
        try:
            async with conn.transaction():
                await self._notify(
                    conn, outcome, run.user_id, schedule.name if schedule else None, category
                )
        except Exception as error:  # noqa: BLE001  SPEC-003: a failing NotificationService never costs the result
            text = redact_text(f"{type(error).__name__}: {error}")[:500]
            log.warning("notification_failed", run_id=str(run.id), error=text)
            await result_rows.note_notification_error(conn, outcome.result_id, text)
            return text
        return None

    async def _notify(
        self,
        conn: Connection,
        outcome: Outcome,
        user_id: UserId,
        schedule_name: str | None,
        category: Category,
    ) -> None:
        name = schedule_name or outcome.agent_name
        title, body = _message(name, outcome)
        await self._notifications.notify_user(
            user_id,
            title,
            body,
            category=Category.ERROR if _has_failed(outcome) else category,
            metadata={"result_id": str(outcome.result_id), "status": outcome.status.value},
            run_id=outcome.run_id,
            conn=conn,
        )
        if outcome.pending_actions_created > 0:
            await self._notifications.notify_pending_actions(
                user_id,
                outcome.pending_actions_created,
                agent_name=outcome.agent_name,
                run_id=outcome.run_id,
                conn=conn,
            )

    async def _stored_outcome(self, run_id: RunId) -> Outcome:
        async with self._database.connection() as conn:
            result = await result_rows.fetch_result_of_run(conn, run_id)
        if result is None:
            raise ConflictError("This run was cancelled; it cannot be executed.")
        return _outcome_of(result)


def _has_failed(outcome: Outcome) -> bool:
    return outcome.status is ResultStatus.ERROR and "cancelled" not in outcome.metadata


def _message(name: str, outcome: Outcome) -> tuple[str, str]:
    match outcome.status:
        case _ if "cancelled" in outcome.metadata:
            title = f"{name} was cancelled"
        case ResultStatus.SUCCESS:
            title = name
        case ResultStatus.PARTIAL:
            title = f"{name}: stopped before it was done"
        case ResultStatus.ERROR:
            title = f"{name} failed"
    warnings: Sequence[str] = outcome.metadata.get("warnings", ())
    parts = [outcome.content or "The agent answered with nothing."]
    parts += [f"Warning: {warning}" for warning in warnings]
    return title, "\n\n".join(parts)


def _needs_setup(error: SetupRequiredError) -> Ending:
    return Ending(
        ResultStatus.ERROR,
        error.message,
        pause_note=error.message,
        extra={"setup_required": error.what},
    )


def _refused(error: RotaError, progress: Progress) -> Ending:
    """Return the ending for an error that rota raised on purpose while the agent ran."""
    if isinstance(error, StepLimitError):
        return _stopped_early(progress, error.message)
    if isinstance(error, SetupRequiredError):
        return _needs_setup(error)
    return Ending(ResultStatus.ERROR, error.message)


def _failed(error: Exception) -> Ending:
    failure = classify_model_error(error)
    content = redact_text(failure.message)
    if failure.kind == "authentication":
        return Ending(
            ResultStatus.ERROR,
            content,
            pause_note=content,
            extra={"error_kind": failure.kind, "setup_required": "model_key"},
        )
    return Ending(ResultStatus.ERROR, content, extra={"error_kind": failure.kind})


def _stopped_early(progress: Progress, message: str) -> Ending:
    kept = "\n\n".join(text for text in progress.texts if text.strip())
    if not kept:
        return Ending(ResultStatus.ERROR, message, extra={"stopped": message})
    return Ending(ResultStatus.PARTIAL, kept, warnings=(message,), extra={"stopped": message})


def _cancelled(progress: Progress, reason: str) -> Ending:
    ending = _stopped_early(progress, f"Cancelled: {reason}.")
    return replace(ending, extra={**ending.extra, "cancelled": reason})


def _metadata(run: Run, claim: Claim, ending: Ending, now: datetime) -> dict[str, Any]:
    progress = ending.progress
    since = run.fire_time or run.created_at
    metadata: dict[str, Any] = {
        "session_id": run.session_id,
        "trigger": run.trigger.value,
        "attempt": claim.attempt,
        "wall_ms": max(0, round((now - since).total_seconds() * 1000)),
        "model_calls": progress.model_calls,
        "tool_calls": progress.tool_calls,
        **ending.extra,
    }
    if run.fire_time is not None:
        metadata["fire_time"] = run.fire_time.isoformat()
    if progress.replayed:
        metadata["replayed_steps"] = progress.replayed
    if progress.input_tokens or progress.output_tokens:
        metadata["tokens"] = {"input": progress.input_tokens, "output": progress.output_tokens}
    if ending.warnings:
        metadata["warnings"] = list(ending.warnings)
    result: dict[str, Any] = storable_json(metadata)
    return result


def _outcome_of(result: Result) -> Outcome:
    return Outcome(
        run_id=RunId(result.run_id),
        result_id=ResultId(result.id),
        session_id=result.session_id,
        agent_name=result.agent_name,
        status=ResultStatus(result.status),
        content=result.result_content,
        pending_actions_created=result.pending_actions_created,
        duration_ms=result.execution_duration_ms,
        metadata=result.metadata,
    )


async def _flush_quietly(recorder: RunRecorder) -> None:
    """Write what is journalled so far; an attempt that lost the run has nothing left to write."""
    try:
        await recorder.flush()
    except FencedError:
        return
    except RotaError as error:
        log.warning("journal_flush_failed", error=error.message)
