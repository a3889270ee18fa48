"""The verdict on a call: it runs by itself, waits for a person, or is refused.

The declaration of the tool comes first, as the minimum. Then come rules: deny before require before
allow. If a condition cannot be decided, the call waits for a person. The gate judges each call
(`security/gate/policy.py`). `rota approvals policy explain` shows the finding on each rule. Risk
signals are not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, assert_never

from rota.domain.agents.configuration import RISKS, Risk, Tier, ToolDeclaration
from rota.domain.approvals.conditions import Condition, ConditionResult
from rota.domain.approvals.rules import Effect, Rule
from rota.domain.ids import RuleId, ScheduleId, UserId

Decision = Literal["allowed", "held", "refused"]

Finding = Literal["applies", "does_not_apply", "undecided", "broken"]
"""Of `broken` rules nobody knows what they were to say."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Who makes the call, and when. `unattended`: no person asked for the run just now."""

    user_id: UserId
    agent_name: str
    schedule_id: ScheduleId | None
    unattended: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call runs (`allowed`), waits (`held`) or is `refused`, and why in words.

    `uses` is the rule whose uses must be counted before the call may run. If no use is left, the
    call is judged again without this rule. `heeds_signals`: the call waits if it has a risk signal
    of high risk. `reaches_outside`: the call also waits once the run has read text from outside,
    because the model chooses where data goes. `allowing` are the rules that let the call run. One
    of them may say that it allows the call in these cases, too.
    """

    decision: Decision
    tier: Tier | Literal["unknown"]
    risk: Risk
    reason: str
    uses: RuleId | None = None
    heeds_signals: bool = False
    reaches_outside: bool = False
    allowing: tuple[Rule, ...] = ()

    def allowed_by(self, rule: Rule) -> Verdict:
        """Return it as one that this rule makes."""
        counted = rule.id if rule.draft.uses_left is not None else None
        return replace(self, reason=f"{rule.named} allows it", uses=counted)


CheckedCondition = tuple[Condition, ConditionResult]


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """The finding on one rule.

    `decided_by` are the conditions that decided it; `note` is the reason if no condition did.
    `is_idle`: the rule applies, but it may not loosen what the tool requires.
    """

    rule: Rule
    finding: Finding
    note: str = "it has no conditions"
    decided_by: tuple[CheckedCondition, ...] = ()
    is_idle: bool = False

    @property
    def why(self) -> str:
        """What decided it, in words; put together only where somebody asks."""
        said = [f"{condition}: {held.why}" for condition, held in self.decided_by]
        return "; ".join(said) or self.note


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, with the findings on all rules that were examined for it."""

    verdict: Verdict
    findings: tuple[RuleFinding, ...] = ()


def judge(
    tool_name: str,
    declaration: ToolDeclaration | None,
    arguments: Mapping[str, Any] | None = None,
    rules: Sequence[Rule] = (),
    circumstances: Circumstances | None = None,
) -> Verdict:
    """Judge a call; without rules, only declaration and preference decide.

    Never raises, whatever the rules and the arguments are: an error in a rule requires approval.
    """
    if not rules or circumstances is None:
        return _conclude(tool_name, declaration, ()).verdict
    return judge_with_findings(
        tool_name, declaration, arguments or {}, rules, circumstances
    ).verdict


def judge_with_findings(
    tool_name: str,
    declaration: ToolDeclaration | None,
    arguments: Mapping[str, Any],
    rules: Sequence[Rule],
    circumstances: Circumstances,
) -> Judgement:
    """Judge as `judge` does, and tell of each rule what it came to."""
    findings = tuple(
        _look(rule, tool_name, declaration, arguments, circumstances) for rule in rules
    )
    return _conclude(tool_name, declaration, findings)


def _look(
    rule: Rule,
    tool_name: str,
    declaration: ToolDeclaration | None,
    arguments: Mapping[str, Any],
    circumstances: Circumstances,
) -> RuleFinding:
    elsewhere = _elsewhere(rule, tool_name, declaration, circumstances)
    if elsewhere is not None:
        return RuleFinding(rule, "does_not_apply", elsewhere)
    if rule.fault is not None:
        return RuleFinding(rule, "broken", rule.fault)
    try:
        finding, decided_by = _match(rule, arguments)
    except Exception as error:  # noqa: BLE001  whatever it is, a rule that fails asks a person
        return RuleFinding(rule, "broken", f"it failed: {type(error).__name__}")
    is_idle = finding == "applies" and not may_loosen(rule, tool_name, declaration)
    return RuleFinding(rule, finding, decided_by=decided_by, is_idle=is_idle)


def _elsewhere(
    rule: Rule, tool_name: str, declaration: ToolDeclaration | None, circumstances: Circumstances
) -> str | None:
    """Return why a rule is about something else, None where it is about this call."""
    draft, here = rule.draft, circumstances
    reason = None
    if not rule.names(tool_name):
        reason = f"the rule is for {draft.tool}"
    elif not {rule.user_id, draft.for_user} <= {None, here.user_id}:
        reason = "it is for somebody else"
    elif draft.agent_name not in {None, here.agent_name}:
        reason = f"the rule is for the agent {draft.agent_name}"
    elif draft.schedule_id not in {None, here.schedule_id}:
        reason = "the rule is for another schedule"
    elif draft.attendance not in {"any", "unattended" if here.unattended else "interactive"}:
        reason = f"the rule is for {draft.attendance} runs"
    elif draft.expires_at is not None and draft.expires_at <= here.now:
        reason = "it has expired"
    elif draft.uses_left is not None and draft.uses_left < 1:
        reason = "the rule has no uses left"
    elif draft.tool_version not in {None, declaration.version if declaration else None}:
        reason = f"the rule is for version {draft.tool_version} of the tool"
    return reason


def _match(
    rule: Rule, arguments: Mapping[str, Any]
) -> tuple[Finding, tuple[CheckedCondition, ...]]:
    """Say whether all of a rule's conditions hold, and which of them decided that."""
    quantifier: Literal["all", "any"] = "all" if rule.draft.effect == "allow" else "any"
    checked: list[CheckedCondition] = []
    for condition in rule.draft.conditions:
        held = condition.judge(arguments, quantifier)
        if held.holds is False:
            return "does_not_apply", ((condition, held),)
        checked.append((condition, held))
    doubts = [one for one in checked if one[1].holds is None]
    return ("undecided", (doubts[0],)) if doubts else ("applies", tuple(checked))


def may_loosen(rule: Rule, tool_name: str, declaration: ToolDeclaration | None) -> bool:
    """Return whether a rule may let run what waits otherwise; others make calls stricter only."""
    if rule.draft.effect != "allow":
        return True
    if declaration is None:
        return rule.is_operators and rule.draft.tool == tool_name
    if declaration.is_changed:
        return False
    return rule.is_operators or declaration.default_tier != "requires_approval"


def _conclude(
    tool_name: str, declaration: ToolDeclaration | None, findings: tuple[RuleFinding, ...]
) -> Judgement:
    tier: Tier | Literal["unknown"] = declaration.default_tier if declaration else "unknown"
    risk = _risk(declaration, findings)

    def verdict(decision: Decision, reason: str) -> Judgement:
        return Judgement(Verdict(decision, tier, risk, reason), findings)

    denying = next((o for o in findings if o.finding == "applies" and _is(o, "deny")), None)
    if denying is not None:
        return verdict("refused", f"{denying.rule.named} refuses it")
    if (asking := _asking(declaration, findings)) is not None:
        return verdict("held", asking)
    allowing = [
        one.rule
        for one in findings
        if one.finding == "applies" and _is(one, "allow") and not one.is_idle
    ]
    # Rules without a count come first, so that no use is spent needlessly.
    allowing.sort(key=lambda rule: rule.draft.uses_left is not None)
    made = Verdict(
        "allowed",
        tier,
        risk,
        "",
        heeds_signals=declaration is None or not declaration.has_no_effect,
        reaches_outside=declaration is None or declaration.reaches_outside,
        allowing=tuple(allowing),
    )
    if (freely := _freely(declaration)) is not None:
        return Judgement(replace(made, reason=freely), findings)
    if not allowing:
        return verdict("held", _by_tier(tool_name, declaration))
    return Judgement(made.allowed_by(allowing[0]), findings)


def _is(one: RuleFinding, effect: Effect) -> bool:
    return one.rule.draft.effect == effect


def _freely(declaration: ToolDeclaration | None) -> str | None:
    """Return why a call runs without any rule, None where it does not."""
    if declaration is None or declaration.is_changed:
        return None
    if declaration.default_tier == "auto":
        return "the tool runs without approval"
    if declaration.default_tier == "user_configurable" and declaration.preference == "auto":
        return "you allowed this tool"
    return None


def _asking(declaration: ToolDeclaration | None, findings: Sequence[RuleFinding]) -> str | None:
    """Return why approval is asked for whatever allows the call, None where it is not."""
    for one in findings:
        if one.finding == "broken":
            return f"{one.rule.named} has an error: {one.why}"
        if one.finding == "applies" and _is(one, "require"):
            return f"{one.rule.named} requires approval"
    for one in findings:
        if one.finding == "undecided" and not _is(one, "allow"):
            return f"{one.rule.named} cannot be decided: {one.why}"
    if declaration is not None and declaration.preference == "requires_approval":
        return "you asked to approve each call of this tool"
    return None


def _by_tier(tool_name: str, declaration: ToolDeclaration | None) -> str:
    if declaration is None:
        return f"{tool_name} is not a declared tool"
    if declaration.is_changed:
        return "the tool is not as the operator declared it any more"
    match declaration.default_tier:
        case "auto" | "requires_approval":
            return "the tool requires approval"
        case "user_configurable":
            return "the tool requires approval unless you allow it"
        case _:
            assert_never(declaration.default_tier)


def _risk(declaration: ToolDeclaration | None, findings: Sequence[RuleFinding]) -> Risk:
    """Return the highest of what is declared and what rules that apply say."""
    said: list[Risk] = [declaration.risk if declaration is not None else "high"]
    said += [
        one.rule.draft.risk
        for one in findings
        if one.finding == "applies" and one.rule.draft.risk is not None
    ]
    return max(said, key=RISKS.index)
