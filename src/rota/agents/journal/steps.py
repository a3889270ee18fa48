"""The journal's interfaces: the recorder of a run's steps, and the progress of the run so far.

`services/runs/step_log` is the `StepRecorder` of an attempt. `journal` decides when a step is
recorded; domain/runs/steps says what a step is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from langchain_core.messages import AIMessage

from rota.domain.agents.message_content import said_in
from rota.domain.approvals.outside_texts import OutsideTexts
from rota.domain.runs.limits import Spent
from rota.domain.runs.steps import Step, StepKey


class StepRecorder(Protocol):
    """Records the steps of one attempt, and returns those of earlier attempts."""

    @property
    def spent_today(self) -> Mapping[str, Spent]:
        """What the database had counted when a step was last written, by whose day it is."""
        ...

    @property
    def parked(self) -> AbstractSet[StepKey]:
        """Calls that wait for a decision without which the run does not go on."""
        ...

    @property
    def outside(self) -> OutsideTexts:
        """What the run has read from outside."""
        ...

    def said(self, text: str) -> None:
        """Take note of what the agent says beside the calls that come next."""
        ...

    def recorded(self, key: StepKey) -> Step | None:
        """Return what an earlier attempt wrote under this key."""
        ...

    def recorded_tools(self) -> Sequence[Step]:
        """Return the tool calls that earlier attempts wrote, in order, without pre-checks."""
        ...

    def begin(self, step: Step) -> None:
        """Take note of a call on its way to the gate: it is written once the gate has judged it."""
        ...

    async def record(self, step: Step, *, durable: bool = False) -> None:
        """Write a step; with `durable` it is in the database before this returns."""
        ...


@dataclass(slots=True)
class Progress:
    """What a run has done so far, for its result's metadata and for a partial result."""

    model_calls: int = 0
    tool_calls: int = 0
    replayed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)  # None: of some call no price is known
    failed_calls: int = 0
    texts: list[str] = field(default_factory=list)

    def add(self, message: AIMessage) -> None:
        """Count a model's answer."""
        self.model_calls += 1
        if text := said_in(message.content):
            self.texts.append(text)

    def spend(self, usage: Mapping[str, Any], cost: Decimal | None) -> None:
        """Count the tokens and the cost of a model call."""
        self.input_tokens += usage.get("input_tokens", 0)
        self.output_tokens += usage.get("output_tokens", 0)
        if cost is None or self.cost_usd is None:
            self.cost_usd = None
        else:
            self.cost_usd += cost
