"""Answers of tools in all their forms: read as a text, and returned with a note to the agent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.messages.tool import ToolOutputMixin
from langchain_core.tools.base import TOOL_MESSAGE_BLOCK_TYPES
from langgraph.types import Command

from rota.domain.agents.message_content import normalize_content


def answer_text(answer: Any) -> str:
    """Return an answer as people are shown it, "" for one that says nothing."""
    if isinstance(answer, ToolMessage):
        return answer_text(answer.content)
    if isinstance(answer, Command):
        update = answer.update if isinstance(answer.update, Mapping) else {}
        messages = [m for value in update.values() if isinstance(value, list) for m in value]
        return "\n\n".join(answer_text(m) for m in messages if isinstance(m, ToolMessage))
    if isinstance(answer, list | tuple) and answer:
        if isinstance(answer[0], ToolOutputMixin):
            return "\n\n".join(map(answer_text, answer))
        if all(map(_is_block, answer)):
            return normalize_content(answer)
    if answer is None or answer == []:
        return ""
    return answer if isinstance(answer, str) else _as_text(answer)


def with_note(answer: Any, note: str) -> Any:
    """Return an answer that begins with a note; what is neither text nor blocks becomes text."""
    if isinstance(answer, ToolMessage):
        return answer.model_copy(update={"content": with_note(answer.content, note)})
    if isinstance(answer, Command):
        update = answer.update
        if isinstance(update, Mapping):
            update = {key: _noted_messages(value, note) for key, value in update.items()}
        return replace(answer, update=update)
    if isinstance(answer, ToolOutputMixin):
        return answer
    if isinstance(answer, list) and answer and isinstance(answer[0], ToolOutputMixin):
        return [with_note(item, note) for item in answer]
    if isinstance(answer, list | tuple) and all(map(_is_block, answer)):
        return [{"type": "text", "text": note}, *answer]
    return f"{note}\n\n{answer if isinstance(answer, str) else _as_text(answer)}"


def _is_block(item: Any) -> bool:
    """Return whether LangGraph takes it for a block of a message."""
    return isinstance(item, dict) and item.get("type") in TOOL_MESSAGE_BLOCK_TYPES


def _as_text(answer: Any) -> str:
    """Return it as LangChain writes what is no content of a message."""
    try:
        return json.dumps(answer, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(answer)


def _noted_messages(value: Any, note: str) -> Any:
    """Return the answers of tools among a graph's new state with a note."""
    if isinstance(value, ToolMessage):
        return with_note(value, note)
    if isinstance(value, list):
        return [with_note(item, note) if isinstance(item, ToolMessage) else item for item in value]
    return value
