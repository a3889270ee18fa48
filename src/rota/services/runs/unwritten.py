"""What an attempt has collected, and not written yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rota.agents.journal.steps import Step
from rota.domain.runs.run import Claim
from rota.domain.runs.views import StepRow
from rota.domain.text.storable import storable_json, storable_text
from rota.security.gate.calls import StepKey
from rota.store.runs.journals import AuditRow, JournalRows, UsageRow


@dataclass(slots=True)
class Unwritten:
    """What an attempt has collected and not written yet."""

    snapshot: Mapping[str, Any] | None = None
    steps: dict[StepKey, Step] = field(default_factory=dict)
    audit: list[AuditRow] = field(default_factory=list)
    usage: dict[StepKey, UsageRow] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.steps or self.audit or self.usage)

    def rows(self, claim: Claim) -> JournalRows:
        """Return it as rows."""
        return JournalRows(
            claim,
            self.snapshot,
            [step_row(step) for step in self.steps.values()],
            self.audit,
            list(self.usage.values()),
        )

    def before(self, later: Unwritten) -> Unwritten:
        """Return this, followed by what was collected later."""
        return Unwritten(
            self.snapshot or later.snapshot,
            self.steps | later.steps,
            self.audit + later.audit,
            self.usage | later.usage,
        )


def step_row(step: Step) -> StepRow:
    """Return a step as its row; names and ids are a model's, errors a server's: any text."""
    return StepRow(
        model_step=step.key.model_step,
        call_index=step.key.call_index,
        kind=step.kind,
        name=storable_text(step.name),
        status=step.status,
        tool_call_id=storable_text(step.tool_call_id) if step.tool_call_id else None,
        request=step.request,
        response=step.response,
        usage=step.usage,
        cost_usd=step.cost_usd,
        attempts=storable_json(step.attempts),
        error=storable_text(step.error) if step.error else None,
        started_at=step.started_at,
        finished_at=step.finished_at,
    )
