"""Rows of tool declarations: of rota for its own tools, and of the operator."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from rota.domain.agents.configuration import ToolFacts
from rota.domain.agents.declared_tools import DeclarationChange, DeclaredTool, ToolChange
from rota.store.database import Connection
from rota.store.records import row_of
from rota.store.statements import execute, has_effect, many, one, one_or_none


async def list_tools(conn: Connection) -> tuple[DeclaredTool, ...]:
    """Return all declared tools, by name."""
    return await many(conn, "agents/find_tools", DeclaredTool, name=None)


async def fetch_tool(conn: Connection, name: str) -> DeclaredTool | None:
    """Return a declared tool, or None."""
    return await one_or_none(conn, "agents/find_tools", DeclaredTool, name=name)


async def lock_tool(conn: Connection, name: str) -> DeclaredTool | None:
    """Return a declared tool, or None; until the transaction ends, no agent gets it anew."""
    await execute(conn, "agents/lock_tool", name=name)
    return await fetch_tool(conn, name)


async def list_agents_with(conn: Connection, name: str) -> tuple[str, ...]:
    """Return the names of the agents, of whomever, that have a tool."""
    return await many(conn, "agents/list_agents_with_tool", itemgetter("agent_name"), name=name)


async def delete_tool(conn: Connection, name: str) -> None:
    """Delete the declaration of a tool, and people's preferences for it."""
    await execute(conn, "agents/delete_tool", name=name)


async def declare_tool(conn: Connection, name: str, change: ToolChange) -> DeclarationChange:
    """Insert a tool or change its declaration, counting its version up; says which it was."""
    changes = {field: said for field, said in row_of(change).items() if said is not None}
    if change.definition_hash == "":
        changes["definition_hash"] = None
    return await _write(conn, name, changes)


async def refresh_tools(conn: Connection, declared: Mapping[str, ToolFacts]) -> tuple[str, ...]:
    """Bring the rows of built-in tools to what their code declares; returns those that changed.

    What the operator changed of one stays, field by field. Goes into one transaction.
    """
    built_in = itemgetter("name", "built_in")
    known = dict(await many(conn, "agents/list_built_in", built_in, names=declared.keys()))
    changed: list[str] = []
    for name, facts in declared.items():
        now, before = row_of(facts), known.get(name)
        if now == before:
            continue
        changes = now
        if name in known:
            # Locks the row: what the operator declares meanwhile comes after it.
            await execute(conn, "agents/set_built_in", name=name, built_in=now)
            row = row_of(await one(conn, "agents/find_tools", DeclaredTool, name=name))
            own = (
                set(now) if before is None else {f for f in now if row[f] != before.get(f, row[f])}
            )
            changes = {field: said for field, said in now.items() if field not in own}
        if await _write(conn, name, changes) != "unchanged":
            changed.append(name)
        if name not in known:
            await execute(conn, "agents/set_built_in", name=name, built_in=now)
    return tuple(changed)


async def _write(conn: Connection, name: str, changes: Mapping[str, Any]) -> DeclarationChange:
    is_new = await has_effect(conn, "agents/insert_tool", name=name)
    step = 0 if is_new else 1
    written = await execute(conn, "agents/change_tool", name=name, changes=changes, step=step)
    return "created" if is_new else "updated" if written else "unchanged"
