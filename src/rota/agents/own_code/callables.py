"""Agents that are an operator's own code: async functions and LangGraph graphs.

They run under the same limits, approval, trace and results as agents made of a model and a prompt.
Rows name them, `callable:NAME`; the operator registers what each name means (see `registered`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, assert_never

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import PrivateAttr

from rota.agents.journal.journal import Journal
from rota.agents.models.providers import CALLABLE
from rota.agents.own_code.graph_trace import OWN_TOOL, trace_callbacks
from rota.agents.own_code.registered import AsyncFunction, Graph, GraphFactory, RegisteredCallable
from rota.domain.agents.message_content import normalize_content
from rota.domain.errors import InvalidInputError, NotFoundError, RotaError
from rota.domain.ids import RunId, UserId
from rota.domain.runs.steps import BEFORE, MODEL_CALL, Step, StepKey
from rota.domain.text.storable import storable_json
from rota.security.gate.calls import ApprovalContext

AS_AGENT: Final = StepKey(BEFORE, MODEL_CALL)
"""The place of a callable's own step: before all that it does."""

AS_PRECHECK: Final = StepKey(BEFORE, 0)
"""The place of a pre-check, whatever it is."""

_PROMPT_NAMES: Final = ("prompt", "input", "question", "query")
"""Names by which a graph without messages may take its prompt."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a callable may know of its run, and its ways to act.

    `now` is aware, in the owner's zone, and stays the same for every attempt. `settings` are the
    agent's `model_settings`. `tools` are LangChain tools behind the approval gate; their calls are
    in the trace, and what an earlier attempt of the run has done is not done again.
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

    @classmethod
    def make(
        cls,
        approval: ApprovalContext,
        journal: Journal,
        *,
        now: datetime,
        settings: Mapping[str, Any],
        tools: Sequence[BaseTool],
    ) -> RunContext:
        """Return the context of a run, with its gated tools in the trace."""
        return cls(
            run_id=approval.run_id,
            user_id=approval.user_id,
            session_id=approval.session_id,
            agent_name=approval.agent_name,
            now=now,
            settings=settings,
            tools={tool.name: TracedTool(tool, journal) for tool in tools},
            _journal=journal,
            _approval=approval,
        )

    async def call(self, tool_name: str, /, **arguments: Any) -> str:
        """Call a tool and return what it answers, as text.

        A call that needs approval returns the message that it waits. Raises NotFoundError for a
        tool that the agent does not have, ToolException for one that fails.
        """
        tool = self.tools.get(tool_name)
        if not isinstance(tool, TracedTool):
            raise NotFoundError("tool", tool_name, hint="Link it to the agent.")
        return await self._journal.own_call(tool.gated, arguments)

    def report(self, text: str = "") -> None:
        """Give a sign of life; a text is kept, and is what is left if the run is stopped."""
        self._journal.alive()
        if text:
            self._journal.progress.texts.append(text)

    def callbacks(self) -> list[BaseCallbackHandler]:
        """Return what keeps a graph's calls in the trace, within limits, and behind the gate."""
        return trace_callbacks(self._journal, self._approval)

    async def keep(self, step: Step) -> None:
        """Write a step of the callable's own."""
        await self._journal.keep(step)

    def step(self, name: str, key: StepKey) -> Step:
        """Return a step of the callable's own, begun now."""
        return self._journal.own_step(key, name)


class TracedTool(BaseTool):
    """A gated tool for an operator's code: each call of it is journalled."""

    _gated: BaseTool = PrivateAttr()
    _journal: Journal = PrivateAttr()

    def __init__(self, gated: BaseTool, journal: Journal) -> None:
        """Wrap a gated tool."""
        super().__init__(
            name=gated.name,
            description=gated.description,
            args_schema=gated.tool_call_schema,
            return_direct=gated.return_direct,
            handle_tool_error=True,
            metadata={**(gated.metadata or {}), OWN_TOOL: True},
        )
        self._gated = gated
        self._journal = journal

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

    def _run(self, *_args: Any, config: RunnableConfig, **_kwargs: Any) -> Any:  # noqa: ARG002  # LangChain passes it
        raise ToolException(f"{self.name} can only be called asynchronously; it did not run.")

    async def _arun(self, *_args: Any, config: RunnableConfig, **kwargs: Any) -> Any:  # noqa: ARG002  # as above
        kwargs.pop("run_manager", None)
        return await self._journal.own_call(self._gated, kwargs)


async def check_by_tool(journal: Journal, tool: BaseTool, arguments: Mapping[str, Any]) -> str:
    """Return what a tool finds before the agent is asked; raises RotaError where it fails."""
    try:
        return await journal.own_call(tool, arguments, key=AS_PRECHECK)
    except ToolException as error:
        raise RotaError(f"The pre-check {tool.name} failed: {error}") from error


async def run_registered(
    registered: RegisteredCallable, context: RunContext, prompt: str, *, key: StepKey = AS_AGENT
) -> str:
    """Run an operator's code and return its answer as text; values become JSON."""
    step = context.step(f"{CALLABLE}{registered.name}", key)
    match registered:
        case AsyncFunction():
            answer = answer_text(await registered.call(context, prompt))
        case Graph():
            answer = await _run_graph(registered.graph, context, prompt)
        case GraphFactory():
            built = registered.build(context)
            if inspect.isawaitable(built):
                built = await built
            answer = await _run_graph(built, context, prompt)
        case _:
            assert_never(registered)
    await context.keep(step)
    return answer


def answer_text(value: Any) -> str:
    """Return an answer as text: a message's text, nothing for None, JSON of other values."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, BaseMessage):
        return normalize_content(value.content)
    return json.dumps(storable_json(value), ensure_ascii=False, indent=2)


async def _run_graph(graph: Any, context: RunContext, prompt: str) -> str:
    state = await graph.ainvoke(
        _input(graph, prompt),
        config={
            "callbacks": context.callbacks(),
            "configurable": {"thread_id": str(context.run_id)},
            "metadata": {"run_id": str(context.run_id), "user_id": str(context.user_id)},
        },
    )
    if isinstance(state, Mapping):
        messages = state.get("messages")
        if isinstance(messages, Sequence) and messages and isinstance(messages[-1], BaseMessage):
            return answer_text(messages[-1])
        return answer_text({key: value for key, value in state.items() if key != "messages"})
    return answer_text(state)


def _input(graph: Any, prompt: str) -> Any:
    """Return a prompt in the form that a graph takes; raises InvalidInputError."""
    schema: Any = getattr(graph, "get_input_jsonschema", dict)  # some other runnable has none
    names = schema().get("properties", {})
    if "messages" in names or not names:
        return {"messages": [HumanMessage(prompt)]}
    for name in _PROMPT_NAMES:
        if name in names:
            return {name: prompt}
    raise InvalidInputError(
        f"The graph takes {', '.join(names)}; give its state `messages` or one of "
        f"{', '.join(_PROMPT_NAMES)}, so that it can be given the prompt.",
        field="model",
    )
