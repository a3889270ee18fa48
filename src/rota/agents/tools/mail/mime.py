"""RFC 822 messages made into values. Whatever a message holds, reading it never raises.

Two sources give the same tree of `Part`s: raw bytes (`read_message`, with the standard library's
parser) and a provider's JSON (Gmail's, in `gmail.py`). `compose` chooses text and attachments.
"""

from __future__ import annotations

import email
import re
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import collapse_rfc2231_value, parsedate_tz
from typing import Any, Final

from rota.agents.tools.mail.html_text import html_to_text
from rota.agents.tools.mail.message_text import clean_line, clean_text, decode_text
from rota.domain.text.storable import cut

TEXT_LIMIT: Final = 1_000_000
"""Characters of a message's text that are kept."""

SNIPPET_LIMIT: Final = 200
"""Characters of a message's snippet."""

HEADER_LIMIT: Final = 2_000
"""Characters of a header's value that are kept."""

_DEEPEST: Final = 30
_BOUNDARY: Final = re.compile(rb"boundary\s*=", re.IGNORECASE)
_MOST_BOUNDARIES: Final = 100
_HOSTILE_LIMIT: Final = 256 * 1024
_MOST_ATTACHMENTS: Final = 200
_TEXT_TYPES: Final = frozenset({"text/plain", "text/html"})

# What the standard library's parsers of headers and parameters were seen to raise for values
# that no RFC allows, in some version from 3.11 to 3.13.
_HEADER_FAULTS: Final = (
    AssertionError,
    AttributeError,
    Base64Error,
    HeaderParseError,
    IndexError,
    LookupError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message. `size` is in bytes, decoded; of an attached message about that."""

    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class MailMessage:
    """A message as a person would read it.

    `date` is aware, in the sender's zone (UTC where that is not given), or None where there is
    none that can be read. The headers are decoded to one line each. `text` has plain newlines,
    and comes from HTML if there was nothing else. All of it was written by strangers.
    """

    id: str
    date: datetime | None
    sender: str
    to: str
    cc: str
    subject: str
    text: str
    attachments: tuple[Attachment, ...] = ()
    message_id: str = ""
    unread: bool = False
    truncated: bool = False
    preview: str = ""

    @property
    def snippet(self) -> str:
        """The provider's `preview`, or else the beginning of the text, on one line."""
        return self.preview or cut(clean_line(self.text[: SNIPPET_LIMIT * 20]), SNIPPET_LIMIT).text


@dataclass(frozen=True, slots=True)
class Part:
    """One node of a message's tree: `data` of a leaf has its transfer encoding undone."""

    content_type: str
    data: bytes = b""
    size: int = 0
    name: str = ""
    charset: str | None = None
    is_attachment: bool = False
    joins_words: bool = False
    children: tuple[Part, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def read_message(data: bytes, *, message_id: str, unread: bool = False) -> MailMessage:
    """Read a message from its bytes, giving it the id `message_id`."""
    if len(data) > _HOSTILE_LIMIT and len(_BOUNDARY.findall(data)) > _MOST_BOUNDARIES:
        # The parser compares each line with the boundary of each part around it.
        beginning = read_message(data[:_HOSTILE_LIMIT], message_id=message_id, unread=unread)
        return replace(beginning, truncated=True)
    try:
        root = _part(email.message_from_bytes(data, policy=compat32), depth=0)
    except RecursionError:  # thousands of nested parts: an attack, of which the headers are read
        headers = read_headers(data)
        root = Part("application/octet-stream", size=len(data), headers=headers)
    return compose(root, message_id=message_id, unread=unread)


def read_headers(data: bytes) -> dict[str, str]:
    """Read the headers that begin `data`, as `decode_headers` returns them."""
    return decode_headers(BytesHeaderParser(policy=compat32).parsebytes(data).raw_items())


def compose(
    root: Part, *, message_id: str, unread: bool = False, date: datetime | None = None
) -> MailMessage:
    """Make a message of its tree of parts. `date` stands in for an unreadable Date header."""
    content = _Content()
    content.add(root, is_root=True)
    text = cut("\n".join(content.texts), TEXT_LIMIT)
    header = root.headers.get
    return MailMessage(
        id=message_id,
        date=parse_date(header("date", "")) or date,
        sender=header("from", ""),
        to=header("to", ""),
        cc=header("cc", ""),
        subject=header("subject", ""),
        text=text.text,
        attachments=tuple(content.attachments[:_MOST_ATTACHMENTS]),
        message_id=header("message-id", ""),
        unread=unread,
        truncated=text.truncated,
    )


def parse_date(value: str) -> datetime | None:
    """Read a Date header (RFC 5322 with its obsolete forms), or return None.

    An unknown or impossible zone counts as UTC.
    """
    try:
        fields = parsedate_tz(value)
    except _HEADER_FAULTS:
        return None
    if fields is None:
        return None
    year, month, day, hour, minute, second = fields[:6]
    try:
        naive = datetime(year, month, day, hour, minute, min(second, 59))  # noqa: DTZ001  below
    except (ValueError, OverflowError):
        return None
    offset = timedelta(seconds=fields[9] or 0)
    if abs(offset) >= timedelta(hours=24) or not 1 < year < 9999:
        return naive.replace(tzinfo=UTC)
    return naive.replace(tzinfo=timezone(offset))


def decode_header_value(raw: str) -> str:
    """Return a header's value as one line of text, its RFC 2047 encoded words decoded.

    `raw` may be folded, and hold raw 8-bit bytes as surrogate escapes. The value is kept as it was
    written otherwise: `ann@example.com (Ann Lee)` keeps its comment, a quoted name its quotes.
    """
    unfolded = _decode_surrogates(re.sub(r"\r?\n(?=[ \t])", "", raw[: HEADER_LIMIT * 10]))
    try:
        pieces: Sequence[tuple[str | bytes, str | None]] = decode_header(unfolded)
    except _HEADER_FAULTS:
        return _header_line(unfolded)
    # decode_header gives a str only where the whole value has no encoded word.
    text = "".join(
        piece if isinstance(piece, str) else _decode_piece(piece, charset)
        for piece, charset in pieces
    )
    return _header_line(text)


def decode_headers(raw: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Return decoded values by lower-case name, the first of each."""
    found: dict[str, str] = {}
    for name, value in raw:
        if name.lower() not in found:
            found[name.lower()] = decode_header_value(str(value))
    return found


def content_parameter(content_type: str, name: str) -> str:
    """Return a parameter of the value of a Content-Type header, or an empty string."""
    header: Message[Any, Any] = Message()
    header["Content-Type"] = content_type
    return _parameter(header, name)


def _decode_piece(piece: bytes, charset: str | None) -> str:
    if charset is None:
        return piece.decode("raw-unicode-escape", "replace")  # as decode_header encoded it
    return decode_text(piece, charset.partition("*")[0])  # RFC 2231: =?utf-8*en?q?...?=


def _decode_surrogates(raw: str) -> str:
    if raw.isascii():
        return raw
    try:
        return decode_text(raw.encode("ascii", "surrogateescape"), None)
    except UnicodeEncodeError:  # decoded already
        return raw


def _header_line(text: str) -> str:
    return cut(clean_line(text), HEADER_LIMIT).text


def _part(message: Message[Any, Any], depth: int) -> Part:
    content_type = message.get_content_type()
    payload = message.get_payload()
    children: tuple[Part, ...] = ()
    data = b""
    if isinstance(payload, list) and depth < _DEEPEST:
        children = tuple(_part(child, depth + 1) for child in payload if isinstance(child, Message))
    elif isinstance(payload, str):
        decoded = message.get_payload(decode=True)
        data = decoded if isinstance(decoded, bytes) else b""
    return Part(
        content_type=content_type,
        data=data,
        size=_size(message) if isinstance(payload, list) else len(data),
        name=_parameter(message, "filename", "content-disposition") or _parameter(message, "name"),
        charset=_parameter(message, "charset"),
        is_attachment=message.get_content_disposition() == "attachment",
        joins_words=_parameter(message, "delsp").lower() == "yes",
        children=children,
        headers=decode_headers(message.raw_items()),
    )


def _size(message: Message[Any, Any]) -> int:
    total = 0
    for part in message.walk():
        payload = part.get_payload()
        total += sum(len(name) + len(str(value)) + 4 for name, value in part.raw_items())
        total += len(payload) if isinstance(payload, str) else 0
    return total


def _parameter(message: Message[Any, Any], name: str, header: str = "content-type") -> str:
    if len(str(message.get(header, ""))) > HEADER_LIMIT * 10:
        return ""  # the parser of parameters takes quadratic time
    try:
        value = message.get_param(name, header=header)
        if value is None:
            return ""
        text = value if isinstance(value, str) else collapse_rfc2231_value(value)
        return decode_header_value(text)
    except _HEADER_FAULTS:
        return ""


@dataclass(slots=True)
class _Content:
    """Text and attachments of a message, found by walking its tree."""

    texts: list[str] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)

    def add(self, part: Part, *, is_root: bool = False) -> None:
        if part.content_type == "multipart/alternative":
            self.add_alternatives(part.children)
        elif part.content_type.startswith("multipart/"):
            for child in part.children:
                self.add(child)
        elif part.content_type == "message/rfc822" and part.children:
            self.add_attached_message(part)
        elif self.is_text(part, is_root=is_root):
            text = _text(part)
            if text.strip():
                self.texts.append(text)
        else:
            self.attachments.append(Attachment(part.name, part.content_type, part.size))

    def is_text(self, part: Part, *, is_root: bool) -> bool:
        if part.content_type not in _TEXT_TYPES:
            return False
        # A text with a name is a file, unless nothing came before it: some name their letters.
        if part.size and not part.data:
            return False  # its provider keeps it apart
        return is_root or not (part.is_attachment or (part.name and self.texts))

    def add_alternatives(self, alternatives: Sequence[Part]) -> None:
        readable: list[tuple[int, list[str]]] = []
        for alternative in alternatives:
            content = _Content()
            content.add(alternative)
            self.attachments.extend(content.attachments)
            if content.texts:
                readable.append((_rank(alternative), content.texts))
        if readable:
            _, best = min(readable, key=lambda ranked: ranked[0])
            self.texts.extend(best)

    def add_attached_message(self, part: Part) -> None:
        inner = part.children[0]
        subject = inner.headers.get("subject", "")
        self.attachments.append(Attachment(part.name or subject, part.content_type, part.size))
        content = _Content()
        content.add(inner, is_root=True)
        self.attachments.extend(content.attachments)
        headers = [
            f"{label}: {inner.headers[label.lower()]}"
            for label in ("From", "Date", "Subject")
            if inner.headers.get(label.lower())
        ]
        if content.texts:
            self.texts.append("\n".join(["", "[Attached message]", *headers, "", *content.texts]))


def _rank(part: Part) -> int:
    """Order the alternatives: plain text, what holds other parts (HTML with pictures), HTML."""
    if part.content_type == "text/plain":
        return 0
    return 2 if part.content_type == "text/html" else 1


def _text(part: Part) -> str:
    text = clean_text(decode_text(part.data[: TEXT_LIMIT * 4], part.charset))
    if part.content_type == "text/html":
        return html_to_text(text)
    # Only DelSp lines are joined, because they break within words. Other flowed text
    # (RFC 3676) reads as well as it was sent.
    return _SOFT_BREAK.sub("", text) if part.joins_words else text


_SOFT_BREAK: Final = re.compile(r"(?<!^--) \n(?=[^>])", re.MULTILINE)
