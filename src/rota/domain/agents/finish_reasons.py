"""Why a model stopped: the finish reasons of all providers, and what each means for the answer.

They are read from the metadata that LangChain's clients keep with an answer. An unknown reason
counts as an ordinary end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_KEYS: Final = ("stop_reason", "finish_reason", "done_reason", "stopReason")

_CUT: Final = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "max_length",
        "model_length",
        "model_context_window_exceeded",
        "incomplete",
    }
)
_WITHHELD: Final = frozenset(
    {
        "content_filter",
        "content_filtered",
        "refusal",
        "guardrail_intervened",
        "safety",
        "image_safety",
        "prohibited_content",
        "blocklist",
        "spii",
        "recitation",
        "sensitive",
        "error_toxic",
    }
)
_BROKEN: Final = frozenset(
    {
        "error",
        "failed",
        "cancelled",
        "abort",
        "aborted",
        "timeout",
        "in_progress",
        "queued",
        "network_error",
        "insufficient_system_resource",
        "malformed_function_call",
        "malformed_model_output",
        "malformed_tool_use",
        "unexpected_tool_call",
        "finish_reason_unspecified",
    }
)
_CALLS: Final = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})


def finish_reason(metadata: Mapping[str, Any]) -> str | None:
    """Return why the model stopped, as its provider writes it; None where nothing says so."""
    found = next((metadata[key] for key in _KEYS if metadata.get(key)), None)
    if found is None:  # OpenAI's Responses: a status, and details of one that is "incomplete"
        details = metadata.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, Mapping) else None
        found = reason or metadata.get("status")
    if found is None and metadata.get("done") is True:  # Ollama's older servers give no reason
        found = "done"
    return _once(str(found)) if found else None


def is_cut(reason: str | None) -> bool:
    """Return whether the answer was cut: by its output limit, or by the model's window."""
    return _is_of(reason, _CUT)


def is_withheld(reason: str | None) -> bool:
    """Return whether the model refused, or a content filter stopped it."""
    return _is_of(reason, _WITHHELD)


def is_broken(reason: str | None) -> bool:
    """Return whether the provider says that the answer failed on the way."""
    return _is_of(reason, _BROKEN)


def announces_calls(reason: str | None) -> bool:
    """Return whether the model stopped to have tools called."""
    return _is_of(reason, _CALLS)


def _is_of(reason: str | None, known: frozenset[str]) -> bool:
    return reason is not None and reason.casefold() in known


def _once(reason: str) -> str:
    """Return a reason that a server sent with each of its last chunks: LangChain joins them."""
    for count in range(2, len(reason) // 3 + 1):
        part = reason[: len(reason) // count]
        if part * count == reason:
            return part
    return reason
