"""Judges the calls of one attempt (`CallPolicy`).

It goes by tiers, rules, risk signals, and the text from outside that the run has read. It does not
read rules from the database itself: services/runs/policy makes it, with functions that do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.outside_texts import (
    OutsideTexts,
    are_own_places,
    names_destination,
    stays_with_owner,
)
from rota.domain.approvals.risk_signals import raised_risk, risk_signals
from rota.domain.approvals.rules import Rule
from rota.domain.approvals.verdict import Circumstances, Decision, Verdict, judge
from rota.domain.ids import RuleId
from rota.security.secrets.redaction import redact

FRESH_FOR: Final = timedelta(seconds=2)
"""How old the rules may be that let a call with an effect run; after that they are read again."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A call that a dry run did not make, and the decision that it would have had."""

    tool_name: str
    arguments: Mapping[str, Any]  # redacted
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """Return it as a result's metadata has it."""
        return {
            "tool": self.tool_name,
            "arguments": dict(self.arguments),
            "would": _WOULD[self.verdict.decision],
            "reason": self.verdict.reason,
            "risk": self.verdict.risk,
        }

    def told(self) -> str:
        """Say to the agent that the call was not made."""
        return (
            f"Dry run: {self.tool_name} did not run. In a real run this call would "
            f"{_SAID[self.verdict.decision]} ({self.verdict.reason}). Go on as if it had been "
            "made, without its result."
        )


_WOULD: Final[Mapping[Decision, str]] = {"allowed": "run", "held": "wait", "refused": "be refused"}
_SAID: Final[Mapping[Decision, str]] = {
    "allowed": "run",
    "held": "wait for the owner's approval",
    "refused": "be refused",
}


def with_signals(verdict: Verdict, arguments: Mapping[str, Any], outside: str = "") -> Verdict:
    """Return a verdict raised by the risk signals of the arguments, which are not redacted.

    What lets a call run was written with honest calls in mind: where there is a signal of high
    risk, the call waits. Not so by a rule that names high risk, nor where it has no effect.
    `outside` says which text from outside may have led to the call. Then one that reaches outside
    waits too, unless a rule that allows it names where it may go.
    """
    found = risk_signals(redact(arguments))
    high = next((signal for signal in found if signal.risk == "high"), None)
    if not verdict.reaches_outside:
        outside = ""
    verdict = replace(verdict, risk=raised_risk(verdict.risk, found)) if found else verdict
    if verdict.decision != "allowed" or not verdict.heeds_signals or not (high or outside):
        return verdict
    for rule in verdict.allowing:
        if (not high or rule.draft.risk == "high") and (not outside or names_destination(rule)):
            return verdict.allowed_by(rule)
    reason = verdict.reason
    if high is not None:
        reason = f"{reason}, and a risk signal says: {high.text.rstrip('.')}"
    if outside:
        reason = f"{reason}, but it reaches outside, and {outside}"
    return replace(verdict, decision="held", risk="high", reason=reason, uses=None)


def waits_after_reading(verdict: Verdict) -> bool:
    """Return whether a call that runs would wait in a run that has read text from outside."""
    return verdict.reaches_outside and not any(map(names_destination, verdict.allowing))


@dataclass(slots=True)
class CallPolicy:
    """Judges the calls of one attempt. Without rules, it goes by the tool declarations alone.

    `read_at` is when the rules were read, `reread` returns them as they are now, `count_use` counts
    a use of one and says whether one was left; both are asked on the attempt's event loop. `clock`
    is aware. In a dry run `rehearsed` collects what was not made. `outside` is what the run has
    read from outside so far, `own_words` what its owner wrote for it.
    """

    circumstances: Circumstances | None = None
    clock: Callable[[], datetime] | None = None
    rules: tuple[Rule, ...] = ()
    read_at: datetime | None = None
    reread: Callable[[], Awaitable[tuple[Rule, ...]]] | None = None
    count_use: Callable[[RuleId], Awaitable[bool]] | None = None
    is_dry_run: bool = False
    rehearsed: list[Rehearsed] = field(default_factory=list)
    outside: OutsideTexts = field(default_factory=OutsideTexts)
    own_words: str = ""

    def judge(
        self,
        tool_name: str,
        declaration: ToolDeclaration | None,
        arguments: Mapping[str, Any],
        *,
        beside: Sequence[str] = (),
        without: Sequence[RuleId] = (),
    ) -> Verdict:
        """Judge a call by the rules as they were read last, passing over some that ran out.

        `beside` are tools that bring text from outside and were asked for together with it.
        """
        if declaration is not None and stays_with_owner(tool_name, arguments):
            declaration = replace(declaration, reaches_outside=False)
        if not self.rules or self.circumstances is None or self.clock is None:
            verdict = judge(tool_name, declaration)
        else:
            rules = [rule for rule in self.rules if rule.id not in without]
            now = replace(self.circumstances, now=self.clock())
            verdict = judge(tool_name, declaration, arguments, rules, now)
        if verdict.decision == "held" and (told := self.outside.told()):
            return replace(verdict, reason=f"{verdict.reason}; {told}")
        if not verdict.heeds_signals:
            return verdict
        return with_signals(verdict, arguments, self._outside(arguments, beside))

    def _outside(self, arguments: Mapping[str, Any], beside: Sequence[str]) -> str:
        """Say which text from outside may lead a call astray, "" where none can."""
        said = self.outside.why_not(beside)
        return "" if said and are_own_places(arguments, self.own_words) else said

    async def decide(
        self,
        tool_name: str,
        declaration: ToolDeclaration | None,
        arguments: Mapping[str, Any],
        *,
        beside: Sequence[str] = (),
    ) -> Verdict:
        """Judge a call that is about to run: a stricter policy holds at once, uses are counted.

        A call that waits, or is refused, by the rules as they were read, is not judged again.
        """
        verdict = self.judge(tool_name, declaration, arguments, beside=beside)
        if verdict.decision != "allowed":
            return verdict
        if declaration is None or not declaration.read_only:
            await self.refresh()
            verdict = self.judge(tool_name, declaration, arguments, beside=beside)
        used_up: list[RuleId] = []
        while verdict.decision == "allowed" and verdict.uses is not None:
            if self.count_use is not None and await self.count_use(verdict.uses):
                break
            used_up.append(verdict.uses)
            verdict = self.judge(tool_name, declaration, arguments, beside=beside, without=used_up)
        return verdict

    async def refresh(self) -> None:
        """Read the rules again where they are older than `FRESH_FOR`."""
        if self.reread is None or self.clock is None or self.read_at is None:
            return
        now = self.clock()
        if now - self.read_at < FRESH_FOR:
            return
        self.rules = await self.reread()
        self.read_at = now
