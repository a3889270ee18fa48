"""The readable text of a model's answer.

The content of a model's message is a string, or a list of blocks. The shape of a block differs by
provider and by version. `normalize_content` knows those of OpenAI (chat completions and responses),
Anthropic, Gemini, Bedrock and LangChain's own version 1. It puts a note in brackets for a block
that it does not know.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rota.domain.text.shortening import shorten

_DEEPEST: Final = 20

_CALL_NOTE: Final = "[tool call: "

_TEXT_TYPES: Final = frozenset({"text", "output_text", "input_text", "text-plain", "text_delta"})

_HIDDEN_TYPES: Final = frozenset(
    {
        "reasoning",
        "reasoning_content",
        "thinking",
        "thinking_delta",
        "redacted_thinking",
        "signature_delta",
        "input_json_delta",
        "compaction",
        "cache_point",
    }
)

_CALL_TYPES: Final = frozenset(
    {
        "tool_use",
        "server_tool_use",
        "mcp_tool_use",
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "server_tool_call",
        "server_tool_call_chunk",
        "function_call",
        "executable_code",
    }
)

_RESULT_TYPES: Final = frozenset({"tool_result", "server_tool_result", "code_execution_result"})

_MEDIA_TYPES: Final = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "output_image": "image",
    "image_generation_call": "image",
    "audio": "audio",
    "input_audio": "audio",
    "output_audio": "audio",
    "video": "video",
    "video_url": "video",
    "file": "file",
    "input_file": "file",
    "container_upload": "file",
    "document": "document",
    "media": "media",
}

_BARE_KEYS: Final = {
    # Blocks of Gemini and Bedrock have no type: they are named by their one key.
    "functionCall": "tool_call",
    "function_call": "tool_call",
    "toolUse": "tool_call",
    "functionResponse": "tool_result",
    "function_response": "tool_result",
    "toolResult": "tool_result",
    "executableCode": "executable_code",
    "codeExecutionResult": "code_execution_result",
    "reasoningContent": "reasoning",
    "reasoning_content": "reasoning",
    "cachePoint": "cache_point",
    "inlineData": "media",
    "inline_data": "media",
    "fileData": "media",
    "file_data": "media",
    "image": "image",
    "document": "document",
    "video": "video",
    "audio": "audio",
}


def normalize_content(content: object) -> str:
    """Return the readable text of a model's message content: a string, a block or a list of them.

    Reasoning is left out: it is not output. Tool calls and their results are mentioned only where
    there is nothing else. Images, files and what is not known become notes in brackets. Cited
    sources follow as a numbered list.
    """
    if isinstance(content, str):
        return content
    reading = _Reading()
    reading.add(content, depth=0)
    return reading.text()


def said_in(content: object) -> str:
    """Return as `normalize_content` what a model says: tool calls are not mentioned at all."""
    reading = _Reading()
    reading.add(content, depth=0)
    calls = [note for note in reading.placeholders if note.startswith(_CALL_NOTE)]
    reading.placeholders = [note for note in reading.placeholders if note not in calls]
    return reading.text()


def is_blank(text: str) -> bool:
    """Return whether nothing of a text is seen: it has spaces and invisible characters alone."""
    return all(unicodedata.category(char)[0] in "ZC" for char in text)


@dataclass(slots=True)
class _Reading:
    """The text read so far, and the state that decides how the next piece joins it."""

    written: str = ""
    placeholders: list[str] = field(default_factory=list)  # used only if nothing was written
    sources: dict[str, str] = field(default_factory=dict)  # by URL or title, in order
    joins: bool = False  # the last block was text with citations, and nothing came between

    def text(self) -> str:
        text = self.written if self.written.strip() else "\n".join(self.placeholders)
        if not self.sources:
            return text
        listed = [f"{number}. {source}" for number, source in enumerate(self.sources.values(), 1)]
        return "\n".join([f"{text.rstrip()}\n\nSources:", *listed])

    def add(self, content: object, depth: int) -> None:
        if depth > _DEEPEST:
            self.write("[nested content]")
            return
        match content:
            case None:
                pass
            case str():
                self.write(content)
            case bytes() | bytearray():
                self.write(f"[{len(content)} bytes]")
            case Mapping():
                self.add_block(content, depth)
            case list() | tuple():
                for item in content:
                    self.add(item, depth + 1)
            case bool() | int() | float():
                self.write(str(content))
            case _:
                self.write(f"[{type(content).__name__}]")

    def add_block(self, block: Mapping[Any, Any], depth: int) -> None:
        kind, inner = _kind(block)
        if kind in _HIDDEN_TYPES or block.get("thought") is True:
            self.joins = False
        elif kind in _TEXT_TYPES:
            self.write_cited(block)
        elif kind == "refusal":
            self.write(_first_text(block, "refusal", "text") or "[refusal]")
        elif kind == "non_standard":
            self.add(block.get("value", "[non_standard]"), depth + 1)
        elif kind == "image_generation_call":
            self.write("[image]")
        elif kind in _CALL_TYPES or kind.endswith("_call"):
            self.placeholders.append(f"{_CALL_NOTE}{_call_name(inner, kind)}]")
            self.joins = False
        elif kind in _RESULT_TYPES or kind.endswith(("_tool_result", "_call_output")):
            self.add_tool_result(inner, depth)
        elif kind in _MEDIA_TYPES:
            self.write(_media(_MEDIA_TYPES[kind], inner, block))
        else:
            self.add_other(kind, block, depth)

    def add_tool_result(self, inner: Mapping[Any, Any], depth: int) -> None:
        result = _Reading()
        for key in ("content", "output", "code_execution_result"):
            result.add(inner.get(key), depth + 1)
        self.placeholders.append(result.text() or "[tool result]")
        self.joins = False

    def add_other(self, kind: str, block: Mapping[Any, Any], depth: int) -> None:
        if kind == "search_result":
            self.note_source(block.get("source"), block.get("title"))
        if _first_text(block, "text"):
            self.write_cited(block)
            return
        for key in ("content", "parts", "value"):
            if isinstance(block.get(key), str | list | tuple | Mapping) and block[key]:
                self.add(block[key], depth + 1)
                return
        self.write(f"[{_one_line(kind) or 'unknown content'}]")

    def write_cited(self, block: Mapping[Any, Any]) -> None:
        citations = block.get("citations") or block.get("annotations")
        cited = isinstance(citations, list | tuple) and bool(citations)
        self.write(_first_text(block, "text"), cited=cited)
        for citation in citations if isinstance(citations, list | tuple) else ():
            if isinstance(citation, Mapping):
                self.note_citation(citation)

    def write(self, text: str, *, cited: bool = False) -> None:
        if not text:
            return
        # Anthropic splits a sentence where a citation begins or ends; other blocks are paragraphs.
        runs_on = cited or self.joins or self.written[-1:].isspace() or text[0].isspace()
        self.written += text if runs_on or not self.written else f"\n\n{text}"
        self.joins = cited

    def note_citation(self, citation: Mapping[Any, Any]) -> None:
        nested = citation.get("url_citation")
        place = nested if isinstance(nested, Mapping) else citation
        self.note_source(
            place.get("url") or place.get("source"),
            place.get("title") or place.get("document_title") or place.get("filename"),
        )

    def note_source(self, url: object, title: object) -> None:
        address = _http_url(url)
        name = _one_line(title)
        if address:
            self.sources.setdefault(address, f"{name} ({address})" if name else address)
        elif name:
            self.sources.setdefault(name, name)


def _kind(block: Mapping[Any, Any]) -> tuple[str, Mapping[Any, Any]]:
    """Return the block's type, and the mapping that holds its details."""
    named = block.get("type")
    if isinstance(named, str) and named:
        nested = block.get(named)
        return named, nested if isinstance(nested, Mapping) else block
    if "text" in block:
        return "text", block
    for key, kind in _BARE_KEYS.items():
        if key in block:
            nested = block[key]
            return kind, nested if isinstance(nested, Mapping) else block
    return "", block


def _call_name(inner: Mapping[Any, Any], kind: str) -> str:
    function = inner.get("function")
    named = function if isinstance(function, Mapping) else inner
    return _one_line(named.get("name")) or _one_line(kind.removesuffix("_call"))


def _media(kind: str, inner: Mapping[Any, Any], block: Mapping[Any, Any]) -> str:
    source = inner.get("source")
    places = [place for place in (inner, source, block) if isinstance(place, Mapping)]

    def first(read: Callable[[object], str], *keys: str) -> str:
        return next((t for p in places for k in keys if (t := read(p.get(k)))), "")

    text = first(_text_value, "transcript", "text")
    if not text and isinstance(source, Mapping) and source.get("type") == "text":
        text = _text_value(source.get("data"))
    if text:
        return text
    if kind == "media":
        family = first(_one_line, "mime_type", "mimeType", "media_type").partition("/")[0]
        kind = family if family in {"image", "audio", "video"} else "file"
    name = first(_one_line, "alt", "alt_text", "title", "filename", "name", "display_name")
    url = first(_http_url, "url", "image_url", "video_url", "file_url", "file_uri", "fileUri")
    about = ", ".join(part for part in (name, url) if part)
    return f"[{kind}: {about}]" if about else f"[{kind}]"


def _first_text(block: Mapping[Any, Any], *keys: str) -> str:
    return next((text for key in keys if (text := _text_value(block.get(key)))), "")


def _text_value(value: object) -> str:
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, Iterable) else str(value)


def _http_url(value: object) -> str:
    if isinstance(value, Mapping):
        value = value.get("url")
    is_http = isinstance(value, str) and re.match(r"https?://\S+\Z", value, re.IGNORECASE)
    return str(value) if is_http else ""


def _one_line(value: object, limit: int = 200) -> str:
    return shorten(" ".join(value.split()), limit) if isinstance(value, str) else ""
