"""Rows of tools: what the operator declares of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from psycopg.rows import class_row

from rota.domain.agents import Risk, Tier
from rota.store.database import Connection
from rota.store.statements import statement

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class DeclaredTool:
    """A tool as it is declared. One that is not active is linked by no agent."""

    name: str
    description: str
    version: int
    read_only: bool
    idempotent: bool
    risk: Risk
    default_tier: Tier
    timeout_seconds: float
    is_active: bool


@dataclass(frozen=True, slots=True)
class ToolChange:
    """What is declared anew of a tool; None leaves it as it is."""

    description: str | None = None
    read_only: bool | None = None
    idempotent: bool | None = None
    risk: Risk | None = None
    default_tier: Tier | None = None
    timeout_seconds: float | None = None


async def list_tools(conn: Connection) -> tuple[DeclaredTool, ...]:
    """Return all declared tools, by name."""
    async with conn.cursor(row_factory=class_row(DeclaredTool)) as cursor:
        await cursor.execute(statement("list_tools"))
        return tuple(await cursor.fetchall())


async def fetch_tool(conn: Connection, name: str) -> DeclaredTool | None:
    """Return a declared tool, or None."""
    async with conn.cursor(row_factory=class_row(DeclaredTool)) as cursor:
        await cursor.execute(statement("fetch_tool"), {"name": name})
        return await cursor.fetchone()


async def declare_tool(conn: Connection, name: str, change: ToolChange) -> Change:
    """Insert a tool or change its declaration, counting its version up; says which it was."""
    cursor = await conn.execute(statement("declare_tool"), {"name": name, **asdict(change)})
    row = await cursor.fetchone()
    if row is None:
        return "unchanged"
    return "created" if row[0] else "updated"
