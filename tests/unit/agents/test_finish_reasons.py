"""What the finish reasons of providers say of an answer."""

import pytest

from rota.domain.agents.finish_reasons import (
    announces_calls,
    finish_reason,
    is_broken,
    is_cut,
    is_withheld,
)

SAYS = {"cut": is_cut, "withheld": is_withheld, "broken": is_broken, "calls": announces_calls}


@pytest.mark.parametrize(
    ("metadata", "reason", "says"),
    [
        ({"finish_reason": "stop"}, "stop", None),
        ({"finish_reason": None}, None, None),
        ({}, None, None),
        ({"finish_reason": "eos"}, "eos", None),  # of whom nothing is known
        ({"finish_reason": "length"}, "length", "cut"),
        ({"finish_reason": "MAX_TOKENS"}, "MAX_TOKENS", "cut"),  # Gemini
        ({"finish_reason": "model_length"}, "model_length", "cut"),  # Mistral
        ({"stop_reason": "max_tokens"}, "max_tokens", "cut"),
        (
            {"stop_reason": "model_context_window_exceeded"},
            "model_context_window_exceeded",
            "cut",
        ),
        ({"stopReason": "max_tokens"}, "max_tokens", "cut"),  # Bedrock
        ({"done_reason": "length"}, "length", "cut"),  # Ollama
        ({"done": True}, "done", None),
        ({"done": False}, None, None),
        ({"status": "completed"}, "completed", None),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete", "cut"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "max_output_tokens",
            "cut",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
            "withheld",
        ),
        ({"stop_reason": "refusal"}, "refusal", "withheld"),
        ({"finish_reason": "SAFETY"}, "SAFETY", "withheld"),
        ({"stopReason": "guardrail_intervened"}, "guardrail_intervened", "withheld"),
        ({"status": "failed"}, "failed", "broken"),
        ({"finish_reason": "error"}, "error", "broken"),  # OpenRouter
        ({"finish_reason": "MALFORMED_FUNCTION_CALL"}, "MALFORMED_FUNCTION_CALL", "broken"),
        ({"finish_reason": "tool_calls"}, "tool_calls", "calls"),
        ({"stop_reason": "tool_use"}, "tool_use", "calls"),
        ({"finish_reason": "lengthlength"}, "length", "cut"),  # in two chunks of a stream
        ({"finish_reason": "stopstopstop"}, "stop", None),
    ],
)
def test_finish_reasons_are_told_apart(metadata, reason, says):
    assert finish_reason(metadata) == reason
    assert [name for name, of in SAYS.items() if of(reason)] == ([says] if says else [])
