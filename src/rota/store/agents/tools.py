"""Rows of tools: what the operator declares of them."""

from __future__ import annotations

from dataclasses import asdict

from rota.domain.agents.declared_tools import Change, DeclaredTool, ToolChange
from rota.store.database import Connection
from rota.store.records import jsonb
from rota.store.statements import many, one_or_none, value_or_none


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
