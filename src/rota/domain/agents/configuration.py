"""An agent's configuration and the declarations of its tools, as read from rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from rota.domain.ids import AgentId, ToolId, UserId

Tier = Literal["auto", "requires_approval", "user_configurable"]
Preference = Literal["auto", "requires_approval"]
Risk = Literal["low", "medium", "high"]

RISKS: Final[tuple[Risk, ...]] = ("low", "medium", "high")
"""From the least on."""


@dataclass(frozen=True, slots=True)
class CodeInUse:
    """A tool or a callable that runs of `agents` need."""

    kind: Literal["tool", "callable"]
    name: str
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What code or the operator declares of a tool. An undeclared fact has the strictest value.

    `read_only` and `idempotent` calls are repeated after a crash. `reaches_outside`: the model
    chooses where data goes (a fixed account or server does not count). `brings_outside_text`:
    results hold text that somebody other than the run's owner may have written. If `description` is
    empty, the description in the tool's code is used.
    """

    description: str = ""
    read_only: bool = False
    idempotent: bool = False
    risk: Risk = "high"
    default_tier: Tier = "requires_approval"
    timeout_seconds: float = 60
    reaches_outside: bool = True
    brings_outside_text: bool = True

    @property
    def has_no_effect(self) -> bool:
        """Whether a call leaves everything as it was, and sends nothing anywhere."""
        return self.read_only and not self.reaches_outside


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDeclaration(ToolFacts):
    """The operator's declaration of a tool; `preference` is that of the run's owner, if any.

    `definition_hash` is the hash of the tool when it was declared, None if it is not pinned.
    `current_hash` is the hash of a pinned tool as it was built now. `is_changed` says that they
    differ.
    """

    id: ToolId
    name: str
    version: int
    preference: Preference | None = None
    definition_hash: str | None = None
    current_hash: str | None = None
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class AgentConfiguration:
    """One row of `agent_configurations` with its active tools, in the order of their links.

    >>> agent = await app.agents.get(me, "clerk")
    >>> agent.model, [tool.name for tool in agent.tools]
    ('scripted:plan', ['write_note'])
    """

    id: AgentId
    user_id: UserId | None
    agent_name: str
    description: str
    model: str
    model_settings: Mapping[str, Any]
    system_prompt: str
    script: Mapping[str, Any] | None
    max_steps: int
    tools: tuple[ToolDeclaration, ...] = ()
    fallback_models: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)  # domain/runs/limits, as JSON
    max_concurrency: int | None = None  # runs of it queued or running at a time; None: no limit


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """What an agent was after a change, or before it was removed. Versions count from 1.

    `by_owner` False: the operator changed it, or rota itself.
    """

    version: int
    change: Literal["created", "updated", "removed"]
    by_owner: bool
    changed_at: datetime
    configuration: Mapping[str, Any]
