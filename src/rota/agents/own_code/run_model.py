"""The LangChain chat model that an operator's code gets from its context.

Keys, retries and fallbacks are those of agents made of a model and a prompt. Each call is in the
trace and within the run's limits, whether it is synchronous, asynchronous or streamed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr

from rota.agents.journal.journal import Journal
from rota.agents.journal.messages import name_calls
from rota.agents.models.answers import (
    ANSWER_WATCH,
    check_not_cut,
    check_readable,
    told_what_was_wrong,
    trusted,
)
from rota.agents.models.failures import ModelAttempt, ModelFailure
from rota.agents.models.retries import call_models
from rota.agents.models.tool_answers import acceptable, shortened
from rota.agents.own_code.graph_trace import TRACED
from rota.agents.own_code.threads import CallsFromThreads
from rota.domain.agents.retries import RetryPolicy

Models = Sequence[tuple[str, BaseChatModel]]


class RunModel(BaseChatModel):
    """A model and its fallback models, for one run. May be called from other threads."""

    model_name: str
    _models: Models = PrivateAttr()
    _retries: RetryPolicy = PrivateAttr()
    _journal: Journal = PrivateAttr()
    _threads: CallsFromThreads = PrivateAttr()

    def __init__(
        self, models: Models, retries: RetryPolicy, journal: Journal, threads: CallsFromThreads
    ) -> None:
        """Make it of models by their `provider:model`, the preferred first."""
        super().__init__(model_name=models[0][0], metadata={TRACED: True})  # type: ignore[call-arg]  # pydantic's own
        self._models = models
        self._retries = retries
        self._journal = journal
        self._threads = threads

    @property
    def _llm_type(self) -> str:
        return "rota"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Keep the tools as they are: each provider is told of them in its own form."""
        chosen = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=list(tools), **chosen, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # LangChain's signature
        **kwargs: Any,
    ) -> ChatResult:
        return self._threads.call(self.model_name, self._answer(messages, stop, kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # as above
        **kwargs: Any,
    ) -> ChatResult:
        return await self._threads.acall(self.model_name, self._answer(messages, stop, kwargs))

    async def _answer(
        self, messages: list[BaseMessage], stop: list[str] | None, bound: Mapping[str, Any]
    ) -> ChatResult:
        journal = self._journal
        step = journal.begin_model_call(self.model_name)
        journal.alive()
        own = shortened(cast("list[AnyMessage]", messages), self.model_name)
        asked = _advised(own, journal.budget.advice())

        async def call(name: str, model: BaseChatModel) -> tuple[str, AIMessage]:
            to_send = acceptable(cast("list[AnyMessage]", asked), name)

            async def ask(advice: str | None) -> AIMessage:
                return await _ask(_bound(model, bound), _advised(to_send, advice), stop)

            async def lost(failure: ModelFailure) -> None:
                await failed(ModelAttempt(name, failure.kind, failure.message, 0.0, failure.usage))

            return name, await told_what_was_wrong(ask, lost)

        async def failed(attempt: ModelAttempt) -> None:
            nonlocal step
            step = await journal.note_attempt(step, attempt.as_json())

        try:
            name, answer = await call_models(
                self._models, call, policy=self._retries, failed=failed, random=random.random
            )
        except Exception as error:
            await journal.fail(step, error)
            raise
        name_calls([answer], step.model_step, asked)
        (kept,) = await journal.end_model_call(replace(step, name=name), [answer], asked)
        return ChatResult(generations=[ChatGeneration(message=kept)])


async def _ask(
    model: Runnable[LanguageModelInput, AIMessage],
    messages: list[BaseMessage],
    stop: list[str] | None,
) -> AIMessage:
    """Ask one model once; raises AnswerError for an answer that cannot be used."""
    with _apart_from_the_caller():
        asking = model.ainvoke(messages, {"callbacks": [ANSWER_WATCH]}, stop=stop)
        answer = await trusted(asking, lambda message: [message])
    check_not_cut(answer)
    check_readable(answer)
    return answer


@contextmanager
def _apart_from_the_caller() -> Iterator[None]:
    """Call without the callbacks of the caller's graph: it has heard of this call already."""
    token = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _bound(
    model: BaseChatModel, bound: Mapping[str, Any]
) -> Runnable[LanguageModelInput, AIMessage]:
    given = dict(bound)
    tools = given.pop("tools", None)
    return model.bind_tools(tools, **given) if tools else model.bind(**given)


def _advised(messages: Sequence[BaseMessage], advice: str | None) -> list[BaseMessage]:
    """Tell the model something beside its own instructions."""
    if advice is None:
        return list(messages)
    first = messages[0] if messages else None
    if isinstance(first, SystemMessage):
        return [SystemMessage(f"{first.text}\n\n{advice}"), *messages[1:]]
    return [SystemMessage(advice), *messages]
