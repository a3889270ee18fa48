"""Approval rules: what the operator, or a person for themselves, decides about tool calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, get_args
from uuid import UUID

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


NAMELESS: Final[Mapping[UUID, str]] = MappingProxyType({})
_VERBS: Final = {"allow": "allow", "require": "require approval of", "deny": "refuse"}


def effect_in_words(rule: Rule) -> str:
    """Return what a rule does with which tool's calls."""
    return f"{_VERBS[rule.draft.effect]} {rule.draft.tool}"


def limits_in_words(
    rule: Rule, names: Mapping[UUID, str] = NAMELESS, *, short: Callable[[UUID], str] = str
) -> list[tuple[str, str]]:
    """Return what limits a rule, by the name of each; several conditions have one name.

    Schedules and people are shown by their names, or else by their ids, as `short` writes them.
    """
    conditions = [condition.in_words() for condition in rule.draft.conditions]
    if rule.fault is not None:
        conditions = [f"(cannot be read: {rule.fault})"]
    when = [("When" if not index else "and", said) for index, said in enumerate(conditions)]
    risk = [("Risk", said)] if (said := _risk_in_words(rule)) else []
    return [*_scope(rule, names, short), *when, *risk]


def rule_in_words(rule: Rule, names: Mapping[UUID, str] = NAMELESS) -> str:
    """Return a rule in one line, as JSON has it."""
    limits = [f"{name.lower()} {said}".strip() for name, said in limits_in_words(rule, names)]
    return "; ".join([effect_in_words(rule), *limits])


def _risk_in_words(rule: Rule) -> str:
    risk = rule.draft.risk
    if rule.draft.effect == "allow" and risk == "high":
        return "calls with a risk signal run too"
    return f"the call counts as {risk} risk or higher" if risk is not None else ""


def _scope(
    rule: Rule, names: Mapping[UUID, str], short: Callable[[UUID], str]
) -> list[tuple[str, str]]:
    draft = rule.draft
    scope = []
    if draft.for_user is not None:
        scope.append(("For", names.get(draft.for_user) or f"user {short(draft.for_user)}"))
    if draft.agent_name is not None:
        scope.append(("Agent", draft.agent_name))
    if draft.schedule_id is not None:
        scope.append(("Schedule", names.get(draft.schedule_id) or short(draft.schedule_id)))
    if draft.attendance != "any":
        scope.append(("Runs", f"{draft.attendance} only"))
    return scope
