"""Agents from rows: configuration and tools are read afresh for every run, then built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool

from rota.agents.journal import JournalMiddleware, Progress
from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.domain.agents import AgentConfiguration
from rota.domain.content import normalize_content
from rota.domain.errors import NotFoundError
from rota.domain.ids import UserId
from rota.security.tool_wrapper import GateGuard
from rota.store import agents as agent_rows
from rota.store.database import Connection

ModelFactory = Callable[[AgentConfiguration, datetime], BaseChatModel]
"""Builds the model of a configuration; the instant is the run's clock, for `scripted` models."""

_CUT_REASONS: Final = frozenset({"max_tokens", "length", "max_output_tokens", "MAX_TOKENS"})


@dataclass(frozen=True, slots=True)
class AgentReply:
    """What an agent answered: readable text, and whether the model's output limit cut it."""

    text: str
    cut: bool
    progress: Progress


@dataclass(frozen=True, slots=True)
class AgentExecutor:
    """An agent ready to run: its rows, its model, and its tools, not wrapped yet."""

    configuration: AgentConfiguration
    model: BaseChatModel
    tools: tuple[BaseTool, ...]

    async def ainvoke(
        self,
        prompt: str,
        *,
        tools: Sequence[BaseTool],
        journal: JournalMiddleware,
        guard: GateGuard,
        now: datetime,
        middleware: Sequence[AgentMiddleware[Any, Any]] = (),
    ) -> AgentReply:
        """Run the agent on a prompt with these (wrapped) tools.

        The journal is outermost and the guard innermost; `middleware` goes between. `now` is aware
        and in the owner's zone: the agent is told what time it is.
        """
        graph = create_agent(
            self.model,
            tools=list(tools),
            system_prompt=_system_prompt(self.configuration, now),
            middleware=[journal, *middleware, guard],
            name=self.configuration.agent_name,
        )
        limit = 4 * self.configuration.max_steps + 10  # graph steps; the journal counts model calls
        state = await graph.ainvoke(
            {"messages": [HumanMessage(prompt)]}, config={"recursion_limit": limit}
        )
        last = state["messages"][-1]
        cut = isinstance(last, AIMessage) and journal.progress.stop_reason in _CUT_REASONS
        return AgentReply(normalize_content(last.content), cut, journal.progress)


async def load_agent_executor_db(
    conn: Connection,
    agent_name: str,
    user_id: UserId,
    *,
    registry: ToolRegistry,
    tool_context: ToolContext,
    models: ModelFactory,
    now: datetime,
    snapshot: Mapping[str, Any] | None = None,
) -> AgentExecutor:
    """Read an agent and its tools from the database, always fresh, and build them.

    A person's own agent comes before a shared one of the same name. With a `snapshot` (of a run's
    first attempt) the configuration is the recorded one, but tools and their declarations are
    still read now, so that a disabled tool or a stricter tier applies at once. Raises
    NotFoundError, SetupRequiredError, InvalidInputError.
    """
    configuration = await agent_rows.fetch_agent(conn, agent_name, user_id)
    if configuration is None:
        raise NotFoundError("agent", agent_name, hint="`rota agents list` shows those there are.")
    if snapshot is not None:
        configuration = with_snapshot(configuration, snapshot)
    tools = tuple(registry.build(tool.name, tool_context) for tool in configuration.tools)
    described = tuple(
        tool.model_copy(update={"description": declaration.description})
        if declaration.description
        else tool
        for tool, declaration in zip(tools, configuration.tools, strict=True)
    )
    return AgentExecutor(configuration, models(configuration, now), described)


def snapshot_of(configuration: AgentConfiguration, now: datetime) -> dict[str, Any]:
    """Return what later attempts of a run need to go on as the first began."""
    return {
        "model": configuration.model,
        "model_settings": dict(configuration.model_settings),
        "system_prompt": configuration.system_prompt,
        "script": dict(configuration.script) if configuration.script is not None else None,
        "max_steps": configuration.max_steps,
        "tools": {tool.name: tool.version for tool in configuration.tools},
        "now": now.isoformat(),
    }


def with_snapshot(
    configuration: AgentConfiguration, snapshot: Mapping[str, Any]
) -> AgentConfiguration:
    """Return the configuration as the snapshot has it, with today's tools."""
    return replace(
        configuration,
        model=snapshot["model"],
        model_settings=snapshot["model_settings"],
        system_prompt=snapshot["system_prompt"],
        script=snapshot["script"],
        max_steps=snapshot["max_steps"],
    )


def _system_prompt(configuration: AgentConfiguration, now: datetime) -> str:
    clock = f"It is {now:%A, %Y-%m-%d %H:%M} ({now.tzname() or 'UTC'})."
    prompt = configuration.system_prompt.strip()
    return f"{prompt}\n\n{clock}" if prompt else clock
