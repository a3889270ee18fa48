"""A step: one journalled call of a run, of a model, a tool or an operator's own code.

Steps are written while a run is executed, and replayed to a later attempt. This module says only
what a step is. `agents/journal` decides when one is written; `store/runs/journals` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from rota.domain.agents.finish_reasons import finish_reason

MODEL_CALL: Final = -1
"""`call_index` of a model call; its tool calls count from 0."""

BEFORE: Final = 0
"""`model_step` of what happens before the first model call: a pre-check."""

RAN_WITH: Final = "ran_with"
"""In a step's `request`: the arguments of a call that its owner changed, as they are shown."""

StepKind = Literal["model", "tool", "callable"]
StepStatus = Literal["started", "finished", "failed", "held", "refused", "rehearsed", "unknown"]
"""`rehearsed`: a dry run did not make this call."""


class StepKey(NamedTuple):
    """The place of a call in its run: the model call that made it, and its index there."""

    model_step: int
    call_index: int


EXECUTED: Final = StepKey(1, 0)
"""The place of the only call in a run that executes an approved action."""


@dataclass(frozen=True, slots=True)
class Step:
    """One row of `agent_run_steps`, without its run. Times are aware and in UTC.

    `request` holds redacted arguments and their hash. `attempts` are the failed attempts of a model
    call. `cost_usd` is None if no price is known.
    """

    model_step: int
    call_index: int
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

    @property
    def key(self) -> StepKey:
        """Where it stands in its run."""
        return StepKey(self.model_step, self.call_index)

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, as its provider says it; None for other calls, and if unsaid."""
        first = self.response[0] if isinstance(self.response, list) and self.response else None
        data = first.get("data") if isinstance(first, Mapping) else None
        metadata = data.get("response_metadata") if isinstance(data, Mapping) else None
        return finish_reason(metadata) if isinstance(metadata, Mapping) else None
