"""Rows of tools: what the operator declares of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rota.domain.agents.configuration import Risk, Tier
from rota.store.database import Connection
from rota.store.records import jsonb
from rota.store.statements import many, one_or_none, value_or_none

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class DeclaredTool:
    """A tool as it is declared. One that is not active is linked by no agent.

    `annotations` are hints that make it stricter; `definition_hash` that of the tool that was
    declared, None where it is not pinned.
    """

    name: str
    description: str
    version: int
    read_only: bool
    idempotent: bool
    risk: Risk
    default_tier: Tier
    timeout_seconds: float
    is_active: bool
    annotations: Mapping[str, Any] = field(default_factory=dict)
    definition_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ToolChange:
    """What is declared anew of a tool; None leaves it as it is, '' unpins it."""

    description: str | None = None
    read_only: bool | None = None
    idempotent: bool | None = None
    risk: Risk | None = None
    default_tier: Tier | None = None
    timeout_seconds: float | None = None
    annotations: Mapping[str, bool] | None = None
    definition_hash: str | None = None


async def list_tools(conn: Connection) -> tuple[DeclaredTool, ...]:
    """Return all declared tools, by name."""
    return await many(conn, "agents/list_tools", DeclaredTool)


async def fetch_tool(conn: Connection, name: str) -> DeclaredTool | None:
    """Return a declared tool, or None."""
    return await one_or_none(conn, "agents/fetch_tool", DeclaredTool, name=name)


async def declare_tool(conn: Connection, name: str, change: ToolChange) -> Change:
    """Insert a tool or change its declaration, counting its version up; says which it was."""
    parameters = {**asdict(change), "name": name, "annotations": jsonb(change.annotations)}
    is_new = await value_or_none(conn, "agents/declare_tool", bool, **parameters)
    return "unchanged" if is_new is None else "created" if is_new else "updated"
