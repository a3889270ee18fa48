"""The context that an operator's code gets: the run, its tools, and ways to act within limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr

from rota.agents.journal.journal import Journal
from rota.agents.models.building import BuiltModels, retry_policy
from rota.agents.models.settings import ModelSettings
from rota.agents.own_code.graph_trace import TRACED, trace_callbacks
from rota.agents.own_code.run_model import RunModel
from rota.agents.own_code.threads import CallsFromThreads
from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.errors import InvalidInputError, NotFoundError, RotaError
from rota.domain.ids import RunId, UserId
from rota.domain.runs.steps import Step, StepKey
from rota.security.gate.calls import ApprovalContext

BuildModels = Callable[[str, Sequence[str] | None, Mapping[str, Any]], BuiltModels]
"""Builds a model with its fallbacks (None: the agent's) and settings, with rota's keys."""

ReadDeclarations = Callable[[], Awaitable[Mapping[str, ToolDeclaration]]]
"""Reads what is declared of all tools, with what the run's owner prefers."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a callable may know of its run, and its ways to act.

    `now` is aware, in the owner's zone, and stays the same for every attempt. `settings` are the
    agent's `model_settings`. `tools` are LangChain tools behind the approval gate; their calls are
    in the trace, and what an earlier attempt of the run has done is not done again.

    >>> async def keep(context: rota.RunContext, prompt: str) -> str:
    ...     context.report("I write a note.")
    ...     return await context.call("write_note", text=prompt)
    """

    run_id: RunId
    user_id: UserId
    session_id: str
    agent_name: str
    now: datetime
    settings: Mapping[str, Any]
    tools: Mapping[str, BaseTool]
    _journal: Journal = field(repr=False)
    _approval: ApprovalContext = field(repr=False)
    _build_models: BuildModels = field(repr=False)
    _read_declarations: ReadDeclarations = field(repr=False)
    _threads: CallsFromThreads = field(repr=False)

    @classmethod
    def make(
        cls,
        approval: ApprovalContext,
        journal: Journal,
        *,
        now: datetime,
        settings: Mapping[str, Any],
        tools: Sequence[BaseTool],
        missing: Callable[[str], RotaError],
        build_models: BuildModels,
        read_declarations: ReadDeclarations,
    ) -> RunContext:
        """Return the context of a run, with its gated tools in the trace.

        `missing` says why the run does not have a tool, `read_declarations` returns all there are.
        """
        threads = CallsFromThreads(approval.loop)
        traced = {tool.name: TracedTool(tool, journal, threads) for tool in tools}
        return cls(
            run_id=approval.run_id,
            user_id=approval.user_id,
            session_id=approval.session_id,
            agent_name=approval.agent_name,
            now=now,
            settings=settings,
            tools=RunTools(traced, missing),
            _journal=journal,
            _approval=approval,
            _build_models=build_models,
            _read_declarations=read_declarations,
            _threads=threads,
        )

    async def call(self, tool_name: str, /, **arguments: Any) -> str:
        """Call a tool and return what it answers, as text.

        A call that needs approval returns the message that it waits. Raises NotFoundError for a
        tool that the agent does not link, SetupRequiredError for one that this worker does not
        have, ToolException for one that fails.
        """
        tool = self.tools[tool_name]
        if not isinstance(tool, TracedTool):  # the operator's code put it there
            raise NotFoundError("tool", tool_name, hint="Link it to the agent.")
        return await self._threads.acall(tool.name, self._journal.own_call(tool.gated, arguments))

    def model(
        self, name: str | None = None, /, *, fallbacks: Sequence[str] | None = None, **settings: Any
    ) -> BaseChatModel:
        """Return a chat model, `provider:model`, with the operator's keys, retries and fallbacks.

        Its calls are in the trace and count towards the limits. Without a name it is the `model` of
        the agent's `model_settings`, with those of them that are settings of a model; without
        `fallbacks` it has the agent's `fallback_models`. Raises InvalidInputError,
        SetupRequiredError.
        """
        chosen = name
        if name is None:
            chosen = self.settings.get("model")
            of_model = {n: v for n, v in self.settings.items() if n in ModelSettings.model_fields}
            settings = {**of_model, **settings}
        if not isinstance(chosen, str):
            raise InvalidInputError(
                "context.model() was given no model: name one, context.model('openai:gpt-5-mini'), "
                "or set `model` in the agent's model_settings.",
                field="model_settings.model",
            )
        built = self._build_models(chosen, fallbacks, settings)
        self._journal.check_priced([of for of, _ in built.models])
        return RunModel(built.models, retry_policy(settings), self._journal, self._threads)

    async def spend(
        self,
        model: str = "",
        /,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost_usd: Decimal | float | str | None = None,
    ) -> None:
        """Count one model call that the code made by itself; `model` is `provider:model`.

        The cost is in US dollars; where it is not given, the model's price tells. Raises
        LimitReachedError once a limit is used up, and InvalidInputError where a limit in dollars
        holds and the cost is not known.
        """
        if min(input_tokens, output_tokens) < 0:
            raise InvalidInputError("A number of tokens is 0 or more.", field="tokens")
        cost = None if cost_usd is None else _dollars(cost_usd)
        usage = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
        counted = self._journal.count_spent(model or "model", usage, cost)
        await self._threads.acall("context.spend()", counted)

    def report(self, text: str = "") -> None:
        """Give a sign of life; a text is kept, and is what is left if the run is stopped."""
        self._journal.alive()
        if text:
            self._journal.progress.texts.append(text)

    def callbacks(self) -> list[BaseCallbackHandler]:
        """Return what keeps a graph's calls in the trace, within limits, and behind the gate.

        Tools that the graph brings along run only if the agent links them.
        """
        return trace_callbacks(self._journal, self._approval)

    async def callbacks_of(self, graph: Any) -> list[BaseCallbackHandler]:
        """Return callbacks for one graph: tools that it brings run if they are declared so."""
        declared = await self._read_declarations()
        return trace_callbacks(self._journal, self._approval, graph=graph, declared=declared)

    async def close(self) -> None:
        """End calls that other threads still wait for, and take no more of them."""
        await self._threads.close()

    async def keep(self, step: Step) -> None:
        """Write a step of the callable's own."""
        await self._journal.keep(step)

    def step(self, name: str, key: StepKey) -> Step:
        """Return a step of the callable's own, begun now."""
        return self._journal.own_step(key, name)


def _dollars(written: Decimal | float | str) -> Decimal:
    try:
        cost = Decimal(str(written))
    except InvalidOperation:
        cost = Decimal(-1)
    if not cost.is_finite() or cost < 0:
        raise InvalidInputError(f"A cost is a number of dollars; not {written!r}.", field="cost")
    return cost


class RunTools(dict[str, BaseTool]):
    """The tools of a run by name. An unknown name raises an error that says what to do."""

    def __init__(self, tools: Mapping[str, BaseTool], missing: Callable[[str], RotaError]) -> None:
        super().__init__(tools)
        self._missing = missing

    def __missing__(self, name: str) -> BaseTool:
        raise self._missing(name)


class TracedTool(BaseTool):
    """A gated tool for an operator's code: each call of it is journalled.

    It may be called synchronously from another thread than that of the worker's event loop.
    """

    _gated: BaseTool = PrivateAttr()
    _journal: Journal = PrivateAttr()
    _threads: CallsFromThreads = PrivateAttr()

    def __init__(self, gated: BaseTool, journal: Journal, threads: CallsFromThreads) -> None:
        """Wrap a gated tool."""
        super().__init__(
            name=gated.name,
            description=gated.description,
            args_schema=gated.tool_call_schema,
            return_direct=gated.return_direct,
            handle_tool_error=True,
            metadata={**(gated.metadata or {}), TRACED: True},
        )
        self._gated = gated
        self._journal = journal
        self._threads = threads

    def _to_args_and_kwargs(
        self,
        tool_input: str | dict[str, Any],
        tool_call_id: str | None,  # noqa: ARG002  # LangChain's signature
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Pass on what is asked for as it is: the gated tool reads it, once."""
        if isinstance(tool_input, str):
            return (), {next(iter(self._gated.args), "input"): tool_input}
        return (), dict(tool_input)

    @property
    def gated(self) -> BaseTool:
        """The tool behind the gate."""
        return self._gated

    def _run(self, *_args: Any, config: RunnableConfig, **kwargs: Any) -> Any:  # noqa: ARG002  # LangChain passes it
        kwargs.pop("run_manager", None)
        return self._threads.call(self.name, self._journal.own_call(self._gated, kwargs))

    async def _arun(self, *_args: Any, config: RunnableConfig, **kwargs: Any) -> Any:  # noqa: ARG002  # as above
        kwargs.pop("run_manager", None)
        return await self._threads.acall(self.name, self._journal.own_call(self._gated, kwargs))
