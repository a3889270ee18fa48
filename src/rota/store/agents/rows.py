"""Rows of agents and tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rota.domain.agents.configuration import AgentConfiguration, ToolDeclaration
from rota.domain.agents.tool_hints import hints_in, tightened
from rota.domain.ids import AgentId, ToolId, UserId
from rota.store.database import Connection
from rota.store.records import jsonb
from rota.store.statements import execute, many, one, one_or_none, values


async def fetch_agent(
    conn: Connection, agent_name: str, user_id: UserId
) -> AgentConfiguration | None:
    """Return an active agent with its active tools: the person's own before a shared one."""
    return await one_or_none(
        conn,
        "agents/fetch_agents",
        agent_from_row,
        agent_names=[agent_name],
        user_ids=[user_id],
        run_ids=[],
    )


async def list_agents(conn: Connection, user_id: UserId) -> tuple[AgentConfiguration, ...]:
    """Return the active agents that a person can run, by name; own ones hide shared ones."""
    return await many(conn, "agents/list_agents", agent_from_row, user_id=user_id)


async def fetch_declaration(
    conn: Connection, tool_name: str, user_id: UserId | None
) -> ToolDeclaration | None:
    """Return what is declared of an active tool, with the preference of a person, or None."""
    return await one_or_none(
        conn, "agents/fetch_declaration", _declaration, name=tool_name, user_id=user_id
    )


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
    return await one(
        conn,
        "agents/upsert_agent",
        lambda row: (AgentId(row["id"]), row["is_new"]),
        user_id=user_id,
        agent_name=agent_name,
        description=description,
        model=model,
        model_settings=jsonb(model_settings),
        system_prompt=system_prompt,
        script=jsonb(script),
        max_steps=max_steps,
        fallback_models=list(fallback_models),
        limits=jsonb(limits or {}),
        max_concurrency=max_concurrency,
    )


async def replace_agent_tools(
    conn: Connection, agent_id: AgentId, tool_names: Sequence[str]
) -> None:
    """Link exactly these tools, in this order; names that no tool row has are passed over."""
    await execute(conn, "agents/replace_agent_tools", agent_id=agent_id, names=list(tool_names))


async def tool_names(conn: Connection) -> tuple[str, ...]:
    """Return the names of the active tools."""
    return await values(conn, "agents/list_tool_names", str)


def agent_from_row(row: Mapping[str, Any]) -> AgentConfiguration:
    """Make the value from a row of `agent_configurations` with its `tools`."""
    return AgentConfiguration(
        id=AgentId(row["id"]),
        user_id=UserId(row["user_id"]) if row["user_id"] is not None else None,
        agent_name=row["agent_name"],
        description=row["description"],
        model=row["model"],
        model_settings=row["model_settings"],
        system_prompt=row["system_prompt"],
        script=row["script"],
        max_steps=row["max_steps"],
        fallback_models=tuple(row["fallback_models"]),
        limits=row["limits"],
        max_concurrency=row["max_concurrency"],
        tools=tuple(_declaration(tool) for tool in row["tools"]),
    )


def _declaration(tool: Mapping[str, Any]) -> ToolDeclaration:
    """Return what is declared of a tool, made stricter by what it says of itself."""
    declared = ToolDeclaration(
        id=ToolId(tool["id"]),
        name=tool["name"],
        description=tool["description"],
        version=tool["version"],
        read_only=tool["read_only"],
        idempotent=tool["idempotent"],
        risk=tool["risk"],
        default_tier=tool["default_tier"],
        timeout_seconds=float(tool["timeout_seconds"]),
        preference=tool["preference"],
        definition_hash=tool["definition_hash"],
    )
    hints = hints_in(tool["annotations"])
    return tightened(declared, hints) if hints else declared
