"""Runs callables as agents: the operator's async functions and LangGraph graphs.

They have the same limits, approvals, trace and results as agents made of a model and a prompt.
Rows name them `callable:NAME`; the operator registers the code for each name (see `registered`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, assert_never

from langchain_core.tools import BaseTool, ToolException

from rota.agents.journal.journal import Journal
from rota.agents.models.providers import CALLABLE
from rota.agents.own_code.answers import answer_text
from rota.agents.own_code.graphs import input_of
from rota.agents.own_code.registered import AsyncFunction, Graph, GraphFactory, RegisteredCallable
from rota.agents.own_code.run_context import RunContext
from rota.domain.errors import InvalidInputError, RotaError
from rota.domain.runs.steps import BEFORE, MODEL_CALL, StepKey

AS_AGENT: Final = StepKey(BEFORE, MODEL_CALL)
"""The place of a callable's own step: before all that it does."""

AS_PRECHECK: Final = StepKey(BEFORE, 0)
"""The place of a pre-check, whatever it is."""


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
    try:
        answer = await _answer(registered, context, prompt)
    finally:
        await context.close()
    await context.keep(step)
    return answer


async def _answer(registered: RegisteredCallable, context: RunContext, prompt: str) -> str:
    match registered:
        case AsyncFunction():
            return answer_text(await registered.call(context, prompt))
        case Graph():
            return await _run_graph(registered.graph, context, prompt)
        case GraphFactory():
            built = registered.build(context)
            if inspect.isawaitable(built):
                built = await built
            if isinstance(built, AbstractAsyncContextManager):
                async with built as graph:
                    return await _run_graph(_checked(registered, graph), context, prompt)
            return await _run_graph(_checked(registered, built), context, prompt)
        case _:
            assert_never(registered)


def _checked(factory: GraphFactory, built: Any) -> Any:
    """Return what a factory made; raises InvalidInputError where that is no graph."""
    if callable(getattr(built, "ainvoke", None)):
        return built
    what_to_do = (
        "Return what its compile() returns"
        if callable(getattr(built, "compile", None))
        else "If it answers a prompt, give it two arguments: context, prompt"
    )
    raise InvalidInputError(
        f"The callable {factory.name} takes the context alone, and so has to make a graph; it made "
        f"an object of type {type(built).__name__}. {what_to_do}.",
        field="model",
    )


async def _run_graph(graph: Any, context: RunContext, prompt: str) -> str:
    state = await graph.ainvoke(
        input_of(graph, prompt),
        config={
            "callbacks": await context.callbacks_of(graph),
            "configurable": {"thread_id": str(context.run_id)},
            "metadata": {"run_id": str(context.run_id), "user_id": str(context.user_id)},
        },
    )
    return answer_text(state)
