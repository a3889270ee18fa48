"""The trace of a run: each of its calls, without secrets, and what was decided on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from rota.domain.approvals.actions import ActionStatus, PendingAction
from rota.domain.ids import RunId
from rota.domain.runs.steps import EXECUTED, Step, StepKey
from rota.domain.text.jsonable import fields_of
from rota.security.secrets.redaction import redact


@dataclass(frozen=True, slots=True)
class ActionOfCall:
    """What a call asked for, and who decided. Secrets are replaced."""

    id: UUID
    status: ActionStatus
    decided_by: UUID | None
    decided_via: str | None
    decided_at: datetime | None
    arguments: Mapping[str, Any]
    proposed_arguments: Mapping[str, Any] | None


def actions_by_step(
    run_id: RunId, actions: Sequence[PendingAction]
) -> dict[StepKey, PendingAction]:
    """Return actions by the steps of a run that asked for them, or that executes the one."""
    found: dict[StepKey, PendingAction] = {}
    for action in actions:
        if action.run_id != run_id:
            found[EXECUTED] = action
        elif action.model_step is not None and action.call_index is not None:
            found[StepKey(action.model_step, action.call_index)] = action
    return found


def step_json(step: Step, action: PendingAction | None = None) -> dict[str, Any]:
    """Return a call as JSON, secrets replaced, with who decided on it."""
    shown: dict[str, Any] = redact(fields_of(step))
    return shown | {"action": _of_call(action), "finish_reason": step.finish_reason}


def _of_call(action: PendingAction | None) -> ActionOfCall | None:
    if action is None:
        return None
    return ActionOfCall(
        id=action.id,
        status=action.status,
        decided_by=action.decided_by,
        decided_via=action.decided_via,
        decided_at=action.decided_at,
        arguments=redact(action.arguments),
        proposed_arguments=redact(action.proposed_arguments),
    )
