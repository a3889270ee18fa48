"""Prepares tools' answers for a model: in a form that its provider takes, and cut to a length.

The journal keeps the answers as they were. A scripted model gets them whole.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AnyMessage, ToolMessage

from rota.agents.models.providers import SCRIPTED
from rota.domain.agents.message_content import normalize_content
from rota.domain.text.storable import cut

LONGEST_TOLD: Final = 100_000
"""Characters of one answer that a model is sent; they are about 25,000 tokens."""

LONGEST_KEPT: Final = 50_000_000
"""Characters of one answer that the journal keeps; PostgreSQL takes five times as many."""

NOTHING: Final = "(The tool answered with nothing.)"
"""Some providers refuse an empty text."""

_MAGIC: Final[Mapping[str, tuple[bytes, ...]]] = {
    "image/png": (b"\x89PNG",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF8",),
    "image/webp": (b"RIFF",),
}
"""Images that Anthropic takes, and how they begin: one of another kind than it says is refused."""

_LARGEST_IMAGE: Final = 5 * 1024 * 1024  # of base64
_NATIVE_TO_ANTHROPIC: Final = frozenset({"search_result", "document", "tool_reference"})
_TEXT_KINDS: Final = frozenset({"json", "xml", "yaml", "x-yaml", "javascript", "csv", "toml"})


def shortened(messages: Sequence[AnyMessage], model: str) -> list[AnyMessage]:
    """Return messages for `provider:model`, with a note where a tool's answer is cut."""
    if model.startswith(f"{SCRIPTED}:"):
        return list(messages)
    return [
        cut_answer(message, LONGEST_TOLD) if isinstance(message, ToolMessage) else message
        for message in messages
    ]


def acceptable(messages: Sequence[AnyMessage], model: str) -> list[AnyMessage]:
    """Return messages for `provider:model`, tools' answers made into what its provider takes.

    That is text. Anthropic's models are sent images too.
    """
    provider = model.partition(":")[0]
    if provider == SCRIPTED:
        return list(messages)
    keeps = _anthropic_takes if provider == "anthropic" else _nobody_takes
    return [
        _with_content(message, _content(message.content, keeps))
        if isinstance(message, ToolMessage)
        else message
        for message in messages
    ]


def cut_answer(message: ToolMessage, limit: int) -> ToolMessage:
    """Return it with at most `limit` characters of its text, and a note where it is cut."""
    text = message.content if isinstance(message.content, str) else _text(message.content)
    return message if len(text) <= limit else _with_content(message, cut_text(text, limit))


def cut_text(text: str, limit: int = LONGEST_TOLD) -> str:
    """Return a tool's text with a note where it is cut."""
    if len(text) <= limit:
        return text
    return (
        f"{cut(text, limit).text}\n\n[Cut: the tool answered with {len(text):,} characters, and "
        f"these are the first {limit:,}. Ask it for less if you need the rest.]"
    )


def _with_content(message: ToolMessage, content: str | list[Any]) -> ToolMessage:
    return (
        message if content is message.content else message.model_copy(update={"content": content})
    )


def _content(content: str | list[Any], keeps: Callable[[Any], bool]) -> str | list[Any]:
    if isinstance(content, str):
        return content if content.strip() else NOTHING
    if not any(keeps(block) for block in content):
        text = _text(content)
        return text if text.strip() else NOTHING
    found = [block if keeps(block) else _block_text(block) for block in content]
    return [
        {"type": "text", "text": item} if isinstance(item, str) else item
        for item in found
        if not isinstance(item, str) or item.strip()
    ]


def _text(content: Sequence[Any]) -> str:
    return "\n\n".join(text for block in content if (text := _block_text(block)))


def _block_text(block: Any) -> str:
    """Return the text of a block; of a file what it is, and where."""
    if not isinstance(block, Mapping):
        return normalize_content(block)
    if block.get("type") == "json":
        return json.dumps(block.get("json"), ensure_ascii=False, default=str)
    mime_type, data = _data(block)
    if data and _is_text(mime_type) and (text := _decoded(data)) is not None:
        return text
    said = normalize_content([block])
    place = next((p for k in ("url", "uri", "file_id") if (p := _place(block.get(k)))), "")
    size = f"{len(data):,} characters of base64" if data else ""
    about = [part for part in (mime_type, "" if place in said else place, size) if part]
    return f"{said} ({', '.join(about)})" if about else said


def _data(block: Mapping[str, Any]) -> tuple[str, str]:
    """Return the MIME type of a block and its base64, as providers and versions write them."""
    source = block.get("source")
    image = block.get("image_url")
    inner = source if isinstance(source, Mapping) else {}
    if "text" in (inner.get("type"), block.get("source_type")):
        return "", ""
    mime_type = block.get("mime_type") or inner.get("media_type") or ""
    data = block.get("base64") or block.get("data") or inner.get("data") or ""
    url = image.get("url") if isinstance(image, Mapping) else image or block.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        head, _, data = url.partition(",")
        mime_type = head.removeprefix("data:").partition(";")[0]
    return (
        mime_type if isinstance(mime_type, str) else "",
        data if isinstance(data, str) else "",
    )


def _place(value: object) -> str:
    is_place = isinstance(value, str) and not value.startswith("data:") and len(value) <= 2_000
    return " ".join(str(value).split()) if is_place else ""


def _is_text(mime_type: str) -> bool:
    family, _, kind = mime_type.partition(";")[0].lower().partition("/")
    return family == "text" or kind in _TEXT_KINDS or kind.endswith(("+json", "+xml"))


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _nobody_takes(_block: Any) -> bool:
    return False


def _anthropic_takes(block: Any) -> bool:
    if not isinstance(block, Mapping):
        return False
    if block.get("type") in _NATIVE_TO_ANTHROPIC:
        return True
    if block.get("type") not in {"image", "image_url"}:
        return False
    mime_type, data = _data(block)
    begins = _MAGIC.get(mime_type)
    if begins is None or not data or len(data) > _LARGEST_IMAGE:
        return False
    try:
        return base64.b64decode(data[:64], validate=True).startswith(begins)
    except (binascii.Error, ValueError):
        return False
