"""Pending actions: tool calls that wait for a person's approval, and their states."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias, assert_never

from rota.domain.agents.configuration import Risk
from rota.domain.approvals.risk_signals import RiskSignal, risk_signals
from rota.domain.errors import InvalidInputError, UnavailableError
from rota.domain.ids import ActionId, RunId, UserId
from rota.domain.text.shortening import quoted

EXPIRES_AFTER: Final = timedelta(hours=24)
"""How long an action waits for a decision where nothing else is set."""

LONGEST_WAIT: Final = timedelta(days=30)

WARNED_BEFORE: Final = timedelta(hours=2)
"""How long before its end a person is told that an action expires; at most half of its time."""

MOST_REQUESTS: Final = 20
"""Actions that one run may ask for where nothing else is set; more are refused at once."""

MOST_REQUESTS_SET: Final = 100
"""How many may be set at most: a person looks at each."""

MOST_REFUSALS: Final = 3
"""Refusals of a tool's calls in one run after which nobody is asked about that tool any more."""

MOST_WAITING: Final = 200
"""Requests of one agent that may wait for one person, over all of its runs."""

LARGEST_REQUEST: Final = 200_000
"""Characters of a held call's arguments as JSON."""

APPROVAL_LASTS: Final = timedelta(days=7)
"""An approved action that nobody began within this time fails: it may not be right any more."""

LOOKED_UP: Final = "Looked up: "
"""How the result of an action of unknown outcome begins where it is proved to have taken effect."""

LONGEST_ACCOUNT: Final = 2_000
LONGEST_REASON: Final = 1_000


ApprovalDecision: TypeAlias = Literal["approve", "refuse"]

Settlement: TypeAlias = Literal["happened", "did_not", "again"]
"""What a person may say of an action of unknown outcome; `again` runs it once more."""


class ActionMode(StrEnum):
    """What an agent does while its call waits.

    `queue`: the run continues without the result, and the call runs by itself once it is approved.
    `suspend`: the run is suspended, and continues with the real result or the refusal.
    """

    QUEUE = "queue"
    SUSPEND = "suspend"


class ActionStatus(StrEnum):
    """Where an action stands; `NEXT` holds the transitions, each a compare-and-set.

    >>> waiting = await app.approvals.list_actions(me, statuses=[rota.ActionStatus.PENDING])
    >>> [action.tool_name for action in waiting]
    ['write_note']
    """

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


NEXT: Final[Mapping[ActionStatus, frozenset[ActionStatus]]] = {
    ActionStatus.PENDING: frozenset(
        {
            ActionStatus.APPROVED,
            ActionStatus.REFUSED,
            ActionStatus.EXPIRED,
            ActionStatus.WITHDRAWN,
        }
    ),
    # approved → failed without running: the tool, its version or the policy changed meanwhile.
    ActionStatus.APPROVED: frozenset(
        {ActionStatus.RUNNING, ActionStatus.FAILED, ActionStatus.WITHDRAWN}
    ),
    ActionStatus.RUNNING: frozenset(
        {ActionStatus.SUCCEEDED, ActionStatus.FAILED, ActionStatus.UNKNOWN}
    ),
    # Only a person leaves this state: they look, and say what happened.
    ActionStatus.UNKNOWN: frozenset(
        {ActionStatus.APPROVED, ActionStatus.SUCCEEDED, ActionStatus.FAILED}
    ),
    ActionStatus.REFUSED: frozenset(),
    ActionStatus.EXPIRED: frozenset(),
    ActionStatus.WITHDRAWN: frozenset(),
    ActionStatus.SUCCEEDED: frozenset(),
    ActionStatus.FAILED: frozenset(),
}


class OutcomeUnknownError(UnavailableError):
    """A service did not say whether it did what a tool asked for: it may have."""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """An approval request in brief, for a notification.

    `account` and `arguments` are the agent's, untrusted.
    """

    id: ActionId
    tool_name: str
    risk: Risk
    account: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PendingAction:
    """One row of `pending_actions`, as its owner sees it. Times are aware and in UTC.

    `arguments` are redacted where `is_sealed`: then all of them are kept encrypted. `version`
    counts edits; `proposed_arguments` is what the agent asked for where somebody edited it.
    `escalated_at` is when its owner's deputies were told, `decided_by` who decided. `model_step`
    and `call_index` say which call of its run asked; None for one that a tool made itself.

    >>> (action,) = await app.approvals.list_actions(me)
    >>> action.tool_name, dict(action.arguments), action.risk
    ('write_note', {'text': 'milk'}, 'high')
    >>> decided = await app.approvals.decide(
    ...     me, str(action.id), "approve", version=action.version, via="my_app"
    ... )
    >>> decided.status.value
    'approved'
    """

    id: ActionId
    user_id: UserId
    run_id: RunId | None
    agent_name: str
    tool_name: str
    tool_version: int | None
    arguments: Mapping[str, Any]
    arguments_hash: str
    risk: Risk
    reason: str
    account: str
    mode: ActionMode
    status: ActionStatus
    version: int
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_via: str | None
    decision_reason: str
    started_at: datetime | None
    finished_at: datetime | None
    result: str | None
    proposed_arguments: Mapping[str, Any] | None
    argument_schema: Mapping[str, Any] | None
    escalated_at: datetime | None
    decided_by: UserId | None
    model_step: int | None = None
    call_index: int | None = None

    @property
    def signals(self) -> tuple[RiskSignal, ...]:
        """What a person should look at twice in the arguments."""
        return risk_signals(self.arguments)

    @property
    def has_high_risk_signal(self) -> bool:
        """Whether one of them is of high risk: nothing is offered then that spares a look."""
        return any(signal.risk == "high" for signal in self.signals)


_VIA: Final = re.compile(r"[a-z][a-z0-9_]{0,30}", re.ASCII)


def check_via(via: str) -> None:
    """Raise InvalidInputError for a name of a program that the audit log does not take."""
    if not _VIA.fullmatch(via):
        raise InvalidInputError(
            "via names the program that the person used, such as my_app: a small letter, then at "
            f"most 30 small letters, digits and _; not {quoted(via)}.",
            field="via",
        )


def edit_note(arguments: Mapping[str, Any]) -> str:
    """Say to the agent what was approved in the place of what it asked for."""
    written = json.dumps(dict(arguments), ensure_ascii=False)
    return f"The owner changed the arguments before approving; what was approved is {written}"


def message_to_agent(action: PendingAction) -> str:
    """Say to the agent what became of its call, where it was not run for it."""
    name = action.tool_name
    match action.status:
        case ActionStatus.REFUSED:
            reason = f" They said: {action.decision_reason!r}." if action.decision_reason else ""
            said = (
                f"The owner refused this call of {name}; it did not run.{reason} Do not ask for "
                "the same again."
            )
        case ActionStatus.EXPIRED:
            said = (
                f"Nobody decided on this call of {name} in time, so it did not run. It was "
                "neither approved nor refused."
            )
        case ActionStatus.WITHDRAWN:
            said = f"This call of {name} was withdrawn; it did not run."
        case ActionStatus.UNKNOWN | ActionStatus.RUNNING:
            said = (
                f"{name} was approved and started, and whether it took effect is unknown. It was "
                "not repeated. Do not call it again; report that its outcome is unknown."
            )
        case ActionStatus.FAILED:
            said = f"{name} was approved, and failed: {action.result or 'no reason is known'}"
        case ActionStatus.SUCCEEDED:
            said = action.result or ""
        case ActionStatus.PENDING | ActionStatus.APPROVED:
            said = waiting_message(name, action.id, action.reason)
        case _:
            assert_never(action.status)
    return said


def waiting_message(tool_name: str, action_id: ActionId, reason: str) -> str:
    """Say to the agent that its call waits, and that it is to go on."""
    return (
        f"{tool_name} has not run: it needs the owner's approval ({reason}). The request is stored "
        f"as pending action {action_id} and runs if they approve. Go on without its result, do not "
        "ask for it again, and say in your answer that it waits."
    )


def message_to_person(action: PendingAction, status: ActionStatus) -> str:
    """Say to a person where an action stands that they cannot decide on."""
    via = f", from {action.decided_via}" if action.decided_via else ""
    match status:
        case ActionStatus.PENDING:
            said = "it waits for a decision."
        case ActionStatus.APPROVED:
            said = f"it was approved{via}, and will run soon."
        case ActionStatus.RUNNING:
            said = f"it was approved{via}, and is running."
        case ActionStatus.SUCCEEDED:
            said = f"it was approved{via}, and has succeeded."
        case ActionStatus.FAILED:
            said = f"it was approved{via}, and has failed."
        case ActionStatus.UNKNOWN:
            said = (
                f"it was approved{via}, and begun; whether it took effect is unknown. Look, and "
                "say what you found: "
                f"`rota approvals settle {str(action.id)[:8]} happened|did-not|again`."
            )
        case ActionStatus.REFUSED:
            said = f"it was refused{via}."
        case ActionStatus.EXPIRED:
            said = "it has expired; nobody decided in time."
        case ActionStatus.WITHDRAWN:
            said = "it was withdrawn; it does not run."
        case _:
            assert_never(status)
    return said
