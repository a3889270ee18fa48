"""Writes a run's journal and audit log, in groups, and only while the attempt holds the run.

A finished step is durable within `FLUSH_AFTER`, and always before a tool that is not read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from rota.agents.steps import BEFORE, Step, StepStatus
from rota.domain.approvals import Verdict
from rota.domain.content import storable_text
from rota.domain.ids import RunId
from rota.domain.limits import Spent
from rota.domain.runs import Run
from rota.security.redaction import redact, redact_text
from rota.security.tool_wrapper import StepKey, ToolCall, ToolOutcome
from rota.services.journal_writer import FencedError, JournalWriter, Unwritten
from rota.store import journals as rows
from rota.store.database import Database
from rota.store.journals import AuditRow, JournalRows, StepRow, UsageRow
from rota.store.runs import Claim

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
        writer: JournalWriter | None = None,
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
        self._is_lost = False
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
        self._unwritten.steps[step.key] = step
        if step.status != "started":
            self._unwritten.audit += self._ended.pop(step.key, [])
        if step.kind == "model" and step.status == "finished":
            self._count(step)
        if durable:
            await self.flush()
        else:
            self._writer.soon(self)

    async def hold(self, call: ToolCall, verdict: Verdict) -> str:
        """Store a pending action with its audit row and return what the agent is told."""
        step = (call.step.model_step, call.step.call_index) if call.step is not None else None
        async with self._database.transaction() as conn:
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
            entry = self._entry(call, verdict, "not_run", f"pending action {action_id}")
            journal = JournalRows(self._claim, self._unwritten.snapshot, audit=[entry])
            await rows.write_journals(conn, [journal])
        self._unwritten.snapshot = None
        if call.step is not None:
            self._marks[call.step] = "held"
        return (
            f"{call.tool_name} has not run: it needs the owner's approval ({verdict.reason}). "
            f"The request is stored as pending action {action_id} and runs if they approve. Go "
            "on without its result, do not ask for it again, and say in your answer that it waits."
        )

    async def starting(self, call: ToolCall, verdict: Verdict) -> None:
        """Make the step and an audit row durable before an effect."""
        self._unwritten.audit.append(self._entry(call, verdict, "started", ""))
        await self.flush()

    async def finished(
        self, call: ToolCall, verdict: Verdict, outcome: ToolOutcome, detail: str
    ) -> None:
        """Add an audit row; a call of unknown outcome is marked in the journal too.

        The row of a journalled call is written together with the end of its step: nothing says of
        a call that it succeeded which a later attempt makes again.
        """
        entry = self._entry(call, verdict, outcome, detail)
        if call.step is None:
            self._unwritten.audit.append(entry)
            self._writer.soon(self)
            return
        if outcome == "unknown":
            self._marks[call.step] = "unknown"
        self._ended.setdefault(call.step, []).append(entry)

    async def refused(self, tool_name: str, arguments: Mapping[str, Any], detail: str) -> None:
        """Add an audit row for a call that went round the gate."""
        self._unwritten.audit.append(
            AuditRow(
                tool_name=storable_text(tool_name),
                tier="unknown",
                decision="refused",
                outcome="not_run",
                arguments=redact(arguments),
                arguments_hash="",
                detail=detail,
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
            tool_name=call.tool_name,
            tier=verdict.tier,
            decision=verdict.decision,
            outcome=outcome,
            arguments=call.redacted_arguments,
            arguments_hash=call.arguments_hash,
            detail=storable_text(redact_text(detail)),
            called_at=self._clock(),
        )


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
