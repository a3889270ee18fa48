"""Approval tiers: which calls run by themselves and which wait for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from rota.domain.agents import Risk, Tier, ToolDeclaration

Decision = Literal["allowed", "held", "refused"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call runs (`allowed`) or waits (`held`), by which tier, and why in words."""

    decision: Decision
    tier: Tier | Literal["unknown"]
    risk: Risk
    reason: str


def judge(tool_name: str, declaration: ToolDeclaration | None) -> Verdict:
    """Apply the tiers: what the operator declared, then what the owner prefers.

    A tool without a declaration requires approval. A preference can loosen only a
    `user_configurable` tool, and can make any tool stricter.
    """
    if declaration is None:
        return Verdict("held", "unknown", "high", f"{tool_name} is not a declared tool")
    tier, risk = declaration.default_tier, declaration.risk
    if declaration.preference == "requires_approval":
        return Verdict("held", tier, risk, "you asked to approve each call of this tool")
    match tier:
        case "auto":
            return Verdict("allowed", tier, risk, "the tool runs without approval")
        case "requires_approval":
            return Verdict("held", tier, risk, "the tool requires approval")
        case "user_configurable":
            if declaration.preference == "auto":
                return Verdict("allowed", tier, risk, "you allowed this tool")
            return Verdict("held", tier, risk, "the tool requires approval unless you allow it")
        case _:
            assert_never(tier)
