"""The `scripted` model provider: answers by a script (domain/agents/script.py), without a key.

For demonstrations, tests and agents that need no model. It does not stream.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from rota.agents.scripted.checking import ALONE
from rota.agents.scripted.templates import evaluate, render
from rota.domain.agents.message_content import normalize_content
from rota.domain.agents.script import Call, Script, Step
from rota.domain.errors import InvalidInputError, UnavailableError

_CALL_ID: Final = re.compile(r"call_(\d+)_\d+(?:_turn_\d+)?")


class ScriptedModelError(UnavailableError):
    """The error that a script's `error` step asks for."""

    def __init__(self, message: str) -> None:
        super().__init__(message, service="scripted model")


class ScriptedChatModel(BaseChatModel):
    """Follows a script. The messages alone tell the next step, so any attempt can replay it.

    `now` (aware, in the owner's zone) is the clock of its templates. It does not change in a
    replay.
    """

    script: Script
    now: datetime
    model_name: str = "plan"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "script": self.script.model_dump(mode="json")}

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: str | None = None,  # noqa: ARG002  # LangChain's signature
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools by name. A call of one that is not bound is made all the same.

        So the agent's own handling of unknown tools is what is seen; the message says it in
        `response_metadata["unbound_tools"]`.
        """
        names = [convert_to_openai_tool(tool)["function"]["name"] for tool in tools]
        return self.bind(bound_tools=names, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  # LangChain's signature
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  # as above
        **kwargs: Any,
    ) -> ChatResult:
        turn = _read_turn(messages, self.now)
        for index, step in enumerate(self.script.steps[turn.next_step :], turn.next_step):
            time.sleep(step.sleep_ms / 1000)
            if (message := self._message(turn, index, step, kwargs)) is not None:
                return _result(message)
        return _result(self._answer(turn))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  # LangChain's signature
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  # as above
        **kwargs: Any,
    ) -> ChatResult:
        # Templates may take their two seconds of CPU: not on the loop that others run on.
        turn = await asyncio.to_thread(_read_turn, messages, self.now)
        for index, step in enumerate(self.script.steps[turn.next_step :], turn.next_step):
            await asyncio.sleep(step.sleep_ms / 1000)
            message = await asyncio.to_thread(self._message, turn, index, step, kwargs)
            if message is not None:
                return _result(message)
        return _result(await asyncio.to_thread(self._answer, turn))

    def _message(
        self, turn: _Turn, index: int, step: Step, options: Mapping[str, Any]
    ) -> AIMessage | None:
        """Return the step's message, or None if it comes to no call; raises its error."""
        if step.error is not None:
            error = render(step.error, turn.variables, what=f"error of step {index}").strip()
            if error:
                raise ScriptedModelError(error)
            return None
        asked: list[tuple[str, Any]] = []
        for number, call in enumerate(step.calls):
            asked += _expand(call, turn.variables, f"step {index} call {number}")
        if not asked:
            return None
        # Asked once more, the script begins anew; an id of two calls would mix up their results.
        again = f"_turn_{turn.number}" if turn.number > 1 else ""
        calls = [
            ToolCall(name=tool, args=args, id=f"call_{index}_{number}{again}")
            for number, (tool, args) in enumerate(asked)
        ]
        bound = options.get("bound_tools")
        unbound = sorted({tool for tool, _ in asked} - set(bound)) if bound is not None else []
        text = render(step.say, turn.variables, what=f"say of step {index}") if step.say else ""
        return self._reply(text, "tool_calls", calls, {"unbound_tools": unbound} if unbound else {})

    def _answer(self, turn: _Turn) -> AIMessage:
        return self._reply(render(self.script.answer, turn.variables, what="answer"), "stop")

    def _reply(
        self,
        text: str,
        reason: str,
        calls: Sequence[ToolCall] = (),
        more: Mapping[str, Any] | None = None,
    ) -> AIMessage:
        about = {"model_name": f"scripted:{self.model_name}", "finish_reason": reason}
        return AIMessage(
            content=text,
            tool_calls=list(calls),
            response_metadata={**about, **(more or {})},
            usage_metadata={"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        )


class _Turn(NamedTuple):
    """What the messages since a person's last message tell: the next step, and the results so far.

    `number` counts the messages of a person.
    """

    number: int
    next_step: int
    variables: dict[str, object]


def _read_turn(messages: Sequence[BaseMessage], now: datetime) -> _Turn:
    """Read the next step of the plan from the call ids, and collect what the tools returned."""
    asked = [i for i, message in enumerate(messages) if isinstance(message, HumanMessage)]
    prompt = normalize_content(messages[asked[-1]].content) if asked else ""
    next_step = 0
    names: dict[str | None, str] = {}
    results: list[object] = []
    by_tool: dict[str, list[object]] = {}
    failures: list[dict[str, str]] = []
    for message in messages[asked[-1] + 1 if asked else 0 :]:
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                names[call["id"]] = call["name"]
                if found := _CALL_ID.fullmatch(call["id"] or ""):
                    next_step = int(found[1]) + 1
        elif isinstance(message, ToolMessage):
            name = message.name or names.get(message.tool_call_id, "")
            text = normalize_content(message.content)
            value = _parse_result(text)
            results.append(value)
            by_tool.setdefault(name, []).append(value)
            if message.status == "error":
                failures.append({"tool": name, "message": text})
    variables: dict[str, object] = {
        "prompt": prompt,
        "now": now,
        "results": results,
        "by_tool": by_tool,
        "failures": failures,
    }
    return _Turn(len(asked), next_step, variables)


def _expand(call: Call, variables: dict[str, object], place: str) -> list[tuple[str, Any]]:
    what = f"argument of {place}"
    if call.for_each is None:
        return [(call.tool, _render_values(call.args, variables, what))]
    items = evaluate(call.for_each, variables, what=f"for_each of {place}")
    if not isinstance(items, list | tuple | range):
        raise InvalidInputError(
            f"The for_each of {place} is not a list but {type(items).__name__}.", field="for_each"
        )
    return [
        (call.tool, _render_values(call.args, {**variables, "item": item}, what))
        for item in items[: call.limit]
    ]


def _render_values(value: Any, variables: Mapping[str, object], what: str) -> Any:
    match value:
        case str():
            if alone := ALONE.fullmatch(value):
                return evaluate(alone[1], variables, what=what)
            return render(value, variables, what=what)
        case dict():
            return {key: _render_values(v, variables, what) for key, v in value.items()}
        case list():
            return [_render_values(v, variables, what) for v in value]
        case _:
            return value


def _parse_result(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, a number of over 4,300 digits, or a trap
        return text


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])
