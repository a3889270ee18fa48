"""Helps a person to decide on requests: similar requests, earlier decisions, details of one.

Every face that shows requests uses it. It decides nothing: `rota.services.approvals.service`
carries out decisions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, assert_never

from rota.domain.agents.configuration import RISKS, Risk
from rota.domain.approvals.actions import ActionMode, ActionStatus, PendingAction
from rota.domain.approvals.argument_edits import holds_redaction
from rota.domain.ids import UserId
from rota.domain.text.json_values import is_same

ROUTINE: Final = 5
"""Approvals of like requests, and no refusal, after which a rule is worth a thought."""

HISTORY_DAYS: Final = 90
"""How far back earlier decisions on like requests count."""


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """Similar requests: those of one agent for one tool with the same state.

    `same` are the arguments that all of them have in common, `differing` the names of the others. A
    person should look at the first of `actions` first.
    """

    actions: tuple[PendingAction, ...]
    same: Mapping[str, Any]
    differing: tuple[str, ...]

    @property
    def first(self) -> PendingAction:
        """The riskiest of them, and of those the one that expires next."""
        return self.actions[0]

    @property
    def risk(self) -> Risk:
        """The highest risk of them."""
        return self.first.risk

    @property
    def until(self) -> datetime:
        """When the first of them expires."""
        return min(action.expires_at for action in self.actions)


@dataclass(frozen=True, slots=True)
class Precedents:
    """How the owner decided on requests of this agent for this tool in the last 90 days."""

    approved: int
    refused: int

    @property
    def is_routine(self) -> bool:
        """Whether the answer was always yes, and often enough to make a rule of it."""
        return self.approved >= ROUTINE and self.refused == 0


@dataclass(frozen=True, slots=True)
class ActionDetails:
    """An action with all that helps to decide on it, as `viewer` sees it.

    `time_zone` is the viewer's (IANA). `owner_name` is what its owner is called where that is
    somebody else; `deputies` are its owner's, by their names. `like` are others that are pending
    for the same agent and tool. `schedule_name` and `prompt` are those of the run that asked, where
    the viewer may see it. `revealed` are all arguments, where they were asked for. `sender` is the
    address that a mail would come from, where its owner looks.
    """

    action: PendingAction
    viewer: UserId
    time_zone: str
    owner_name: str | None
    deputies: Mapping[UserId, str]
    precedents: Precedents
    like: tuple[PendingAction, ...]
    schedule_name: str | None
    prompt: str | None
    revealed: Mapping[str, Any] | None = None
    sender: str = ""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments as they are to be shown."""
        return self.action.arguments if self.revealed is None else self.revealed

    @property
    def offers_rule(self) -> bool:
        """Whether a rule for exactly this call is worth a thought: the answer was always yes."""
        action = self.action
        return (
            action.status is ActionStatus.PENDING
            and self.precedents.is_routine
            and action.user_id == self.viewer
            and not action.has_high_risk_signal
            and not holds_redaction(action.arguments)
        )


def approval_in_words(action: PendingAction) -> str:
    """Say what the approval of a pending action would do."""
    match action.mode:
        case ActionMode.SUSPEND:
            after = "The run that waits for it then goes on with the result."
        case ActionMode.QUEUE:
            after = "The run that asked for it went on without the result."
        case _:
            assert_never(action.mode)
    return f"{action.tool_name} is called once, with these arguments. {after}"


def group_requests(actions: Iterable[PendingAction]) -> tuple[RequestGroup, ...]:
    """Put like requests together: those of one person, agent and tool that stand alike.

    What is of unknown outcome comes first, as something may have happened; then the riskiest; of
    those what expires next.

    >>> groups = rota.group_requests(await app.approvals.list_actions(me))
    >>> [(group.first.tool_name, len(group.actions)) for group in groups]
    [('write_note', 1)]
    """
    alike: defaultdict[tuple[object, ...], list[PendingAction]] = defaultdict(list)
    for action in actions:
        alike[action.user_id, action.agent_name, action.tool_name, action.status].append(action)
    made = [_group(sorted(own, key=_urgency)) for own in alike.values()]
    return tuple(sorted(made, key=lambda group: _urgency(group.first)))


def same_calls(actions: Iterable[PendingAction]) -> tuple[tuple[PendingAction, ...], ...]:
    """Return what waits of the very same call of one run, where that is more than one request.

    Each of them runs that is approved.
    """
    alike: defaultdict[tuple[object, ...], list[PendingAction]] = defaultdict(list)
    for action in actions:
        if action.status is ActionStatus.PENDING and action.run_id is not None:
            alike[action.run_id, action.tool_name, action.arguments_hash].append(action)
    return tuple(tuple(own) for own in alike.values() if len(own) > 1)


def _group(actions: Sequence[PendingAction]) -> RequestGroup:
    first, *others = actions
    same = {
        name: value
        for name, value in first.arguments.items()
        # Equal redaction marks may hide different secrets.
        if not holds_redaction(value)
        and all(name in a.arguments and is_same(a.arguments[name], value) for a in others)
    }
    names = dict.fromkeys(name for action in actions for name in action.arguments)
    return RequestGroup(tuple(actions), same, tuple(name for name in names if name not in same))


def _urgency(action: PendingAction) -> tuple[object, ...]:
    return (
        action.status is not ActionStatus.UNKNOWN,
        -RISKS.index(action.risk),
        action.expires_at,
        action.created_at,
        str(action.id),
    )
