"""Requests as a person goes through them: like ones together, the riskiest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rota.domain.agents.configuration import RISKS, Risk
from rota.domain.approvals.actions import ActionStatus, PendingAction
from rota.domain.text.storable import REDACTED

ROUTINE: Final = 5
"""Approvals of like requests, and no refusal, after which a rule is worth a thought."""

HISTORY_DAYS: Final = 90
"""How far back earlier decisions on like requests count."""


@dataclass(frozen=True, slots=True)
class Group:
    """Requests of one agent for one tool that stand alike.

    `same` are the arguments that all of them have in common, `differing` the names of the others.
    The first of `actions` is the one to look at first.
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
    """How its owner decided on requests of this agent for this tool in the last 90 days."""

    approved: int
    refused: int

    @property
    def is_routine(self) -> bool:
        """Whether the answer was always yes, and often enough to make a rule of it."""
        return self.approved >= ROUTINE and self.refused == 0


def groups(actions: Iterable[PendingAction]) -> tuple[Group, ...]:
    """Put like requests together: those of one person, agent and tool that stand alike.

    What is of unknown outcome comes first, as something may have happened; then the riskiest; of
    those what expires next.
    """
    alike: defaultdict[tuple[object, ...], list[PendingAction]] = defaultdict(list)
    for action in actions:
        alike[action.user_id, action.agent_name, action.tool_name, action.status].append(action)
    made = [_group(sorted(own, key=_urgency)) for own in alike.values()]
    return tuple(sorted(made, key=lambda group: _urgency(group.first)))


def _group(actions: Sequence[PendingAction]) -> Group:
    first, *others = actions
    same = {
        name: value
        for name, value in first.arguments.items()
        if all(name in a.arguments and _is_same(a.arguments[name], value) for a in others)
    }
    names = dict.fromkeys(name for action in actions for name in action.arguments)
    return Group(tuple(actions), same, tuple(name for name in names if name not in same))


def _is_same(one: Any, other: Any) -> bool:
    """Compare JSON values, of megabytes perhaps; to Python, 1 and true are equal.

    What stands for a secret may stand for another one.
    """
    if type(one) is not type(other) or (isinstance(one, str) and REDACTED in one):
        return False
    match one:
        case Mapping():
            return one.keys() == other.keys() and all(_is_same(one[k], other[k]) for k in one)
        case list():
            return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def _urgency(action: PendingAction) -> tuple[object, ...]:
    return (
        action.status is not ActionStatus.UNKNOWN,
        -RISKS.index(action.risk),
        action.expires_at,
        action.created_at,
        str(action.id),
    )
