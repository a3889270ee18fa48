"""Writes a run's journal and audit log, in groups, and only while the attempt holds the run.

A finished step is durable within `FLUSH_AFTER`, and always before a tool that is not read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from rota.agents.journal.steps import BEFORE, Step, StepStatus
from rota.domain.approvals.verdict import Decision, Verdict
from rota.domain.ids import RunId
from rota.domain.runs.limits import Spent
from rota.domain.runs.run import Claim, FencedError, Run
from rota.domain.runs.views import StepRow
from rota.domain.text.storable import storable_text
from rota.security.gate.calls import Permit, StepKey, ToolCall, ToolOutcome
from rota.security.secrets.encryption import Cipher
from rota.security.secrets.redaction import redact, redact_text
from rota.services.approvals.held_calls import HeldCalls
from rota.services.notifications.service import NotificationService
from rota.services.runs.journal_writer import JournalWriter
from rota.services.runs.unwritten import Unwritten, step_row
from rota.store.database import Database
from rota.store.runs.journals import AuditRow, UsageRow

YOURS: Final = "your"
SCHEDULES: Final = "this schedule's"
"""Whose day it is that something is counted on."""


class RunRecorder:
    """The step recorder and the approval ledger of one attempt.

    `day` is the day, in the owner's zone, that what the run uses is counted on.
    """

    def __init__(
        self,
        database: Database,
        run: Run,
        claim: Claim,
        *,
        day: date,
        earlier: Sequence[StepRow] = (),
        clock: Callable[[], datetime],
        notifications: NotificationService,
        writer: JournalWriter | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        self._database = database
        self._run = run
        self._claim = claim
        self.day = day
        self._clock = clock
        self._earlier = {StepKey(s.model_step, s.call_index): _step(s) for s in earlier}
        self._unwritten = Unwritten()
        self._ended: dict[StepKey, list[AuditRow]] = {}
        self._marks: dict[StepKey, StepStatus] = {}  # held, or of unknown outcome
        self._writer = writer or JournalWriter(database)
        self._begun: dict[StepKey, Step] = {}  # tool calls under way
        self._waits: set[StepKey] = set()  # those held although they were begun as calls that run
        self._is_lost = False
        self.held = HeldCalls(database, run, claim, notifications, cipher)
        self.spent_today: Mapping[str, Spent] = {}

    @property
    def claim(self) -> Claim:
        """The attempt that this records."""
        return self._claim

    def recorded(self, key: StepKey) -> Step | None:
        """Return what an earlier attempt wrote under this key."""
        return self._earlier.get(key)

    def recorded_tools(self) -> Sequence[Step]:
        """Return the tool calls that earlier attempts wrote, in order, without pre-checks."""
        return [
            step
            for key, step in sorted(self._earlier.items(), key=lambda item: _place(item[0]))
            if step.kind == "tool" and key.model_step > BEFORE
        ]

    @property
    def earlier_seconds(self) -> float:
        """Active time of earlier attempts, as far as their journal tells."""
        seconds, until = 0.0, None
        for step in sorted(self._earlier.values(), key=lambda step: step.started_at):
            if step.finished_at is None or (until is not None and step.finished_at <= until):
                continue  # its time is that of calls made beside it
            begun = step.started_at if until is None else max(step.started_at, until)
            seconds += (step.finished_at - begun).total_seconds()
            until = step.finished_at
        return seconds

    def keep_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Write what the attempt runs with, together with the first thing that it writes.

        An attempt that dies before that has left nothing that a later one could go on from.
        """
        self._unwritten.snapshot = snapshot

    async def record(self, step: Step, *, durable: bool = False) -> None:
        """Write a step, now with `durable`, else soon; raises FencedError once the run is lost."""
        if self._is_lost:
            raise FencedError("Another attempt has taken this run.")
        if step.status == "finished":
            step = replace(step, status=self._marks.get(step.key, "finished"))
        if step.key in self._waits:
            step = _waiting(step)
        self._unwritten.steps[step.key] = step
        if step.kind == "tool" and step.status == "started":
            self._begun[step.key] = step
        if step.status != "started":
            self._begun.pop(step.key, None)
            self._unwritten.audit += self._ended.pop(step.key, [])
        if step.kind == "model" and step.status == "finished":
            self._count(step)
        if durable:
            await self.flush()
        else:
            self._writer.soon(self)

    @property
    def parked(self) -> AbstractSet[StepKey]:
        """Calls that wait for a decision without which the run does not go on."""
        return self.held.parked

    def said(self, text: str) -> None:
        """Take note of what the agent says beside the calls that come next."""
        self.held.account = text

    def was_held(self, call: ToolCall) -> bool:
        """Return whether only an action decides on this call."""
        if self._run.action_id is not None:
            return True
        if call.step is None:
            return False
        # A call that is under way as one that waits is not to run on a rule that was read since:
        # a later attempt would take it for one that never ran.
        steps = (self._earlier.get(call.step), self._begun.get(call.step))
        return any(step is not None and step.request.get("waits") for step in steps)

    async def hold(self, call: ToolCall, verdict: Verdict) -> str | Permit:
        """Store a pending action and return what the agent is told, or a permit to run it."""

        def entry(decision: Decision, detail: str) -> AuditRow:
            return self._entry(call, replace(verdict, decision=decision), "not_run", detail)

        answer = await self.held.hold(
            call,
            verdict,
            snapshot=self._unwritten.snapshot,
            entry=entry,
            steps=self._marked(call.step),
        )
        self._unwritten.snapshot = None
        is_denied = verdict.decision == "refused"
        if isinstance(answer, str) and call.step is not None and not is_denied:
            self._marks[call.step] = "held"
        return answer

    async def rehearsed(self, call: ToolCall, verdict: Verdict) -> None:
        """Add an audit row for a call that a dry run did not make."""
        entry = self._entry(call, verdict, "not_run", f"dry run: {verdict.reason}")
        self._unwritten.audit.append(entry)
        self._writer.soon(self)

    async def starting(self, call: ToolCall, verdict: Verdict) -> None:
        """Make the step and an audit row durable before an effect.

        That an approved call began was recorded with its action.
        """
        if call.action_id is None:
            self._unwritten.audit.append(self._entry(call, verdict, "started", ""))
        await self.flush()

    async def finished(
        self,
        call: ToolCall,
        verdict: Verdict,
        outcome: ToolOutcome,
        detail: str,
        response: object = None,
    ) -> None:
        """Add an audit row; a call of unknown outcome is marked in the journal too.

        The row of a journalled call is written together with the end of its step: nothing says of
        a call that it succeeded which a later attempt makes again.
        """
        await self.held.ended(call, outcome, detail, response)
        entry = self._entry(call, verdict, outcome, detail)
        if call.step is None:
            self._unwritten.audit.append(entry)
            self._writer.soon(self)
            return
        if outcome == "unknown":
            self._marks[call.step] = "unknown"
        self._ended.setdefault(call.step, []).append(entry)

    async def refused(self, tool_name: str, arguments: Mapping[str, Any], detail: str) -> None:
        """Add an audit row for a call that does not run: it went round the gate, or is no call."""
        self._outside(tool_name, arguments, "refused", "not_run", detail)

    async def unwrapped(
        self, tool_name: str, arguments: Mapping[str, Any], outcome: str, detail: str = ""
    ) -> None:
        """Add an audit row for a call that runs without the gate, durable before it begins."""
        text = f"not behind the approval gate{': ' if detail else ''}{detail}"
        self._outside(tool_name, arguments, "allowed", outcome, text)
        if outcome == "started":
            await self.flush()

    def _outside(
        self,
        tool_name: str,
        arguments: Mapping[str, Any],
        decision: Decision,
        outcome: str,
        detail: str,
    ) -> None:
        self._unwritten.audit.append(
            AuditRow(
                entry_key=uuid4(),
                tool_name=storable_text(tool_name),
                tier="unknown",
                decision=decision,
                outcome=outcome,
                arguments=redact(arguments),
                arguments_hash="",
                detail=storable_text(redact_text(detail)),
                called_at=self._clock(),
            )
        )
        self._writer.soon(self)

    async def flush(self) -> None:
        """Write everything collected so far; raises FencedError if the run is lost."""
        await self._writer.now(self)

    @property
    def is_dirty(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._unwritten)

    def take(self) -> Unwritten:
        """Take what is collected, to write it; `give_back` what was not."""
        unwritten, self._unwritten = self._unwritten, Unwritten()
        return unwritten

    def give_back(self, unwritten: Unwritten) -> None:
        """Collect again what could not be written."""
        self._unwritten = unwritten.before(self._unwritten)

    def counted(self, days: Mapping[tuple[Any, ...], Spent]) -> None:
        """Take note of what the days have come to, where this run's use was just added."""
        own, schedule_id = (self._run.user_id, self.day), self._run.schedule_id
        spent = {YOURS: days.get((*own, None)), SCHEDULES: days.get((*own, schedule_id))}
        self.spent_today = {
            **self.spent_today,
            **{whose: value for whose, value in spent.items() if value is not None},
        }

    async def settle(self) -> None:
        """Stop writing by oneself: wait for what is being written, begin nothing more."""
        await self._writer.settle(self)

    def lose(self) -> None:
        """Take note that another attempt has the run: the next step that is recorded stops this."""
        self._is_lost = True

    def close(self) -> None:
        """Write nothing more; what is not written by now stays unwritten."""
        self._writer.forget(self)

    @property
    def run_id(self) -> RunId:
        """The run that this records."""
        return self._run.id

    def _marked(self, key: StepKey | None) -> Sequence[StepRow]:
        """Return the step of a call that is held although it was begun as one that runs, marked.

        It is written with what is held: a later attempt must not take it for one that ran.
        """
        begun = self._begun.get(key) if key is not None else None
        if key is None or begun is None or begun.request.get("waits"):
            return ()
        self._waits.add(key)
        if key in self._unwritten.steps:
            self._unwritten.steps[key] = _waiting(begun)
        return [step_row(_waiting(begun))]

    def _count(self, step: Step) -> None:
        usage = step.usage or {}
        used = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        if not any(used) and not step.cost_usd:
            return
        self._unwritten.usage[step.key] = UsageRow(
            step.key.model_step,
            self.day,
            self._run.schedule_id,
            1,
            *used,
            step.cost_usd or Decimal(0),
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


def _waiting(step: Step) -> Step:
    return replace(step, request={**step.request, "waits": True})


def _place(key: StepKey) -> tuple[int, int]:
    return key.call_index, key.model_step


def _step(row: StepRow) -> Step:
    return Step(
        key=StepKey(row.model_step, row.call_index),
        kind=row.kind,  # type: ignore[arg-type]  # the column's check allows these alone
        name=row.name,
        status=row.status,  # type: ignore[arg-type]  # the column's check allows these alone
        started_at=row.started_at,
        tool_call_id=row.tool_call_id,
        request=row.request,
        response=row.response,
        usage=row.usage,
        cost_usd=row.cost_usd,
        attempts=tuple(row.attempts or ()),
        error=row.error,
        finished_at=row.finished_at,
    )
