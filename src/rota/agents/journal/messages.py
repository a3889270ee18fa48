"""Converts LangChain's messages to the journal's form, and reads values from them."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from langchain.agents.middleware.types import ModelRequest, ToolCallRequest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.messages.tool import tool_call
from langchain_core.messages.utils import count_tokens_approximately

from rota.agents.models.providers import SCRIPTED
from rota.domain.agents.finish_reasons import finish_reason, is_cut
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import storable_json

_SAID: Final = ("content", "tool_calls", "additional_kwargs")
"""What of a message is sent to a provider."""

_ID_OF_BLOCK: Final = {"tool_use": "id", "tool_call": "id", "function_call": "call_id"}
"""Where a call's id is in the content, as Anthropic, LangChain and OpenAI's Responses write it."""

_QUOTED: Final = 500

_CUT_SHORT: Final = (
    "your answer reached its output limit, so the call may be cut short. Write it again, shorter: "
    "with less text before it, or as several smaller calls."
)

M = TypeVar("M", bound=BaseMessage)


def storable_messages(messages: Sequence[M]) -> tuple[list[dict[str, Any]], list[M]]:
    """Return messages as they are stored, and as a later attempt will read them.

    What cannot be stored cannot be sent to a provider either: half a surrogate pair, for one.
    """
    given = [message_to_dict(message) for message in messages]
    stored: list[dict[str, Any]] = storable_json(given)
    if all(
        s["data"].get(k) == g["data"].get(k)
        for s, g in zip(stored, given, strict=True)
        for k in _SAID
    ):
        return stored, list(messages)
    return stored, [cast("M", message) for message in messages_from_dict(stored)]


def name_calls(
    messages: Sequence[BaseMessage], model_step: int, earlier: Sequence[BaseMessage] = ()
) -> None:
    """Give each tool call an id that no other has, here or in the `earlier` messages.

    Some providers omit them, or repeat one. LangGraph answers by them, and strict providers refuse
    a conversation that has one twice.
    """
    taken = {c["id"] for m in earlier if isinstance(m, AIMessage) for c in m.tool_calls}
    for message in messages:
        if not isinstance(message, AIMessage):
            continue
        for index, call in enumerate(message.tool_calls):
            if not call["id"] or call["id"] in taken:
                call["id"] = f"rota_{model_step}_{index}"
            taken.add(call["id"])
        _name_blocks(message)


def _name_blocks(message: AIMessage) -> None:
    """Give the blocks of calls in a message's content, which may be sent too, their calls' ids."""
    blocks = [
        (block, _ID_OF_BLOCK[block["type"]])
        for block in message.content
        if isinstance(block, dict) and block.get("type") in _ID_OF_BLOCK
    ]
    calls = message.tool_calls
    if [block.get("name") for block, _ in blocks] != [call["name"] for call in calls]:
        return
    for (block, id_name), call in zip(blocks, calls, strict=True):
        block[id_name] = call["id"]


def settle_calls(
    messages: Sequence[BaseMessage], model_step: int, earlier: Sequence[BaseMessage]
) -> list[BaseMessage]:
    """Return a model's answer with its calls named, and what it is told of those that never run.

    Those are all calls of an answer that its output limit cut, and those whose arguments cannot be
    read. A call that is answered here reaches neither the gate nor a tool. `earlier` is the
    conversation so far.
    """
    settled: list[BaseMessage] = []
    for message in messages:
        settled.append(message)
        if isinstance(message, AIMessage):
            settled += _refused_calls(message, model_step, earlier)
    return settled


def _refused_calls(
    message: AIMessage, model_step: int, earlier: Sequence[BaseMessage]
) -> list[ToolMessage]:
    readable, unreadable = len(message.tool_calls), list(message.invalid_tool_calls)
    message.tool_calls = [
        *message.tool_calls,
        *(tool_call(name=call["name"] or "unnamed", args={}, id=call["id"]) for call in unreadable),
    ]
    message.invalid_tool_calls = []
    name_calls([message], model_step, earlier)
    if is_cut(finish_reason(message.response_metadata)):
        refused = {call["id"]: _CUT_SHORT for call in message.tool_calls}
    else:
        written = zip(message.tool_calls[readable:], unreadable, strict=True)
        refused = {call["id"]: _unreadable(w["args"] or "") for call, w in written}
    _mend_content(message, refused)
    return [
        ToolMessage(
            f"{call['name']} was not run: {refused[call['id']]}",
            name=call["name"],
            tool_call_id=call["id"] or "",
            status="error",
        )
        for call in message.tool_calls
        if call["id"] in refused
    ]


def _unreadable(written: str) -> str:
    return (
        "the arguments that you wrote for it are not one whole JSON object. Write the call again. "
        f"You wrote: {shorten(written, _QUOTED)}"
    )


def _mend_content(message: AIMessage, refused: Container[str | None]) -> None:
    """Have the content say of these calls what `tool_calls` does.

    OpenAI's Responses are sent the content as it is, and refuse arguments that are no JSON.
    """
    if isinstance(message.content, str):
        return
    arguments = {call["id"]: json.dumps(call["args"]) for call in message.tool_calls}
    message.content = [
        {**block, "arguments": arguments[block["call_id"]]}
        if isinstance(block, dict)
        and block.get("call_id") in arguments
        and block["call_id"] in refused
        else block
        for block in message.content
    ]


def advised(request: ModelRequest[Any], advice: str | None) -> ModelRequest[Any]:
    """Tell the model something with its next call, after its own instructions."""
    if advice is None:
        return request
    said = request.system_message.text if request.system_message is not None else ""
    return request.override(system_message=SystemMessage(f"{said}\n\n{advice}".strip()))


def calls_with(request: ToolCallRequest) -> Sequence[ToolCall]:
    """Return the calls of the model message that asked for this one."""
    models = [m for m in request.state["messages"] if isinstance(m, AIMessage)]
    return models[-1].tool_calls if models else ()


def index_of(request: ToolCallRequest) -> int:
    """Return the call's place among those of the model message that asked for it."""
    calls = calls_with(request)
    same = [i for i, c in enumerate(calls) if c is request.tool_call]
    if not same:  # rebuilt by LangGraph on the way: find it by id, then by name and arguments
        same = [i for i, c in enumerate(calls) if c["id"] and c["id"] == request.tool_call["id"]]
    if len(same) != 1:
        same = [
            i
            for i, c in enumerate(calls)
            if (c["id"], c["name"], c["args"])
            == (request.tool_call["id"], request.tool_call["name"], request.tool_call["args"])
        ] or [0]
    return same[0]


def usage_of(
    question: Sequence[BaseMessage], answer: Sequence[BaseMessage], model: str
) -> dict[str, Any]:
    """Return the tokens that the provider tells, else an estimate: limits hold all the same.

    A zero is told too where nobody counted: nothing was asked or said without a token. Scripted
    models, which read none, are believed.
    """
    told = _told(answer)
    asked, said = (told or {}).get("input_tokens", 0), (told or {}).get("output_tokens", 0)
    own = [message for message in answer if isinstance(message, AIMessage)]
    is_scripted = model.partition(":")[0] == SCRIPTED
    if told is not None and ((asked and said) or is_scripted):
        return told
    asked = asked or count_tokens_approximately(question)
    said = said or count_tokens_approximately(own)
    return {
        **(told or {}),
        "input_tokens": asked,
        "output_tokens": said,
        "total_tokens": asked + said,
        "estimated": True,
    }


def usage_in_all(usage: Mapping[str, Any], other: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the tokens of two answers together, and of what kind those of the second were."""
    names = ("input_tokens", "output_tokens", "total_tokens")
    sums = {name: usage.get(name, 0) + (other or {}).get(name, 0) for name in names}
    return {**(other or {}), **sums}


def _told(answers: Sequence[BaseMessage]) -> dict[str, Any] | None:
    for message in answers:
        if isinstance(message, AIMessage) and message.usage_metadata is not None:
            return dict(message.usage_metadata)
    return None
