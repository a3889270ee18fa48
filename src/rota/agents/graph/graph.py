"""The graph on which every agent runs. It is built once; a run's own values come in its context.

`create_agent` takes milliseconds, and its graph depends on almost nothing of an agent. So model,
prompt and tools are put in at each call. The graph has no tools of its own: a call's tool is looked
up in the run's context. If the context has no such tool, the call is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from rota.agents.journal.journal import Journal
from rota.agents.journal.messages import advised
from rota.agents.models.answers import told_what_was_wrong, trusted
from rota.agents.models.failures import ModelAttempt, ModelFailure
from rota.agents.models.retries import call_models
from rota.agents.models.tool_answers import acceptable, shortened
from rota.domain.agents.retries import RetryPolicy
from rota.security.gate.guard import GateGuard


@dataclass(frozen=True, slots=True)
class GraphContext:
    """A run's own values for the graph: its models in order, prompt, gated tools and journal.

    A model that was given up moves to the end. The rest of the run begins with the model that
    worked.
    """

    models: list[tuple[str, BaseChatModel]]
    retries: RetryPolicy
    system_prompt: str
    tools: Mapping[str, BaseTool]
    journal: Journal
    guard: GateGuard
    random: Callable[[], float]


_RUN: Final[ContextVar[GraphContext]] = ContextVar("rota_run")
"""Not the graph's own context: a tool gets that in its runtime, and a run's journal is not its."""


@contextmanager
def within(run: GraphContext) -> Iterator[None]:
    """Run the graph for one run."""
    token = _RUN.set(run)
    try:
        yield
    finally:
        _RUN.reset(token)


class RunMiddleware(AgentMiddleware[Any, Any, Any]):
    """Puts the run's own model, prompt and tools in place, and journals every call.

    The journal is outside and the guard inside, so every call that reaches a tool has passed both.
    """

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Ask the run's model, or replay its answer."""
        run = _RUN.get()
        if (answer := _direct_answer(request.messages, run.tools)) is not None:
            return ModelResponse(result=[answer])
        asked = request.override(
            model=run.models[0][1],
            messages=shortened(request.messages, run.models[0][0]),
            tools=list(run.tools.values()),
            system_message=SystemMessage(run.system_prompt) if run.system_prompt else None,
        )
        return await run.journal.model_call(asked, _Ask(run, handler))

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Run the run's own tool of that name, through the guard, or replay its answer."""
        run = _RUN.get()
        own = run.tools.get(request.tool_call["name"])

        async def guarded(asked: ToolCallRequest) -> ToolMessage | Command[Any]:
            if own is None:
                return _no_such_tool(asked, run.tools)
            return await run.guard.awrap_tool_call(asked, handler)

        asked = request if own is None else request.override(tool=own)
        return await run.journal.tool_call(asked, guarded)


class _Ask:
    """Asks the run's models in their order, with retries."""

    def __init__(
        self,
        run: GraphContext,
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> None:
        self.name = run.models[0][0]
        self._run = run
        self._handler = handler

    async def __call__(
        self,
        request: ModelRequest[Any],
        failed: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> tuple[str, ModelResponse[Any]]:
        async def call(name: str, model: BaseChatModel) -> tuple[str, ModelResponse[Any]]:
            messages = acceptable(request.messages, name)
            asked = request.override(model=model, messages=messages)

            async def ask(advice: str | None) -> ModelResponse[Any]:
                answer = self._handler(advised(asked, advice))
                return await trusted(answer, lambda response: response.result)

            async def lost(failure: ModelFailure) -> None:
                await tell(ModelAttempt(name, failure.kind, failure.message, 0.0, failure.usage))

            return name, await told_what_was_wrong(ask, lost)

        async def tell(attempt: ModelAttempt) -> None:
            await failed(attempt.as_json())

        answered = await call_models(
            tuple(self._run.models),
            call,
            policy=self._run.retries,
            failed=tell,
            random=self._run.random,
        )
        while self._run.models[0][0] != answered[0]:
            self._run.models.append(self._run.models.pop(0))
        return answered


class _NoModel(BaseChatModel):
    """A placeholder where the graph needs a model. The run's own model replaces it."""

    @property
    def _llm_type(self) -> str:
        return "none"

    def _generate(
        self,
        messages: list[BaseMessage],  # noqa: ARG002  # LangChain's signature
        stop: list[str] | None = None,  # noqa: ARG002  # as above
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # as above
        **kwargs: Any,  # noqa: ARG002  # as above
    ) -> ChatResult:
        raise RuntimeError("the graph was run without a run's context")


@cache
def graph() -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the graph that runs any tools, whoever they belong to."""
    return create_agent(_NoModel(), tools=[], middleware=[RunMiddleware()])


def _direct_answer(
    messages: Sequence[BaseMessage], tools: Mapping[str, BaseTool]
) -> AIMessage | None:
    """Return the answer of tools that end the run with theirs, where only such were called last.

    None where one of them failed, or was not run: the model is told.
    """
    answers: list[ToolMessage] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        if message.status == "error":
            return None
        tool = tools.get(message.name or "")
        if tool is None or not tool.return_direct:
            return None
        answers.insert(0, message)
    return AIMessage(answers[-1].content) if answers else None


def _no_such_tool(request: ToolCallRequest, tools: Mapping[str, BaseTool]) -> ToolMessage:
    name = request.tool_call["name"]
    return ToolMessage(
        f"{name} is not a tool of this agent; there are: {', '.join(tools) or 'none'}.",
        name=name,
        tool_call_id=request.tool_call["id"] or "",
        status="error",
    )
