"""Rules and what came of them, as people and programs read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rota.cli import output
from rota.domain.approvals.rules import condition_as_json

if TYPE_CHECKING:
    from rota.domain.approvals.rules import Rule
    from rota.services.approvals.rules import Explanation

NAMELESS: Final[Mapping[UUID, str]] = MappingProxyType({})
_DECISIONS: Final = {
    "allowed": "It runs",
    "held": "It waits for approval",
    "refused": "It is refused",
}
_VERBS: Final = {"allow": "allow", "require": "require approval of", "deny": "deny"}


def print_rules(rules: Sequence[Rule], zone: str, names: Mapping[UUID, str]) -> None:
    """Print rules, each as its sentence and what else is known of it.

    `names` are those of schedules and people.
    """
    if not rules:
        output.say("There are no rules: tools' tiers and your preferences decide.")
    for number, rule in enumerate(rules):
        if number:
            output.say()
        draft = rule.draft
        output.say_line(f"{output.short(rule.id)}: {in_words(rule, names)}")
        lines = [
            ("Whose", "the operator's" if rule.is_operators else "yours"),
            ("Until", output.when(draft.expires_at, zone) if draft.expires_at else ""),
            ("Uses left", str(draft.uses_left) if draft.uses_left is not None else ""),
            ("Tool", f"at version {draft.tool_version} only" if draft.tool_version else ""),
            ("Note", draft.note),
        ]
        for name, said in lines:
            if said:
                output.say_field(name, said)


def in_words(rule: Rule, names: Mapping[UUID, str] = NAMELESS) -> str:
    """Return a rule as one sentence; schedules and people by their names, or else their ids."""
    conditions = _conditions(rule)
    scope = _scope(rule, names)
    parts = [f"{_VERBS[rule.draft.effect]} {rule.draft.tool}"]
    parts += [f"when {conditions}"] if conditions else []
    parts += [f"for {', '.join(scope)}"] if scope else []
    return " ".join(parts) + _risk_in_words(rule)


def _risk_in_words(rule: Rule) -> str:
    risk = rule.draft.risk
    if rule.draft.effect == "allow" and risk == "high":
        return ", also with risk signals"
    return f", as a call of {risk} risk at least" if risk is not None else ""


def print_explained(tool: str, explained: Explanation, names: Mapping[UUID, str]) -> None:
    """Print a decision, each rule that was looked at, and what would have to change."""
    verdict = explained.verdict
    output.say_line(f"{_DECISIONS[verdict.decision]}: {verdict.reason}.")
    output.say(f"Tier {verdict.tier}, risk {verdict.risk}.")
    if not explained.findings:
        output.say()
        output.say_line(f"No rules were looked at: what is declared of {tool} decides.")
    for found in explained.findings:
        output.say()
        output.say_line(f"{output.short(found.rule.id)}: {in_words(found.rule, names)}")
        output.say_field("Whose", "the operator's" if found.rule.is_operators else "yours")
        output.say_field("It", _came_to(found.finding, is_idle=found.is_idle))
        output.say_field("Why", found.why)
    output.say()
    for line in explained.advice:
        output.say_line(line)


def rule_json(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON."""
    draft = rule.draft
    return {
        "id": rule.id,
        "whose": "operator" if rule.is_operators else "you",
        "effect": draft.effect,
        "tool": draft.tool,
        "when": [str(condition) for condition in draft.conditions],
        "conditions": [condition_as_json(condition) for condition in draft.conditions],
        "agent": draft.agent_name,
        "schedule_id": draft.schedule_id,
        "for_user": draft.for_user,
        "runs": draft.attendance,
        "risk": draft.risk,
        "note": draft.note,
        "tool_version": draft.tool_version,
        "expires_at": draft.expires_at,
        "uses_left": draft.uses_left,
        "from_action": draft.from_action,
        "fault": rule.fault,
    }


def explained_json(explained: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON."""
    verdict = explained.verdict
    return {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "tier": verdict.tier,
        "risk": verdict.risk,
        "rules": [
            {
                "id": found.rule.id,
                "rule": in_words(found.rule),
                "finding": found.finding,
                "may_loosen": not found.is_idle,
                "why": found.why,
            }
            for found in explained.findings
        ],
        "advice": list(explained.advice),
    }


def _conditions(rule: Rule) -> str:
    if rule.fault is not None:
        return f"(cannot be read: {rule.fault})"
    return " and ".join(str(condition) for condition in rule.draft.conditions)


def _scope(rule: Rule, names: Mapping[UUID, str]) -> list[str]:
    draft = rule.draft
    scope = []
    if draft.for_user is not None:
        scope.append(names.get(draft.for_user) or f"user {output.short(draft.for_user)}")
    if draft.agent_name is not None:
        scope.append(f"agent {draft.agent_name}")
    if draft.schedule_id is not None:
        schedule = names.get(draft.schedule_id) or output.short(draft.schedule_id)
        scope.append(f"schedule {schedule}")
    if draft.attendance != "any":
        scope.append(f"{draft.attendance} runs")
    return scope


def _came_to(finding: str, *, is_idle: bool) -> str:
    if is_idle:
        return "applies, but may not loosen this tool"
    return finding.replace("_", " ")
