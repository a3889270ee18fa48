"""Approval rules: what the operator, or a person for themselves, decides about tool calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from rota.domain.agents.configuration import RISKS, Risk
from rota.domain.approvals.conditions import Condition
from rota.domain.errors import InvalidInputError
from rota.domain.ids import ActionId, RuleId, ScheduleId, UserId
from rota.domain.text.shortening import quoted

Effect = Literal["allow", "require", "deny"]
Attendance = Literal["any", "unattended", "interactive"]

EFFECTS: Final[tuple[str, ...]] = get_args(Effect)
ATTENDANCES: Final[tuple[str, ...]] = get_args(Attendance)

MOST_CONDITIONS: Final = 50
LONGEST_NOTE: Final = 300
ALWAYS_LASTS: Final = timedelta(days=90)
"""How long "always allow this" holds at most."""

_TOOL: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}|[a-zA-Z0-9_-]{0,63}\*")
_NAMES: Final = frozenset({"arguments", "test", "values", "not", "missing"})


@dataclass(frozen=True, slots=True)
class RuleDraft:
    """A rule as a person gives it, before it is stored.

    `tool` is a name, the beginning of names and `*`, or `*` alone. `agent_name`, `schedule_id` and,
    in the operator's rules, `for_user` narrow the rule; without them it is for all. `uses_left`
    counts the calls that an `allow` still lets run. With `tool_version`, the rule is valid only
    while the tool's declaration has that version.
    """

    effect: Effect
    tool: str
    conditions: tuple[Condition, ...] = ()
    agent_name: str | None = None
    schedule_id: ScheduleId | None = None
    for_user: UserId | None = None
    attendance: Attendance = "any"
    risk: Risk | None = None
    note: str = ""
    tool_version: int | None = None
    expires_at: datetime | None = None
    uses_left: int | None = None
    from_action: ActionId | None = None

    def checked(self) -> RuleDraft:
        """Return it; raises InvalidInputError naming what is wrong."""
        if self.effect not in EFFECTS:
            raise _wrong(f"A rule is one of {', '.join(EFFECTS)}, not {self.effect!r}.", "effect")
        if not _TOOL.fullmatch(self.tool):
            raise _wrong(
                f"{quoted(self.tool, 80)} names no tool; write its name, the beginning of names "
                "and *, or * alone.",
                "tool",
            )
        if self.attendance not in ATTENDANCES:
            raise _wrong(f"runs is one of {', '.join(ATTENDANCES)}.", "runs")
        if self.risk is not None and self.risk not in RISKS:
            raise _wrong(f"risk is one of {', '.join(RISKS)}.", "risk")
        if len(self.conditions) > MOST_CONDITIONS:
            raise _wrong(f"A rule has at most {MOST_CONDITIONS} conditions.", "when")
        if len(self.note) > LONGEST_NOTE or any(ord(c) < 32 for c in self.note):
            raise _wrong(f"A note is one line of at most {LONGEST_NOTE} characters.", "note")
        if self.uses_left is not None:
            if self.effect != "allow":
                raise _wrong("Only a rule that allows counts its uses.", "uses")
            if not 1 <= self.uses_left <= 1_000_000:
                raise _wrong("The uses of a rule are from 1 to 1000000.", "uses")
        return self


@dataclass(frozen=True, slots=True)
class Rule:
    """A stored rule. `user_id` is its owner, None for the operator's rules.

    `fault` says why a stored rule cannot be read: then its meaning is unknown.
    """

    id: RuleId
    user_id: UserId | None
    draft: RuleDraft
    created_at: datetime | None = None
    fault: str | None = None

    @property
    def is_operators(self) -> bool:
        """Whether the operator made it."""
        return self.user_id is None

    @property
    def named(self) -> str:
        """How people are told of it."""
        note = f" ({self.draft.note})" if self.draft.note else ""
        whose = "the operator's" if self.is_operators else "your"
        return f"{whose} rule {str(self.id)[:8]}{note}"

    def names(self, tool_name: str) -> bool:
        """Return whether it is about a tool of this name."""
        wanted = self.draft.tool
        if wanted.endswith("*"):
            return tool_name.startswith(wanted[:-1])
        return tool_name == wanted


def conditions_from_json(value: object) -> tuple[Condition, ...]:
    """Read conditions as a row has them; raises InvalidInputError."""
    if not isinstance(value, list):
        raise _wrong("Conditions are a list.", "when")
    return tuple(_from_json(item) for item in value)


def condition_as_json(condition: Condition) -> dict[str, Any]:
    """Return a condition as a row has it."""
    value: dict[str, Any] = {
        "arguments": [path.text for path in condition.paths],
        "test": condition.test,
    }
    if condition.values:
        value["values"] = list(condition.values)
    if condition.is_negated:
        value["not"] = True
    if condition.missing is not None:
        value["missing"] = condition.missing
    return value


def _from_json(item: object) -> Condition:
    if not isinstance(item, Mapping) or not set(item) <= _NAMES:
        raise _wrong(f"A condition is a mapping of {', '.join(sorted(_NAMES))}.", "when")
    paths, values = item.get("arguments"), item.get("values", [])
    if not _is_texts(paths) or not isinstance(values, list) or not _is_texts([item.get("test")]):
        raise _wrong("A condition has a list of `arguments`, a `test`, and `values`.", "when")
    missing, negated = item.get("missing"), item.get("not", False)
    if missing not in {None, "matches", "does_not_match"} or not isinstance(negated, bool):
        raise _wrong("`missing` is matches or does_not_match, `not` is true or false.", "when")
    return Condition.make(paths or [], item["test"], values, is_negated=negated, missing=missing)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _wrong(message: str, field: str) -> InvalidInputError:
    return InvalidInputError(message, field=field)
