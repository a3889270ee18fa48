"""Builds agents from rows. Configuration and tools are read again for every run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool

from rota.agents.graph.graph import GraphContext, graph, within
from rota.agents.journal.journal import Journal
from rota.agents.models.answers import ANSWER_WATCH
from rota.agents.models.building import BuiltModels, retry_policy
from rota.agents.models.providers import SCRIPTED
from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.agents.tools.definitions import effective_declaration
from rota.domain.agents.configuration import AgentConfiguration, ToolDeclaration
from rota.domain.agents.finish_reasons import finish_reason, is_cut
from rota.domain.agents.message_content import is_blank, said_in
from rota.domain.errors import NotFoundError
from rota.domain.ids import UserId
from rota.domain.runs.limits import Limits
from rota.domain.runs.options import RunOptions
from rota.security.gate.guard import GateGuard
from rota.store.agents import rows as agent_rows
from rota.store.database import Connection

ModelFactory = Callable[[AgentConfiguration, datetime], BuiltModels]
"""Builds a configuration's models; the instant is the run's clock, for `scripted` models."""

Tools = tuple[BaseTool, ...]
Messages = Sequence[BaseMessage]

ACCOUNT_WANTED: Final = (
    "Some of your calls may need your owner's approval. Beside such a call, say in one sentence "
    "why you want it: your owner reads that before they decide."
)

_GRAPH_STEPS: Final = (4, 10)
"""Steps of the graph for each model call, and besides: the budget counts model calls."""


@dataclass(frozen=True, slots=True)
class AgentReply:
    """An agent's answer as readable text. `cut` says that the model's output limit cut it.

    If `is_empty`, the last answer had no text: then `text` is what the agent said earlier, beside
    calls. `messages` are the whole conversation, for one more question.
    """

    text: str
    cut: bool
    is_empty: bool = False
    messages: tuple[BaseMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentExecutor:
    """An agent ready to run: its rows, its models in order, and its tools, not wrapped yet.

    `warnings` are for the owner, for example about a fallback model that cannot be built.
    """

    configuration: AgentConfiguration
    models: tuple[tuple[str, BaseChatModel], ...]
    built: BuiltTools
    warnings: tuple[str, ...] = ()

    async def ainvoke(
        self,
        prompt: str,
        *,
        tools: Sequence[BaseTool],
        journal: Journal,
        guard: GateGuard,
        now: datetime,
        instructions: str = "",
        earlier: Sequence[BaseMessage] = (),
    ) -> AgentReply:
        """Run the agent on a prompt with these (wrapped) tools.

        `now` is aware and in the owner's zone: the agent is told what time it is. `instructions`
        are added to its prompt; `earlier` is a conversation to go on with.
        """
        run = GraphContext(
            models=list(self.models),
            retries=retry_policy(self.configuration.model_settings),
            system_prompt=_system_prompt(
                self.configuration, now, instructions, _account_wanted(self.built.declarations)
            ),
            tools={tool.name: tool for tool in tools},
            journal=journal,
            guard=guard,
            random=random.random,
        )
        each, besides = _GRAPH_STEPS
        steps = journal.budget.limits.steps or self.configuration.max_steps
        with within(run):
            state = await graph().ainvoke(
                {"messages": [*earlier, HumanMessage(prompt)]},
                config={"recursion_limit": each * steps + besides, "callbacks": [ANSWER_WATCH]},
            )
        messages = tuple(state["messages"])
        last = messages[-1]
        cut = is_cut(finish_reason(last.response_metadata))
        text = said_in(last.content)
        is_empty = is_blank(text)
        if is_empty:
            text = _said_before(messages[len(earlier) :])
        return AgentReply(text, cut, is_empty, messages)


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
    found = await agent_rows.fetch_agent(conn, agent_name, user_id)
    configuration = require_agent(found, agent_name)
    if snapshot is not None:
        configuration = with_snapshot(configuration, snapshot)
    return await build_executor(
        configuration, registry=registry, tool_context=tool_context, models=models, now=now
    )


def require_agent(found: AgentConfiguration | None, agent_name: str) -> AgentConfiguration:
    """Return the agent; raises NotFoundError where there is none."""
    if found is None:
        raise NotFoundError("agent", agent_name, hint="`rota agents list` shows those there are.")
    return found


async def build_executor(
    configuration: AgentConfiguration,
    *,
    registry: ToolRegistry,
    tool_context: ToolContext,
    models: ModelFactory,
    now: datetime,
) -> AgentExecutor:
    """Build an agent's models and tools; raises SetupRequiredError, InvalidInputError.

    Models of providers are built in a thread: it may take so long that the loop would be given up.
    """
    specs = [configuration.model, *configuration.fallback_models]
    if all(spec.startswith(f"{SCRIPTED}:") for spec in specs):
        built = models(configuration, now)
    else:
        built = await asyncio.to_thread(models, configuration, now)
    tools = build_tools(configuration, registry=registry, tool_context=tool_context)
    return AgentExecutor(configuration, tuple(built.models), tools, tuple(built.warnings))


@dataclass(frozen=True, slots=True)
class BuiltTools:
    """An agent's tools, not wrapped yet, with the declaration that holds now for each."""

    tools: Tools
    declarations: Mapping[str, ToolDeclaration]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the owner is told: of tools that changed since the operator declared them."""
        return tuple(
            f"{name} is not as the operator declared it any more: its calls wait for approval "
            "until it is declared again."
            for name, declaration in self.declarations.items()
            if declaration.is_changed
        )


def build_tools(
    configuration: AgentConfiguration, *, registry: ToolRegistry, tool_context: ToolContext
) -> BuiltTools:
    """Build an agent's tools, not wrapped yet; raises SetupRequiredError."""
    tools = tuple(registry.build(tool.name, tool_context) for tool in configuration.tools)
    pairs = list(zip(tools, configuration.tools, strict=True))
    return BuiltTools(
        tuple(
            tool.model_copy(update={"description": declaration.description})
            if declaration.description
            else tool
            for tool, declaration in pairs
        ),
        {declaration.name: effective_declaration(declaration, tool) for tool, declaration in pairs},
    )


def make_snapshot(
    configuration: AgentConfiguration, options: RunOptions, now: datetime
) -> dict[str, Any]:
    """Return what later attempts of a run need to go on as the first began."""
    return {
        "model": configuration.model,
        "fallback_models": list(configuration.fallback_models),
        "model_settings": dict(configuration.model_settings),
        "system_prompt": configuration.system_prompt,
        "script": dict(configuration.script) if configuration.script is not None else None,
        "max_steps": configuration.max_steps,
        "limits": dict(configuration.limits),
        "options": options.as_json(),
        "run_limits": run_limits(configuration, options).as_json(),  # for those who look at the run
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
        fallback_models=tuple(snapshot.get("fallback_models", ())),
        model_settings=snapshot["model_settings"],
        system_prompt=snapshot["system_prompt"],
        script=snapshot["script"],
        max_steps=snapshot["max_steps"],
        limits=snapshot.get("limits", {}),
    )


def run_limits(configuration: AgentConfiguration, options: RunOptions) -> Limits:
    """Return the limits of a run: the agent's, with its schedule's or its own in their place.

    A shared agent's limits are the operator's: others may tighten them only.
    """
    own = Limits(steps=configuration.max_steps).overridden_by(Limits.parse(configuration.limits))
    if configuration.user_id is None:
        return own.tightened_by(options.limits)
    return own.overridden_by(options.limits)


def _said_before(messages: Sequence[BaseMessage]) -> str:
    """Return the last text of the model's own, beside whatever calls it stands."""
    texts = (message.text for message in reversed(messages) if isinstance(message, AIMessage))
    return next((text for text in texts if not is_blank(text)), "")


def _system_prompt(configuration: AgentConfiguration, now: datetime, *more: str) -> str:
    clock = f"It is {now:%A, %Y-%m-%d %H:%M} ({now.tzname() or 'UTC'})."
    return "\n\n".join(part for part in (configuration.system_prompt.strip(), clock, *more) if part)


def _account_wanted(declarations: Mapping[str, ToolDeclaration]) -> str:
    """Return what an agent is told that may have to ask: its owner reads why."""
    may_wait = any(
        not declaration.read_only or declaration.default_tier != "auto"
        for declaration in declarations.values()
    )
    return ACCOUNT_WANTED if may_wait else ""
