"""OpenAI's chat models, with corrections for what langchain-openai drops or cannot read.

Servers that imitate OpenAI may encode a call's arguments twice. Such arguments are read, too.
"""

from __future__ import annotations

from typing import Any

from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI

from rota.agents.models.answers import decoded_once


class OpenAIChat(ChatOpenAI):
    """LangChain's ChatOpenAI. A streamed refusal is stored where an unstreamed one is."""

    def _create_chat_result(
        self, response: Any, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        for choice in getattr(response, "choices", None) or ():
            for call in getattr(getattr(choice, "message", None), "tool_calls", None) or ():
                function: Any = getattr(call, "function", None)
                if (once := decoded_once(getattr(function, "arguments", None))) is not None:
                    function.arguments = once
        return super()._create_chat_result(response, generation_info)

    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(
            chunk, default_chunk_class, base_generation_info
        )
        choices = chunk.get("choices") or [{}]
        refusal = (choices[0].get("delta") or {}).get("refusal")
        if made is not None and refusal:
            made.message.additional_kwargs["refusal"] = refusal
        return made
