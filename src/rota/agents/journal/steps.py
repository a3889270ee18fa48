"""What a run's journal is made of: steps, where they are kept, and what a run has done so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

from langchain_core.messages import AIMessage

from rota.domain.agents.message_content import normalize_content
from rota.domain.runs.limits import Spent
from rota.security.gate.calls import StepKey

MODEL_CALL: Final = -1
"""`call_index` of a model call; its tool calls count from 0."""

BEFORE: Final = 0
"""`model_step` of what happens before the first model call: a pre-check."""

StepKind = Literal["model", "tool", "callable"]
StepStatus = Literal["started", "finished", "failed", "held", "unknown"]


@dataclass(frozen=True, slots=True)
class Step:
    """One journalled call. `request` holds redacted arguments and their hash.

    `attempts` are the failed attempts of a model call, `cost_usd` None where no price is known.
    """

    key: StepKey
    kind: StepKind
    name: str
    status: StepStatus
    started_at: datetime
    tool_call_id: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    response: Any = None
    usage: Mapping[str, Any] | None = None
    cost_usd: Decimal | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None
    finished_at: datetime | None = None


class StepRecorder(Protocol):
    """Where steps are kept. `recorded` are those of earlier attempts.

    `spent_today` is what the database had counted when a step was last written, by whose day it is.
    """

    spent_today: Mapping[str, Spent]

    @property
    def parked(self) -> AbstractSet[StepKey]:
        """Calls that wait for a decision without which the run does not go on."""
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

    async def unwrapped(
        self, tool_name: str, arguments: Mapping[str, Any], outcome: str, detail: str = ""
    ) -> None:
        """Record that a call of a tool that runs without the gate begins, or ended."""
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
    stop_reason: str | None = None

    def add(self, message: AIMessage) -> None:
        """Count a model's answer."""
        self.model_calls += 1
        if text := normalize_content(message.content):
            self.texts.append(text)
        metadata = message.response_metadata
        reason = (
            metadata.get("stop_reason")
            or metadata.get("finish_reason")
            or metadata.get("done_reason")
            or (metadata.get("incomplete_details") or {}).get("reason")
        )
        self.stop_reason = str(reason) if reason else None

    def spend(self, usage: Mapping[str, Any], cost: Decimal | None) -> None:
        """Count the tokens and the cost of a model call."""
        self.input_tokens += usage.get("input_tokens", 0)
        self.output_tokens += usage.get("output_tokens", 0)
        if cost is None or self.cost_usd is None:
            self.cost_usd = None
        else:
            self.cost_usd += cost
