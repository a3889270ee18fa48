"""Turns the return value of an operator's code into the text of a result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel

from rota.domain.agents.message_content import normalize_content
from rota.domain.errors import RotaError
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import storable_json

_INTERRUPTS: Final = "__interrupt__"
"""Where the state of a graph has what it stopped to ask."""

_LONGEST_QUESTION: Final = 500
_DEEPEST: Final = 50


@dataclasses.dataclass(frozen=True, slots=True)
class _Result:
    """Where a framework's result holds its answer, and the questions for which it stopped."""

    answer: str | None
    asks: tuple[str, ...] = ()


_RESULTS: Final[Mapping[tuple[str, str], _Result]] = {
    ("agents", "RunResultBase"): _Result("final_output", ("interruptions",)),  # openai-agents
    ("langgraph", "GraphOutput"): _Result("value", ("interrupts",)),
    ("pydantic_ai", "AgentRunResult"): _Result("output"),
    ("pydantic_ai", "DeferredToolRequests"): _Result(None, ("approvals", "calls")),
    ("smolagents", "RunResult"): _Result("output"),
}
"""Results of agent frameworks by package and class; what else they hold is their own record.

The packages are the operator's, so none is imported here.
"""


class StoppedToAskError(RotaError):
    """A graph, or an agent of another framework, stopped to ask a person."""


def answer_text(value: Any) -> str:
    """Return an answer as text: a message's text, nothing for None, JSON of other values.

    Of a graph's state it is the structured response where there is one, else the last text of an
    agent, else all but the messages. Raises StoppedToAskError where the code stopped to ask.
    """
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, BaseMessage):
        return normalize_content(value.content)
    if isinstance(value, Mapping):
        _check_finished(value.get(_INTERRUPTS))
        return _state_text(value)
    if (result := _known_result(value)) is not None:
        for name in result.asks:
            _check_finished(getattr(value, name, None))
        return answer_text(getattr(value, result.answer)) if result.answer else ""
    return _json(value)


def _check_finished(asked: Any) -> None:
    if not asked:
        return
    questions = asked if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
    said = "; ".join(_question(question) for question in questions)
    raise StoppedToAskError(
        f"It stopped to ask a person, and was not finished: {shorten(said, _LONGEST_QUESTION)}\n"
        "What a graph or a framework asks by itself cannot be answered yet. Give it the tools of "
        "the run's context instead: their calls that need approval wait for it."
    )


def _question(asked: Any) -> str:
    """Return what a graph's interrupt asks, or which call is to be approved."""
    value = getattr(asked, "raw_item", getattr(asked, "value", asked))
    if isinstance(value, Mapping) and value.get("action_requests"):  # HumanInTheLoopMiddleware
        return "; ".join(_question(request) for request in value["action_requests"])
    name = _either(value, "name", "tool_name")
    if name is not None:
        return f"{name}({_line(_either(value, 'arguments', 'args'))})"
    return _line(value)


def _either(value: Any, *names: str) -> Any:
    held = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return next((held[name] for name in names if held.get(name) is not None), None)


def _line(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    return json.dumps(storable_json(_opened(value, 0)), ensure_ascii=False)


def _state_text(state: Mapping[Any, Any]) -> str:
    messages = _messages(state)
    if not messages:
        return _json(state)
    if (structured := state.get("structured_response")) is not None:
        return answer_text(structured)
    if text := answer_text(messages[-1]):
        return text
    said = (answer_text(m) for m in reversed(messages) if isinstance(m, AIMessage))
    return next((text for text in said if text), "")


def _messages(state: Mapping[Any, Any]) -> Sequence[BaseMessage]:
    found = state.get("messages")
    is_list = isinstance(found, Sequence) and bool(found) and isinstance(found[-1], BaseMessage)
    return found if is_list else ()  # type: ignore[return-value]  # looked at by its last


def _known_result(value: Any) -> _Result | None:
    kinds = ((kind.__module__.partition(".")[0], kind.__name__) for kind in type(value).__mro__)
    return next((_RESULTS[kind] for kind in kinds if kind in _RESULTS), None)


def _json(value: Any) -> str:
    return json.dumps(storable_json(_opened(value, 0)), ensure_ascii=False, indent=2)


def _opened(value: Any, depth: int) -> Any:
    """Return models and dataclasses as the values that they hold."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, BaseModel):
        return _opened(value.model_dump(), depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _opened(fields, depth + 1)
    if isinstance(value, Mapping):
        return {key: _opened(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_opened(item, depth + 1) for item in value]
    return value
