"""Approval rules as JSON, and the explanation of what they make of a call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from rota.domain.agents.configuration import Risk
from rota.domain.approvals.rules import NAMELESS, Attendance, Rule, condition_as_json, rule_in_words
from rota.domain.ids import ActionId, RuleId, ScheduleId, UserId
from rota.services.approvals.rules import Explanation
from rota.shown.approvals import ActionShown
from rota.shown.models import Shown


class RuleShown(Shown):
    """An approval rule."""

    id: RuleId
    whose: Literal["operator", "you"]
    effect: Literal["allow", "require", "refuse"]
    tool: str = Field(description="A name, or the beginning of names and `*`.")
    when: list[str] = Field(description="All of these conditions have to hold.")
    conditions: list[dict[str, Any]] = Field(description="The same, taken apart.")
    agent: str | None
    schedule: str | None
    schedule_id: ScheduleId | None
    for_user: UserId | None
    runs: Attendance
    risk: Risk | None
    note: str
    tool_version: int | None
    expires_at: datetime | None
    uses_left: int | None
    from_action: ActionId | None = Field(description="The request that it was made from.")
    fault: str | None = Field(description="Why it cannot be read.")


class ListedRuleShown(RuleShown):
    """An approval rule of a list. `stale`: its tool was declared anew, so it lets nothing run."""

    stale: bool


class AddedRuleShown(RuleShown):
    """A rule that was asked for. It is not new if the same rule existed already."""

    is_new: bool


class FindingShown(Shown):
    """What was found of one rule."""

    id: RuleId
    rule: str = Field(description="The rule in words.")
    finding: str
    may_loosen: bool = Field(description="False: only the operator may allow this tool.")
    why: str


class ExplanationShown(Shown):
    """The decision on a call, the rules that led to it, and what would change it."""

    decision: Literal["allowed", "held", "refused"]
    reason: str
    tier: str
    risk: Risk
    rules: list[FindingShown]
    advice: list[str]


class ApprovedAlwaysShown(Shown):
    """An approved request, and the rule that was made from it."""

    action: ActionShown  # type: ignore[valid-type]  # a type that is made
    rule: RuleShown


def rule_json(rule: Rule, names: Mapping[UUID, str] = NAMELESS) -> dict[str, Any]:
    """Return a rule as JSON; `names` are those of schedules."""
    draft = rule.draft
    return {
        "id": rule.id,
        "whose": "operator" if rule.is_operators else "you",
        "effect": "refuse" if draft.effect == "deny" else draft.effect,
        "tool": draft.tool,
        "when": [str(condition) for condition in draft.conditions],
        "conditions": [condition_as_json(condition) for condition in draft.conditions],
        "agent": draft.agent_name,
        "schedule": names.get(draft.schedule_id) if draft.schedule_id is not None else None,
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
                "rule": rule_in_words(found.rule),
                "finding": found.finding,
                "may_loosen": not found.is_idle,
                "why": found.why,
            }
            for found in explained.findings
        ],
        "advice": list(explained.advice),
    }
