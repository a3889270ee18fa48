"""Records the steps of one attempt, and returns the steps of earlier attempts for the replay.

The journal (agents/journal) says when a step is recorded. The call ledger adds what the gate
decided: the call is held, has an unknown outcome, or suspends the run. A finished step is durable
within `FLUSH_AFTER`, and always before a tool runs that is not read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from rota.domain.approvals.outside_texts import MOST_KEPT, OutsideTexts
from rota.domain.runs.limits import Spent
from rota.domain.runs.run import FencedError
from rota.domain.runs.steps import BEFORE, RAN_WITH, Step, StepKey, StepStatus
from rota.services.runs.journal_writer import WriteBuffer
from rota.store.runs.journals import AuditRow, UsageRow

_HELD: Final = "held"
"""In a step's `request`: an action decides on this call, so it did not run for having started."""

_OUTSIDE: Final = "outside_text"
"""In a step's `request`: whose texts its answer brought from outside. It marks the run for good."""


class StepLog:
    """The `StepRecorder` of one attempt. `account` is the agent's last text beside its calls.

    `outside` is the text from outside that the run has read, also in earlier attempts. `held` are
    calls that only their action decides, even if the tool would not need an approval now. `parked`
    are calls that the run waits for.
    """

    def __init__(self, buffer: WriteBuffer, earlier: Sequence[Step] = ()) -> None:
        self._buffer = buffer
        self._earlier = {step.key: step for step in earlier}
        self.held = {step.key for step in earlier if step.request.get(_HELD)}
        self._begun: dict[StepKey, Step] = {}  # on their way to the gate, and not written yet
        self._marks: dict[StepKey, StepStatus] = {}
        self._ran_with: dict[StepKey, Mapping[str, Any]] = {}
        self._audit: dict[StepKey, list[AuditRow]] = {}
        self.outside = OutsideTexts()
        self._sources: dict[StepKey, list[str]] = {}
        for step in sorted(earlier, key=lambda step: step.key):
            if step.request.get(_OUTSIDE):
                self.brought(step.key, step.request[_OUTSIDE])
        self.parked: set[StepKey] = set()
        self.account = ""

    @property
    def spent_today(self) -> Mapping[str, Spent]:
        """What the database had counted when a step was last written, by whose day it is."""
        return self._buffer.spent_today

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

    def said(self, text: str) -> None:
        """Take note of what the agent says beside the calls that come next."""
        self.account = text

    def recorded(self, key: StepKey) -> Step | None:
        """Return what an earlier attempt wrote under this key."""
        return self._earlier.get(key)

    def recorded_tools(self) -> Sequence[Step]:
        """Return the tool calls that earlier attempts wrote, in order, without pre-checks."""
        tools = [s for s in self._earlier.values() if s.kind == "tool" and s.model_step > BEFORE]
        return sorted(tools, key=lambda step: (step.call_index, step.model_step))

    def begin(self, step: Step) -> None:
        """Take note of a call on its way to the gate, which has it written."""
        self._begun[step.key] = step

    async def record(self, step: Step, *, durable: bool = False) -> None:
        """Write a step, now with `durable`, else soon; raises FencedError once the run is lost.

        A call that broke off before the gate had it written has not begun, and leaves nothing: a
        later attempt makes it. One that only reads has no need of being written to begin.
        """
        if self._buffer.is_lost:
            raise FencedError("Another attempt has taken this run.")
        has_begun = step.key not in self._begun or step.request.get("read_only")
        is_answered = step.status == "finished" or step.response is not None
        if step.status in {"unknown", "failed"} and not has_begun and not is_answered:
            return
        self._begun.pop(step.key, None)
        if is_answered:
            step = replace(step, status=self._marks.get(step.key, step.status))
        is_over = step.status != "started"
        self._buffer.add(
            step=self._with_mark(step),
            audit=self._audit.pop(step.key, ()) if is_over else (),
            usage=self._usage(step) if step.kind == "model" and is_over else None,
        )
        if durable:
            await self._buffer.flush()

    def start(self, key: StepKey | None) -> None:
        """Write that a call begins which passed the gate."""
        if key is not None and (begun := self._begun.pop(key, None)) is not None:
            self._buffer.add(step=self._with_mark(begun))

    def hold(self, key: StepKey | None) -> None:
        """Write that an action decides on a call: no later attempt takes it for one that ran."""
        if key is not None:
            self.held.add(key)
            self.start(key)

    def ran_with(self, key: StepKey | None, arguments: Mapping[str, Any]) -> None:
        """Write beside what a call asked for the arguments that it runs with."""
        if key is not None:
            self._ran_with[key] = arguments

    def mark(self, key: StepKey, status: StepStatus) -> None:
        """Have a call that answers end so: the gate knows better than the answer how it ended."""
        self._marks[key] = status

    def brought(self, key: StepKey | None, sources: Sequence[str]) -> None:
        """Mark the run: text from outside came in.

        That is written with the step that brought it, so no later attempt has one of them only.
        """
        self.outside.add(sources)
        if key is not None:
            known = dict.fromkeys([*self._sources.get(key, ()), *sources])
            self._sources[key] = list(known)[-MOST_KEPT:]

    def add_audit(self, key: StepKey | None, entry: AuditRow) -> None:
        """Write an audit row of how a call ended together with the end of its step.

        So nothing says of a call that it succeeded which a later attempt makes again.
        """
        if key is None:
            self._buffer.add(audit=[entry])
        else:
            self._audit.setdefault(key, []).append(entry)

    def _with_mark(self, step: Step) -> Step:
        request = dict(step.request)
        if step.key in self.held:
            request[_HELD] = True
        if step.key in self._ran_with:
            request[RAN_WITH] = self._ran_with[step.key]
        if step.key in self._sources:
            request[_OUTSIDE] = self._sources[step.key]
        return replace(step, request=request)

    def _usage(self, step: Step) -> UsageRow | None:
        usage, run = step.usage or {}, self._buffer.run
        used = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        if not any(used) and not step.cost_usd:
            return None
        cost = step.cost_usd or Decimal(0)
        return UsageRow(step.model_step, self._buffer.day, run.schedule_id, 1, *used, cost)
