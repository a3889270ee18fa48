"""Rows of agents and tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from rota.domain.agents.configuration import (
    AgentConfiguration,
    AgentVersion,
    CodeInUse,
    Preference,
    ToolDeclaration,
)
from rota.domain.agents.tool_hints import hints_in, tightened
from rota.domain.ids import AgentId, ToolId, UserId
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.statements import Row, execute, many, one, one_or_none, value_or_none, values


async def fetch_agent(
    conn: Connection, agent_name: str, user_id: UserId
) -> AgentConfiguration | None:
    """Return an active agent with its active tools: the person's own before a shared one."""
    found = await list_agents(conn, user_id, agent_name=agent_name)
    return found[0] if found else None


async def list_agents(
    conn: Connection, user_id: UserId, *, agent_name: str | None = None
) -> tuple[AgentConfiguration, ...]:
    """Return the active agents that a person can run, by name; own ones hide shared ones."""
    return await many(
        conn,
        "agents/fetch_agents",
        agent_from_row,
        user_id=user_id,
        agent_name=agent_name,
        run_ids=[],
    )


async def fetch_declaration(
    conn: Connection, tool_name: str, user_id: UserId | None
) -> ToolDeclaration | None:
    """Return what is declared of an active tool, with the preference of a person, or None."""
    return await one_or_none(
        conn, "agents/fetch_declaration", _declaration, name=tool_name, user_id=user_id
    )


async def list_declarations(
    conn: Connection, user_id: UserId | None
) -> tuple[ToolDeclaration, ...]:
    """Return what is declared of all active tools, with the preferences of a person."""
    return await many(conn, "agents/fetch_declaration", _declaration, name=None, user_id=user_id)


async def upsert_agent(
    conn: Connection,
    *,
    user_id: UserId | None,
    agent_name: str,
    description: str,
    model: str,
    model_settings: Mapping[str, Any],
    system_prompt: str,
    script: Mapping[str, Any] | None,
    max_steps: int,
    fallback_models: Sequence[str] = (),
    limits: Mapping[str, Any] | None = None,
    max_concurrency: int | None = None,
) -> tuple[AgentId, bool]:
    """Insert or replace an agent by (owner, name); returns its id and whether it is new."""
    parameters = {
        "user_id": user_id,
        "agent_name": agent_name,
        "description": description,
        "model": model,
        "model_settings": model_settings,
        "system_prompt": system_prompt,
        "script": script,
        "max_steps": max_steps,
        "fallback_models": fallback_models,
        "limits": limits or {},
        "max_concurrency": max_concurrency,
    }
    if user_id is not None:
        there = await value_or_none(conn, "agents/update_agent", AgentId, **parameters)
        if there is not None:
            return there, False
    return await one(conn, "agents/upsert_agent", itemgetter("id", "is_new"), **parameters)


async def lock_agent(conn: Connection, user_id: UserId, agent_name: str) -> None:
    """Keep others from changing a person's own agent until the transaction ends."""
    await execute(conn, "agents/lock_agent", user_id=user_id, agent_name=agent_name)


async def list_versions(
    conn: Connection,
    user_id: UserId | None,
    agent_name: str,
    *,
    before: int | None = None,
    limit: int,
) -> tuple[AgentVersion, ...]:
    """Return what a person's agent was, or a shared one (None), the newest first."""
    return await many(
        conn,
        "agents/list_versions",
        AgentVersion,
        user_id=user_id,
        agent_name=agent_name,
        before=before,
        limit=limit,
    )


async def delete_agent(conn: Connection, user_id: UserId, agent_name: str) -> None:
    """Delete an agent of a person's own."""
    await execute(conn, "agents/delete_agent", user_id=user_id, agent_name=agent_name)


async def replace_agent_tools(
    conn: Connection, agent_id: AgentId, tool_names: Sequence[str]
) -> None:
    """Link exactly these tools, in this order; names that no tool row has are passed over."""
    await execute(conn, "agents/replace_agent_tools", agent_id=agent_id, names=tool_names)


async def set_preference(
    conn: Connection, user_id: UserId, tool_id: ToolId, preference: Preference | None
) -> None:
    """Write what a person prefers of a tool; None takes it away."""
    if preference is None:
        await execute(conn, "agents/delete_preference", user_id=user_id, tool_id=tool_id)
        return
    await execute(
        conn, "agents/set_preference", user_id=user_id, tool_id=tool_id, preference=preference
    )


async def list_endpoints_in_use(conn: Connection) -> dict[str, tuple[str, ...]]:
    """Return the endpoints that active agents name, whosesoever, with the names of these agents."""
    found = await many(
        conn, "agents/list_endpoints_in_use", lambda row: (row["endpoint"], tuple(row["agents"]))
    )
    return dict(found)


async def list_code_in_use(conn: Connection) -> tuple[CodeInUse, ...]:
    """Return the tools and callables that active agents need, whosesoever."""
    return await many(conn, "agents/list_code_in_use", lambda row: read(CodeInUse, row))


async def tool_names(conn: Connection) -> tuple[str, ...]:
    """Return the names of the active tools."""
    return await values(conn, "agents/list_tool_names", str)


def agent_from_row(row: Row) -> AgentConfiguration:
    """Make the value from a row of `agent_configurations` with its `tools`."""
    return read(AgentConfiguration, row | {"tools": map(_declaration, row["tools"])})


def _declaration(tool: Row) -> ToolDeclaration:
    """Return what is declared of a tool, made stricter by what it says of itself."""
    declared = read(ToolDeclaration, {"current_hash": None, "is_changed": False, **tool})
    hints = hints_in(tool["annotations"])
    return tightened(declared, hints) if hints else declared
