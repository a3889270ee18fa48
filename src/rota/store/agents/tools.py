"""Rows of tools: what the operator declares of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from rota.domain.agents.configuration import Risk, Tier
from rota.store.database import Connection
from rota.store.statements import statement

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
    async with conn.cursor(row_factory=class_row(DeclaredTool)) as cursor:
        await cursor.execute(statement("agents/list_tools"))
        return tuple(await cursor.fetchall())


async def fetch_tool(conn: Connection, name: str) -> DeclaredTool | None:
    """Return a declared tool, or None."""
    async with conn.cursor(row_factory=class_row(DeclaredTool)) as cursor:
        await cursor.execute(statement("agents/fetch_tool"), {"name": name})
        return await cursor.fetchone()


async def declare_tool(conn: Connection, name: str, change: ToolChange) -> Change:
    """Insert a tool or change its declaration, counting its version up; says which it was."""
    hints = Jsonb(dict(change.annotations)) if change.annotations is not None else None
    cursor = await conn.execute(
        statement("agents/declare_tool"), {**asdict(change), "name": name, "annotations": hints}
    )
    row = await cursor.fetchone()
    if row is None:
        return "unchanged"
    return "created" if row[0] else "updated"
