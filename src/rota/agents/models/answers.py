"""Checks whether a model's answer can be used: whole, not withheld, with readable calls.

LangChain completes JSON that a stream left unfinished, so half a call looks like a whole one. An
answer that cannot be used raises AnswerError, which `retries` handles as any other failure of the
model. Calls that cannot be read are put among the message's `invalid_tool_calls`.
`journal/messages` tells the model of these calls, and of those that its output limit cut.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from pydantic import ValidationError

from rota.agents.models.failures import (
    LONGEST_QUOTED,
    ModelFailure,
    ModelFailureError,
    classify_model_error,
)
from rota.domain.agents.finish_reasons import (
    announces_calls,
    finish_reason,
    is_broken,
    is_cut,
    is_withheld,
)
from rota.domain.agents.message_content import is_blank, said_in
from rota.domain.errors import RotaError
from rota.domain.text.shortening import shorten
from rota.security.secrets.redaction import redact_text

T = TypeVar("T")

_UNREADABLE: Final = (LookupError, TypeError, AttributeError, ValueError)
"""What LangChain's clients raise over an answer that is not of the form that they expect."""

_TOLD_AT_MOST: Final = 2

NOT_AN_OBJECT: Final = (
    "The arguments of a tool call are one JSON object, not a text, a list or a number. Your last "
    "answer could not be read for that reason; write the call again."
)


_TOO_LONG: Final = (
    "Your last answer reached its output limit, so its tool calls may be cut short. Write them "
    "again, shorter: with less text before them, or as several smaller calls."
)


class AnswerError(ModelFailureError):
    """The model answered, and the answer cannot be used.

    `answer` is the part that came, if it is a message. `advice` is what the model is told when it
    is asked again.
    """

    def __init__(
        self, failure: ModelFailure, answer: AIMessage | None = None, advice: str | None = None
    ) -> None:
        super().__init__(failure)
        self.answer = answer
        self.advice = advice


@dataclass(slots=True)
class AnswerStream:
    """Records how one answer arrives: whether in pieces, and the pieces of its calls."""

    was_asked: bool = False
    came_in_pieces: bool = False
    _calls: list[AIMessageChunk] = field(default_factory=list)

    def add(self, chunk: GenerationChunk | ChatGenerationChunk | None) -> None:
        """Take note of a piece."""
        self.came_in_pieces = True
        message = getattr(chunk, "message", None)
        if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
            self._calls.append(
                AIMessageChunk(content="", tool_call_chunks=message.tool_call_chunks)
            )

    def unfinished(self) -> set[str | None]:
        """Return the ids of calls whose arguments are not whole as they came."""
        if not self._calls:
            return set()
        first, *others = self._calls
        whole = first + others
        return {call["id"] for call in whole.tool_call_chunks if not _is_object(call["args"])}


_STREAM: Final[ContextVar[AnswerStream | None]] = ContextVar("rota_answer_stream", default=None)


@contextmanager
def watched_answer() -> Iterator[AnswerStream]:
    """Watch the answer to one model call; `ANSWER_WATCH` is to be among the callbacks."""
    stream = AnswerStream()
    token = _STREAM.set(stream)
    try:
        yield stream
    finally:
        _STREAM.reset(token)


class _AnswerWatch(BaseCallbackHandler):
    """Passes the pieces of an answer to the stream that watches it (`watched_answer`)."""

    run_inline = True
    ignore_chain = True
    ignore_agent = True
    ignore_retriever = True
    ignore_custom_event = True

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Take note that the model's client was asked."""
        if (stream := _STREAM.get()) is not None:
            stream.was_asked = True

    def on_llm_new_token(
        self,
        token: str | list[Any],  # noqa: ARG002  # LangChain's signature
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        **_: Any,
    ) -> None:
        """Take note of a piece."""
        if (stream := _STREAM.get()) is not None:
            stream.add(chunk)


ANSWER_WATCH: Final = _AnswerWatch()
"""What a model's client is to have among its callbacks, so that its answer is watched."""


async def trusted(ask: Awaitable[T], messages_of: Callable[[T], Iterable[BaseMessage]]) -> T:
    """Await a model's answer and look at it; raises AnswerError for one that cannot be used."""
    with watched_answer() as stream:
        try:
            answer = await ask
        except Exception as error:
            if (failure := read_failure(error, stream)) is None:
                raise
            raise failure from error
    for message in messages_of(answer):
        if isinstance(message, AIMessage):
            check_answer(message, stream)
    return answer


async def told_what_was_wrong(
    ask: Callable[[str | None], Awaitable[T]], failed: Callable[[ModelFailure], Awaitable[None]]
) -> T:
    """Ask a model, and again where its answer was lost for a mistake that it can be told of.

    `ask` takes what to tell it. `failed` hears of each answer that was lost, but for the last one.
    """
    advice: str | None = None
    for _ in range(_TOLD_AT_MOST):
        try:
            return await ask(advice)
        except AnswerError as error:
            if error.advice is None:
                raise
            advice = error.advice
            await failed(error.failure)
    return await ask(advice)


def check_answer(message: AIMessage, stream: AnswerStream) -> None:
    """Raise AnswerError for an answer that cannot be used.

    Calls whose arguments came unfinished are put among its `invalid_tool_calls`.
    """
    reason = finish_reason(message.response_metadata)
    has_calls = bool(message.tool_calls or message.invalid_tool_calls)
    if (refusal := _refusal(message)) or is_withheld(reason):
        raise AnswerError(_withheld(reason, refusal, message), message)
    if is_broken(reason):
        raise _unusable(f"it ended with the finish reason {reason!r}", message)
    if announces_calls(reason) and not has_calls:
        raise _unusable(f"its finish reason is {reason!r}, but no call arrived", message)
    if reason is None and stream.came_in_pieces:
        if has_calls:
            raise _unusable(
                "its stream ended without a finish reason, and its calls may be half", message
            )
        if is_blank(said_in(message.content)):
            raise _unusable("its stream ended without text or a finish reason", message)
    if message.invalid_tool_calls:
        _read_twice_encoded(message)
    unfinished = stream.unfinished()
    if any(call["id"] in unfinished for call in message.tool_calls):
        _set_aside(message, unfinished)


def check_not_cut(message: AIMessage) -> None:
    """Raise AnswerError for calls that an output limit cut.

    For those who cannot tell the model which of its calls were not run.
    """
    has_calls = bool(message.tool_calls or message.invalid_tool_calls)
    if has_calls and is_cut(finish_reason(message.response_metadata)):
        raise _unusable("its output limit cut it, and its calls may be half", message, _TOO_LONG)


def check_readable(message: AIMessage) -> None:
    """Raise AnswerError for calls whose arguments cannot be read; for the same."""
    if message.invalid_tool_calls:
        why = "the arguments of a call are no whole JSON object"
        raise _unusable(why, message, NOT_AN_OBJECT)


def read_failure(error: Exception, stream: AnswerStream) -> AnswerError | None:
    """Return the failure that an exception of a client stands for, None where it is another one.

    A client falls over a body or a chunk that is not what its provider's API says.
    """
    is_known = isinstance(error, RotaError) or classify_model_error(error).kind != "other"
    if is_known or not stream.was_asked or not isinstance(error, _UNREADABLE):
        return None
    if _is_about_arguments(error):
        return _unusable("the arguments of a call are no JSON object", advice=NOT_AN_OBJECT)
    detail = shorten(" ".join(redact_text(str(error)).split()), LONGEST_QUOTED).rstrip(".")
    return _unusable(f"it could not be read ({detail or type(error).__name__})")


def _unusable(why: str, message: AIMessage | None = None, advice: str | None = None) -> AnswerError:
    failure = ModelFailure(
        "unavailable",
        f"The model's answer cannot be used: {why}.",
        worth_retrying=True,
        of_answer=True,
        usage=_usage(message),
    )
    return AnswerError(failure, message, advice)


def _withheld(reason: str | None, refusal: str, answer: AIMessage) -> ModelFailure:
    said = refusal or said_in(answer.content)
    quoted = shorten(" ".join(redact_text(said).split()), LONGEST_QUOTED).rstrip(".")
    refused = bool(refusal) or (reason or "").casefold() == "refusal"
    sentence = "The model refused to answer" if refused else "A content filter stopped the answer"
    message = f"{sentence}: {quoted}." if quoted else f"{sentence}."
    return ModelFailure("policy", message, of_answer=True, said=said, usage=_usage(answer))


def _usage(answer: AIMessage | None) -> dict[str, Any] | None:
    told = None if answer is None else answer.usage_metadata
    return None if told is None else dict(told)


def _refusal(message: AIMessage) -> str:
    """Return the words of a refusal that the provider tells apart from the text."""
    told = message.additional_kwargs.get("refusal")
    if isinstance(told, str) and told:
        return told
    for block in message.content if isinstance(message.content, list) else ():
        found = block.get("value", block) if isinstance(block, dict) else None
        if isinstance(found, dict) and isinstance(words := found.get("refusal"), str) and words:
            return words
    return ""


def decoded_once(arguments: object) -> str | None:
    """Return the whole JSON object that arguments encoded twice hold, None for any others."""
    if not isinstance(arguments, str) or not arguments.lstrip().startswith('"'):
        return None
    try:
        once = json.loads(arguments)
        return once if isinstance(once, str) and isinstance(json.loads(once), dict) else None
    except (ValueError, RecursionError):
        return None


def _read_twice_encoded(message: AIMessage) -> None:
    """Take calls whose arguments were encoded twice for what they say."""
    unreadable = []
    for call in message.invalid_tool_calls:
        if (once := decoded_once(call["args"])) is None:
            unreadable.append(call)
        else:
            read = tool_call(name=call["name"] or "", args=json.loads(once), id=call["id"])
            message.tool_calls = [*message.tool_calls, read]
    message.invalid_tool_calls = unreadable


def _set_aside(message: AIMessage, ids: set[str | None]) -> None:
    """Put calls among the message's invalid ones."""
    message.invalid_tool_calls = message.invalid_tool_calls + [
        invalid_tool_call(
            name=call["name"],
            args=json.dumps(call["args"]),
            id=call["id"],
            error="they are not complete",
        )
        for call in message.tool_calls
        if call["id"] in ids
    ]
    message.tool_calls = [call for call in message.tool_calls if call["id"] not in ids]


def _is_object(arguments: str | None) -> bool:
    if not (arguments or "").strip():  # a call without arguments
        return True
    try:
        whole = isinstance(json.loads(arguments or "", strict=False), dict)
    except (ValueError, RecursionError):
        return False
    return whole or decoded_once(arguments) is not None


def _is_about_arguments(error: Exception) -> bool:
    """Return whether LangChain could not make a message of a call's arguments."""
    if not isinstance(error, ValidationError):
        return False
    places = [place["loc"] for place in error.errors(include_url=False, include_input=False)]
    return any(place[:1] == ("tool_calls",) and place[-1:] == ("args",) for place in places)
