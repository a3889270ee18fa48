"""Records the tool calls of one attempt, and hands over those that need an approval.

The gate (security/gate) calls it for every call that it judges. `HeldCalls` stores pending actions
and knows which are approved; the call ledger adds the audit log and the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from rota.domain.approvals.verdict import Decision, Verdict
from rota.domain.runs.steps import StepKey
from rota.domain.text.storable import storable_text
from rota.security.gate.calls import (
    CURRENT_STEP,
    ENCLOSING_STEP,
    CallNotRun,
    HoldOutcome,
    ToolCall,
    ToolOutcome,
)
from rota.security.secrets.redaction import redact, redact_text
from rota.services.approvals.held_calls import HeldCalls
from rota.services.runs.journal_writer import WriteBuffer
from rota.services.runs.step_log import StepLog
from rota.store.runs.journals import AuditRow


class CallLedger:
    """The `ApprovalLedger` of one attempt."""

    def __init__(
        self,
        buffer: WriteBuffer,
        steps: StepLog,
        held: HeldCalls,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._buffer = buffer
        self._steps = steps
        self._held = held
        self._clock = clock

    def was_held(self, call: ToolCall) -> bool:
        """Return whether only an action decides on this call."""
        return self._buffer.run.action_id is not None or call.step in self._steps.held

    async def hold(self, call: ToolCall, verdict: Verdict) -> HoldOutcome:
        """Store a pending action, durably, or find what became of an earlier one."""

        def entry(decision: Decision, detail: str) -> AuditRow:
            return self._entry(call, replace(verdict, decision=decision), "not_run", detail)

        self._steps.hold(call.step)
        await self._buffer.flush()
        outcome = await self._held.hold(
            call,
            verdict,
            account=self._steps.account,
            snapshot=self._buffer.snapshot,
            entry=entry,
        )
        if outcome.edited is not None:
            self._steps.ran_with(call.step, outcome.edited)
        if isinstance(outcome, CallNotRun) and outcome.status in {"finished", "failed"}:
            self.answered(call, ())  # it ran before: its agent hears now what it answered
        if isinstance(outcome, CallNotRun) and call.step is not None:
            self._steps.mark(call.step, outcome.status)
            if outcome.is_parked:
                self._steps.parked.add(call.step)
        return outcome

    async def rehearsed(self, call: ToolCall, verdict: Verdict) -> None:
        """Add an audit row for a call that a dry run did not make."""
        if call.step is not None:
            self._steps.mark(call.step, "rehearsed")
        entry = self._entry(call, verdict, "not_run", f"dry run: {verdict.reason}")
        self._buffer.add(audit=[entry])

    async def starting(self, call: ToolCall, verdict: Verdict) -> None:
        """Make the step and an audit row durable before an effect.

        That an approved call began was recorded with its action.
        """
        self._steps.start(call.step)
        if call.action_id is None:
            self._buffer.add(audit=[self._entry(call, verdict, "started", "")])
        await self._buffer.flush()

    async def finished(
        self,
        call: ToolCall,
        verdict: Verdict,
        outcome: ToolOutcome,
        detail: str,
        answer: str = "",
    ) -> None:
        """Add an audit row; a call of unknown outcome is marked in the journal too."""
        await self._held.ended(call, outcome, answer if outcome == "succeeded" else detail)
        if outcome == "unknown" and call.step is not None:
            self._steps.mark(call.step, "unknown")
        self._steps.add_audit(call.step, self._entry(call, verdict, outcome, detail))

    def answered(self, call: ToolCall, sources: Sequence[str]) -> None:
        """Mark the run where the answer of a call brings text from outside; `sources` say whose."""
        if call.brings_outside_text:
            self._brought(call.step, sources or [f"the answer of {call.tool_name}"])

    def _brought(self, step: StepKey | None, sources: Sequence[str]) -> None:
        key = step or ENCLOSING_STEP.get()
        self._steps.brought(key, [storable_text(source) for source in sources])

    async def unjudged(
        self, tool_name: str, arguments: Mapping[str, Any], outcome: str, detail: str
    ) -> None:
        """Add an audit row for a call that no rule judged, durable before it begins."""
        step = CURRENT_STEP.get()
        if outcome == "not_run" and step is not None:
            self._steps.mark(step, "refused")
        if outcome in {"succeeded", "failed"}:  # it ran without the gate
            self._brought(step, [f"the answer of {tool_name}"])
        self._buffer.add(audit=[self._bare_entry(tool_name, arguments, outcome, detail)])
        if outcome == "started":
            await self._buffer.flush()

    async def found(self, tool_name: str, arguments: Mapping[str, Any]) -> None:
        """Add an audit row for a call that an earlier attempt began, and that took effect."""
        detail = "an earlier attempt began it, and its outcome was looked up"
        self._buffer.add(audit=[self._bare_entry(tool_name, arguments, "succeeded", detail)])

    def _bare_entry(
        self, tool_name: str, arguments: Mapping[str, Any], outcome: str, detail: str
    ) -> AuditRow:
        """Return the row of a call that has no verdict."""
        return AuditRow(
            entry_key=uuid4(),
            tool_name=storable_text(tool_name),
            tier="unknown",
            decision="refused" if outcome == "not_run" else "allowed",
            outcome=outcome,
            arguments=redact(arguments),
            arguments_hash="",
            detail=storable_text(redact_text(detail)),
            called_at=self._clock(),
        )

    def _entry(self, call: ToolCall, verdict: Verdict, outcome: str, detail: str) -> AuditRow:
        return AuditRow(
            entry_key=uuid4(),
            tool_name=call.tool_name,
            tier=verdict.tier,
            decision=verdict.decision if call.action_id is None else "approved",
            outcome=outcome,
            arguments=call.redacted_arguments,
            arguments_hash=call.arguments_hash,
            detail=storable_text(redact_text(detail)),
            called_at=self._clock(),
            action_id=call.action_id,
        )
