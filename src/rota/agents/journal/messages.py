"""LangChain's messages as the journal keeps them, and what is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.messages.utils import count_tokens_approximately

from rota.domain.text.storable import storable_json

_SAID: Final = ("content", "tool_calls", "additional_kwargs")
"""What of a message is sent to a provider."""

_ID_OF_BLOCK: Final = {"tool_use": "id", "tool_call": "id", "function_call": "call_id"}
"""Where a call's id is in the content, as Anthropic, LangChain and OpenAI's Responses write it."""

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


def index_of(request: ToolCallRequest) -> int:
    """Return the call's place among those of the model message that asked for it."""
    models = [m for m in request.state["messages"] if isinstance(m, AIMessage)]
    calls = models[-1].tool_calls if models else []
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


def usage_of(question: Sequence[BaseMessage], answer: Sequence[BaseMessage]) -> dict[str, Any]:
    """Return the tokens that the provider tells, else an estimate: limits hold all the same."""
    told = _told(answer)
    if told is not None:
        return told
    asked = count_tokens_approximately(question)
    said = count_tokens_approximately(answer)
    return {
        "input_tokens": asked,
        "output_tokens": said,
        "total_tokens": asked + said,
        "estimated": True,
    }


def _told(answers: Sequence[BaseMessage]) -> dict[str, Any] | None:
    for message in answers:
        if isinstance(message, AIMessage) and message.usage_metadata is not None:
            return dict(message.usage_metadata)
    return None
