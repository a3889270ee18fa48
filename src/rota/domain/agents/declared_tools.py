"""Tools as the operator declares them, and what changes a declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rota.domain.agents.configuration import Risk, Tier, ToolFacts

DeclarationChange = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTool(ToolFacts):
    """A tool as it is declared. One that is not active is linked by no agent.

    `annotations` are hints that make it stricter; `definition_hash` that of the tool that was
    declared, None where it is not pinned.
    """

    name: str
    version: int
    is_active: bool
    annotations: Mapping[str, Any] = field(default_factory=dict)
    definition_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ToolChange:
    """What is declared anew of a tool; None leaves it as it is, '' unpins it.

    >>> change = rota.ToolChange(idempotent=True, risk="low", default_tier="requires_approval")
    >>> declared = await app.tools.declare("write_note", change)
    """

    description: str | None = None
    read_only: bool | None = None
    idempotent: bool | None = None
    risk: Risk | None = None
    default_tier: Tier | None = None
    timeout_seconds: float | None = None
    brings_outside_text: bool | None = None
    reaches_outside: bool | None = None
    annotations: Mapping[str, bool] | None = None
    definition_hash: str | None = None
