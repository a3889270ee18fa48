"""Rules and what came of them, as people and programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rota.cli import output
from rota.domain.rules import condition_as_json

if TYPE_CHECKING:
    from rota.domain.rules import Rule
    from rota.services.approval_rules import Explained

_DECISIONS: Final = {
    "allowed": "It runs",
    "held": "It waits for approval",
    "refused": "It is refused",
}
_VERBS: Final = {"allow": "allow", "require": "require approval of", "deny": "deny"}


def print_rules(rules: Sequence[Rule], zone: str) -> None:
    """Print rules as a table."""
    output.table(
        ["ID", "WHOSE", "RULE", "TOOL", "WHEN", "FOR", "UNTIL", "USES LEFT", "NOTE"],
        [
            (
                output.short(rule.id),
                "operator" if rule.is_operators else "you",
                rule.draft.effect,
                rule.draft.tool,
                _conditions(rule),
                ", ".join(_scope(rule)) or "all",
                output.when(rule.draft.expires_at, zone) if rule.draft.expires_at else "-",
                rule.draft.uses_left if rule.draft.uses_left is not None else "-",
                rule.draft.note,
            )
            for rule in rules
        ],
        empty="There are no rules: tools' tiers and your preferences decide.",
    )


def in_words(rule: Rule) -> str:
    """Return a rule as one sentence."""
    conditions = _conditions(rule)
    parts = [f"{_VERBS[rule.draft.effect]} {rule.draft.tool}"]
    parts += [f"when {conditions}"] if conditions else []
    parts += [f"for {', '.join(_scope(rule))}"] if _scope(rule) else []
    return " ".join(parts)


def print_explained(tool: str, explained: Explained) -> None:
    """Print a decision, each rule that was looked at, and what would have to change."""
    verdict = explained.weighed.verdict
    output.say(f"{_DECISIONS[verdict.decision]}: {verdict.reason}.")
    output.say(f"Tier {verdict.tier}, risk {verdict.risk}.")
    output.say()
    output.table(
        ["RULE", "WHOSE", "SAYS", "IT", "WHY"],
        [
            (
                output.short(found.rule.id),
                "operator" if found.rule.is_operators else "you",
                in_words(found.rule),
                _came_to(found.finding, is_idle=found.is_idle),
                found.why,
            )
            for found in explained.weighed.found
        ],
        empty=f"No rules were looked at: what is declared of {tool} decides.",
    )
    output.say()
    for line in explained.advice:
        output.say(line)


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


def explained_json(explained: Explained) -> dict[str, Any]:
    """Return an explanation as JSON."""
    verdict = explained.weighed.verdict
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
            for found in explained.weighed.found
        ],
        "advice": list(explained.advice),
    }


def _conditions(rule: Rule) -> str:
    if rule.fault is not None:
        return f"(cannot be read: {rule.fault})"
    return " and ".join(str(condition) for condition in rule.draft.conditions)


def _scope(rule: Rule) -> list[str]:
    draft = rule.draft
    scope = []
    if draft.for_user is not None:
        scope.append(f"user {output.short(draft.for_user)}")
    if draft.agent_name is not None:
        scope.append(f"agent {draft.agent_name}")
    if draft.schedule_id is not None:
        scope.append(f"schedule {output.short(draft.schedule_id)}")
    if draft.attendance != "any":
        scope.append(f"{draft.attendance} runs")
    return scope


def _came_to(finding: str, *, is_idle: bool) -> str:
    if is_idle:
        return "applies, but may not loosen this tool"
    return finding.replace("_", " ")
