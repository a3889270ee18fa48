"""Writes a run's journal and audit log, in groups, and only while the attempt holds the run.

A finished step is durable within `FLUSH_AFTER`, and always before a tool that is not read-only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import structlog

from rota.agents.journal import Step
from rota.domain.approvals import Verdict
from rota.domain.errors import RotaError
from rota.domain.runs import Run
from rota.security.redaction import redact, redact_text
from rota.security.tool_wrapper import StepKey, ToolCall, ToolOutcome
from rota.store import runs as rows
from rota.store.database import Connection, Database
from rota.store.runs import AuditRow, Claim, StepRow

FLUSH_AFTER: Final = 0.1
"""Seconds that a finished step may wait for others to be written with."""

log = structlog.get_logger(__name__)


class FencedError(RotaError):
    """Another attempt has taken the run; this one must stop and may write nothing more."""


class RunRecorder:
    """The step recorder and the approval ledger of one attempt."""

    def __init__(
        self,
        database: Database,
        run: Run,
        claim: Claim,
        *,
        earlier: tuple[StepRow, ...] = (),
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._run = run
        self._claim = claim
        self._clock = clock
        self._earlier = {StepKey(s.model_step, s.call_index): _step(s) for s in earlier}
        self._steps: dict[StepKey, Step] = {}
        self._audit: list[AuditRow] = []
        self._held: set[StepKey] = set()
        self._snapshot: Mapping[str, Any] | None = None
        self._writing = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    def recorded(self, key: StepKey) -> Step | None:
        """Return what an earlier attempt wrote under this key."""
        return self._earlier.get(key)

    def keep_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Write what the attempt runs with, together with the first thing that it writes.

        An attempt that dies before that has left nothing that a later one could go on from.
        """
        self._snapshot = snapshot

    async def record(self, step: Step, *, durable: bool = False) -> None:
        """Write a step, now with `durable`, else soon; raises FencedError once the run is lost."""
        if step.key in self._held and step.status == "finished":
            step = replace(step, status="held")
        self._steps[step.key] = step
        if durable:
            await self.flush()
        else:
            self._flush_soon()

    async def hold(self, call: ToolCall, verdict: Verdict) -> str:
        """Store a pending action with its audit row and return what the agent is told."""
        step = (call.step.model_step, call.step.call_index) if call.step is not None else None
        async with self._database.transaction() as conn:
            await self._write_snapshot(conn)
            action_id = await rows.hold_action(
                conn,
                self._claim,
                step=step,
                tool_name=call.tool_name,
                tool_version=call.declaration.version if call.declaration else None,
                arguments=call.arguments,
                arguments_hash=call.arguments_hash,
                risk=verdict.risk,
                reason=verdict.reason,
            )
            if action_id is None:
                raise FencedError("Another attempt has taken this run.")
            await self._write_audit(
                conn, [self._entry(call, verdict, "not_run", f"pending action {action_id}")]
            )
        self._snapshot = None
        if call.step is not None:
            self._held.add(call.step)
        return (
            f"{call.tool_name} has not run: it needs the owner's approval ({verdict.reason}). "
            f"The request is stored as pending action {action_id} and runs if they approve. Go "
            "on without its result, do not ask for it again, and say in your answer that it waits."
        )

    async def starting(self, call: ToolCall, verdict: Verdict) -> None:
        """Make the step and an audit row durable before an effect."""
        self._audit.append(self._entry(call, verdict, "started", ""))
        await self.flush()

    async def finished(
        self, call: ToolCall, verdict: Verdict, outcome: ToolOutcome, detail: str
    ) -> None:
        """Add an audit row."""
        self._audit.append(self._entry(call, verdict, outcome, detail))
        self._flush_soon()

    async def refused(self, tool_name: str, arguments: Mapping[str, Any], detail: str) -> None:
        """Add an audit row for a call that went round the gate."""
        self._audit.append(
            AuditRow(
                tool_name=tool_name,
                tier="unknown",
                decision="refused",
                outcome="not_run",
                arguments=redact(arguments),
                arguments_hash="",
                detail=detail,
                called_at=self._clock(),
            )
        )
        self._flush_soon()

    async def flush(self) -> None:
        """Write everything collected so far; raises FencedError if the run is lost."""
        async with self._writing:
            if self._steps or self._audit:
                async with self._database.transaction() as conn:
                    await self.write_to(conn)

    async def write_to(self, conn: Connection) -> None:
        """Write what is collected in the caller's transaction; raises FencedError."""
        steps, audit, snapshot = list(self._steps.values()), self._audit, self._snapshot
        self._steps, self._audit = {}, []
        try:
            await self._write_snapshot(conn)
            self._snapshot = None
            if steps:
                await self._write_steps(conn, steps)
            if audit:
                await self._write_audit(conn, audit)
        except BaseException:
            self._steps = {step.key: step for step in steps} | self._steps
            self._audit = audit + self._audit
            self._snapshot = snapshot
            raise

    async def close(self) -> None:
        """Stop the timer; what is not flushed stays unwritten."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            self._timer = None

    def _flush_soon(self) -> None:
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._flush_later())

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_AFTER)
        try:
            await self.flush()
        except FencedError:
            log.warning("journal_fenced", run_id=str(self._run.id), attempt=self._claim.attempt)
        except Exception as error:  # noqa: BLE001  kept in memory: the next flush, or the result's transaction, writes it or fails the run
            log.warning("journal_flush_failed", run_id=str(self._run.id), error=str(error))

    async def _write_snapshot(self, conn: Connection) -> None:
        if self._snapshot is not None:
            await rows.store_snapshot(conn, self._claim, self._snapshot)

    async def _write_steps(self, conn: Connection, steps: list[Step]) -> None:
        held = await rows.upsert_steps(conn, self._claim, [_step_row(step) for step in steps])
        if not held:
            raise FencedError("Another attempt has taken this run.")

    async def _write_audit(self, conn: Connection, entries: list[AuditRow]) -> None:
        await rows.insert_audit_logs(
            conn,
            user_id=self._run.user_id,
            run_id=self._run.id,
            agent_name=self._run.agent_name,
            entries=entries,
        )

    def _entry(self, call: ToolCall, verdict: Verdict, outcome: str, detail: str) -> AuditRow:
        return AuditRow(
            tool_name=call.tool_name,
            tier=verdict.tier,
            decision=verdict.decision,
            outcome=outcome,
            arguments=call.redacted_arguments,
            arguments_hash=call.arguments_hash,
            detail=redact_text(detail).replace("\0", "\ufffd"),
            called_at=self._clock(),
        )


def _step_row(step: Step) -> StepRow:
    return StepRow(
        model_step=step.key.model_step,
        call_index=step.key.call_index,
        kind=step.kind,
        name=step.name,
        status=step.status,
        tool_call_id=step.tool_call_id,
        request=step.request,
        response=step.response,
        usage=step.usage,
        error=step.error.replace("\0", "\ufffd") if step.error else None,
        started_at=step.started_at,
        finished_at=step.finished_at,
    )


def _step(row: StepRow) -> Step:
    return Step(
        key=StepKey(row.model_step, row.call_index),
        kind="model" if row.kind == "model" else "tool",
        name=row.name,
        status=row.status,  # type: ignore[arg-type]  # the column's check allows these alone
        started_at=row.started_at,
        tool_call_id=row.tool_call_id,
        request=row.request,
        response=row.response,
        usage=row.usage,
        error=row.error,
        finished_at=row.finished_at,
    )
