"""Tools as the operator declares them, and changes of a declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rota.domain.agents.configuration import Risk, Tier, ToolFacts
from rota.domain.agents.tool_hints import hints_in, tightened

DeclarationChange = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTool(ToolFacts):
    """A tool as it is declared. An agent gets no tool that is not active.

    `annotations` are hints that make it stricter. `definition_hash` is the hash of the tool when it
    was declared, None if it is not pinned.
    """

    name: str
    version: int
    is_active: bool
    annotations: Mapping[str, Any] = field(default_factory=dict)
    definition_hash: str | None = None

    def effective(self) -> DeclaredTool:
        """Return it as it counts: hints can only add restrictions."""
        return tightened(self, hints_in(self.annotations))


@dataclass(frozen=True, slots=True)
class ToolChange:
    """A change of a tool's declaration. None leaves a value as it is, '' unpins the tool.

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
