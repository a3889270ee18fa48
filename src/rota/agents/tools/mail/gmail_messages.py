"""Messages in the JSON of Gmail's REST API (v1), decoded.

Bodies are base64url-encoded, and their transfer encoding is already decoded. Most text is converted
to UTF-8, although its Content-Type still names the original charset. Header values are as they were
sent, with encoded words.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from rota.agents.tools.mail.dates import Arrival
from rota.agents.tools.mail.headers import Headers, content_parameter, decode_header_value
from rota.agents.tools.mail.mime import (
    SNIPPET_LIMIT,
    AttachedFile,
    MailMessage,
    Part,
    compose,
    files_of,
    without_contents,
)
from rota.domain.errors import UnavailableError
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten

_DEEPEST: Final = 30
_SEVEN_BIT_CHARSETS: Final = ("iso-2022", "utf-7", "unicode-1-1-utf-7", "hz", "utf-16", "utf-32")
_YEAR_9000: Final = 221_845_392_000_000  # in milliseconds; datetime ends soon after


class _Json(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class MessageReference(_Json):
    """A message in a list."""

    id: str


class MessagePage(_Json):
    """A page of a list of messages."""

    messages: tuple[MessageReference, ...] = ()
    next_page_token: str | None = None


class Profile(_Json):
    """Whose mailbox it is, and how many messages it has."""

    email_address: str
    messages_total: int = 0


class _Header(_Json):
    name: str = ""
    value: str = ""


class _Body(_Json):
    data: str = ""
    size: int = 0
    attachment_id: str = ""


class _Payload(_Json):
    mime_type: str = ""
    filename: str = ""
    headers: tuple[_Header, ...] = ()
    body: _Body = Field(default_factory=_Body)
    parts: tuple[_Payload, ...] = ()


class StoredBody(_Json):
    """The content of a part that Gmail gives by a request of its own."""

    data: str = ""

    @property
    def content(self) -> bytes:
        """The bytes, decoded."""
        return _decoded(self.data)


class GmailMessage(_Json):
    """A message. `internal_date` is in milliseconds since 1970."""

    id: str
    thread_id: str = ""
    snippet: str = ""
    label_ids: tuple[str, ...] = ()
    internal_date: int | None = None
    payload: _Payload = Field(default_factory=_Payload)


def full_message(answer: GmailMessage) -> MailMessage:
    """Decode what was asked for with format=full."""
    return _message(answer, _part(answer.payload, depth=0))


def files_of_message(answer: GmailMessage) -> list[AttachedFile]:
    """Return the attachments of what was asked for with format=full."""
    return files_of(_part(answer.payload, depth=0))


def message_without_text(answer: GmailMessage) -> MailMessage:
    """Decode what was asked for with format=metadata."""
    return _message(answer, Part("text/plain", headers=_headers(answer.payload)))


def unread_message(message_id: str, error: UnavailableError) -> MailMessage:
    """Return a placeholder in a list for a message that Gmail did not return."""
    return without_contents(message_id, f"Gmail did not give it: {error.message}")


def _message(answer: GmailMessage, root: Part) -> MailMessage:
    message = compose(
        root,
        message_id=answer.id,
        unread="UNREAD" in answer.label_ids,
        arrival=_arrival(answer),
    )
    # Gmail escapes its snippets as HTML.
    preview = shorten(clean_line(html.unescape(answer.snippet)), SNIPPET_LIMIT)
    text = clean_line(message.text[: SNIPPET_LIMIT * 20])
    if preview and text != preview and text.startswith(preview):  # Gmail does not mark its own cut
        preview += "…"
    return replace(message, preview=preview)


def _arrival(answer: GmailMessage) -> Arrival | None:
    if answer.internal_date is None or not 0 <= answer.internal_date < _YEAR_9000:
        return None
    came = datetime.fromtimestamp(answer.internal_date / 1000, UTC)
    return Arrival(came, "when Gmail received it")


def headers_of(answer: GmailMessage) -> Headers:
    """Return the headers of a message, as they were sent."""
    return _headers(answer.payload)


def _headers(payload: _Payload) -> Headers:
    return Headers.of((header.name, header.value) for header in payload.headers)


def _part(payload: _Payload, depth: int) -> Part:
    headers = _headers(payload)
    data = _decoded(payload.body.data)
    children = payload.parts if depth < _DEEPEST else ()
    disposition = headers.text("content-disposition").partition(";")[0].strip().lower()
    return Part(
        content_type=payload.mime_type.lower() or "text/plain",
        data=data,
        size=payload.body.size or len(data),
        name=decode_header_value(payload.filename),
        charset=_charset(data, content_parameter(headers.text("content-type"), "charset")),
        is_attachment=disposition == "attachment",
        stored_as=payload.body.attachment_id,
        children=tuple(_part(child, depth + 1) for child in children),
        headers=headers,
    )


def _decoded(data: str) -> bytes:
    """Decode base64url with or without padding, or as much of it as arrived."""
    whole = data.rstrip("=")
    whole = whole[:-1] if len(whole) % 4 == 1 else whole
    try:
        return base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4))
    except (binascii.Error, ValueError):
        return b""


def _charset(data: bytes, declared: str) -> str:
    """Tell what charset text is in: what was declared, unless Gmail has transcoded it."""
    if declared.lower().startswith(_SEVEN_BIT_CHARSETS):
        # In these, what was not transcoded is valid UTF-8 too; their escapes give them away.
        return declared if re.search(rb"[\x00\x1b]|\+[A-Za-z0-9+/]+-|~\{", data) else "utf-8"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return declared
    return "utf-8"
