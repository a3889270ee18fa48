"""Parses RFC 822 messages into values. No content of a message makes it raise.

Two sources give the same tree of `Part`s: raw bytes (`read_message`, with the standard library's
parser) and a provider's JSON (Gmail's, in `gmail.py`). `compose` chooses text and attachments.
"""

from __future__ import annotations

import email
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.message import Message
from email.policy import compat32
from typing import Any, Final

from rota.agents.tools.mail.addresses import read_addresses
from rota.agents.tools.mail.dates import Arrival, date_of
from rota.agents.tools.mail.headers import Headers, parameter, read_headers, split_head
from rota.agents.tools.mail.html_text import html_to_text
from rota.agents.tools.mail.message_text import decode_text
from rota.domain.text.cleaning import clean_line, clean_text
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import cut

TEXT_LIMIT: Final = 1_000_000
"""Characters of a message's text that are kept."""

SNIPPET_LIMIT: Final = 200
"""Characters of a message's snippet."""

_DEEPEST: Final = 30
_BOUNDARY: Final = re.compile(rb"boundary\s*=", re.IGNORECASE)
_MOST_BOUNDARIES: Final = 100
_HOSTILE_LIMIT: Final = 256 * 1024
_MOST_ATTACHMENTS: Final = 200
_TEXT_TYPES: Final = frozenset({"text/plain", "text/html"})


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message. `size` is in decoded bytes; that of a message is an estimate."""

    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """An attachment with its content: `data`, or the `text` of an attached message.

    The content of one that the provider keeps elsewhere is had by the id `stored_as`. `is_cut`: its
    message is larger than rota reads, so that it may have lost its end.
    """

    about: Attachment
    data: bytes = b""
    charset: str | None = None
    text: str | None = None
    stored_as: str = ""
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class MessageFiles:
    """The attachments of a message, and who sent it.

    `is_cut` tells that the message is larger than rota reads, and that it lost its end.
    """

    sender: str
    files: list[AttachedFile]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class MailMessage:
    """A message as a person would read it.

    `date` is aware, in the sender's zone (UTC if none is given). It is None if nothing says when
    the message came. Each header is decoded to one line. In `sender`, `to` and `cc`, names are kept
    apart from addresses (see `addresses.py`). `text` has plain newlines, and is made from HTML if
    there is nothing else. Strangers wrote all of these. rota wrote `notes`: sentences on what is
    odd about the message.
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
    notes: tuple[str, ...] = ()

    @property
    def snippet(self) -> str:
        """The provider's `preview`, or else the beginning of the text, on one line."""
        return self.preview or shorten(clean_line(self.text[: SNIPPET_LIMIT * 20]), SNIPPET_LIMIT)


@dataclass(frozen=True, slots=True)
class Part:
    """One node of a message's tree. The `data` of a leaf has its transfer encoding removed.

    A provider that gives the data of a large leaf only by another request has an id for it.
    """

    content_type: str
    data: bytes = b""
    size: int = 0
    name: str = ""
    charset: str | None = None
    is_attachment: bool = False
    joins_words: bool = False
    stored_as: str = ""
    children: tuple[Part, ...] = ()
    headers: Headers = field(default_factory=Headers)


def read_message(
    data: bytes, *, message_id: str, unread: bool = False, arrival: Arrival | None = None
) -> MailMessage:
    """Read a message from its bytes, giving it the id `message_id`."""
    try:
        return _read(data, message_id, unread=unread, arrival=arrival)
    except Exception as error:  # noqa: BLE001  strangers choose what Python's parsers are given
        # What is known to make them raise is dealt with where it occurs. What is not known must not
        # hide the other messages of a mailbox.
        headers = read_headers(data)
        head = read_head(headers, message_id=message_id, unread=unread, arrival=arrival)
        text = clean_text(data[: TEXT_LIMIT * 4].decode("utf-8", "replace"))
        note = f"It could not be read ({type(error).__name__}): its text is all of it, as sent."
        kept = cut(text, TEXT_LIMIT)
        return replace(head, text=kept.text, truncated=kept.truncated, notes=(note, *head.notes))


def read_head(
    headers: Headers, *, message_id: str, unread: bool = False, arrival: Arrival | None = None
) -> MailMessage:
    """Make a message of its headers alone."""
    try:
        root = Part("text/plain", headers=headers)
        return compose(root, message_id=message_id, unread=unread, arrival=arrival)
    except Exception as error:  # noqa: BLE001  a message that nobody can read is still listed
        note = f"Its headers could not be read ({type(error).__name__})."
        date = arrival.date if arrival is not None else None
        return replace(without_contents(message_id, note), date=date, unread=unread)


def without_contents(message_id: str, note: str) -> MailMessage:
    """Return a placeholder for a message that cannot be read; `note` says why."""
    subject = "(a message that could not be read)"
    return MailMessage(message_id, None, "", "", "", subject, "", notes=(note,))


def read_files(data: bytes) -> list[AttachedFile]:
    """Return the attachments of a message with their contents, in the order of `attachments`."""
    try:
        return files_of(_tree(data)[0])
    except Exception:  # noqa: BLE001  as in read_message, which then lists none either
        return []


def files_of(root: Part) -> list[AttachedFile]:
    """Return the attachments in a tree of parts, in the order in which `compose` lists them."""
    content = _Content()
    content.add(root, is_root=True)
    return content.files[:_MOST_ATTACHMENTS]


def _read(data: bytes, message_id: str, *, unread: bool, arrival: Arrival | None) -> MailMessage:
    root, is_hostile = _tree(data)
    message = compose(root, message_id=message_id, unread=unread, arrival=arrival)
    return replace(message, truncated=True) if is_hostile else message


def _tree(data: bytes) -> tuple[Part, bool]:
    """Return a message's tree, and whether its end was left out because it is made to take long."""
    head, body = split_head(data)
    whole = head + body
    is_hostile = len(whole) > _HOSTILE_LIMIT and len(_BOUNDARY.findall(whole)) > _MOST_BOUNDARIES
    if is_hostile:  # the parser compares each line with the boundary of each part around it
        whole = whole[:_HOSTILE_LIMIT]
    try:
        root = _part(email.message_from_bytes(whole, policy=compat32), depth=0)
    except RecursionError:  # thousands of nested parts: an attack, of which the headers are read
        root = Part("application/octet-stream", size=len(data), headers=read_headers(data))
    return root, is_hostile


def compose(
    root: Part, *, message_id: str, unread: bool = False, arrival: Arrival | None = None
) -> MailMessage:
    """Make a message of its tree of parts. `arrival` tells when it came, beside its headers."""
    content = _Content()
    content.add(root, is_root=True)
    text = cut("\n".join(content.texts), TEXT_LIMIT)
    headers = root.headers
    sender = read_addresses(headers.all("from"), "From")
    dated = date_of(headers, arrival)
    notes = (*sender.notes, dated.note) if sender.text else ("It has no From header.", dated.note)
    return MailMessage(
        id=message_id,
        date=dated.date,
        sender=sender.text,
        to=read_addresses(headers.all("to"), "To").text,
        cc=read_addresses(headers.all("cc"), "Cc").text,
        subject=headers.text("subject"),
        text=text.text,
        attachments=tuple(file.about for file in content.files[:_MOST_ATTACHMENTS]),
        message_id=headers.text("message-id"),
        unread=unread,
        truncated=text.truncated,
        notes=tuple(note for note in notes if note),
    )


def _part(message: Message[Any, Any], depth: int) -> Part:
    content_type = message.get_content_type()
    children: tuple[Part, ...] = ()
    if message.is_multipart() and depth < _DEEPEST:
        children = tuple(
            _part(child, depth + 1) for child in message.get_payload() if isinstance(child, Message)
        )
    part = Part(
        content_type=content_type,
        name=parameter(message, "filename", "content-disposition") or parameter(message, "name"),
        charset=parameter(message, "charset"),
        is_attachment=message.get_content_disposition() == "attachment",
        joins_words=parameter(message, "delsp").lower() == "yes",
        children=children,
        headers=Headers.of(message.raw_items()),
    )
    data = b"" if message.is_multipart() else _transferred(message)
    return replace(part, data=data, size=sum(child.size for child in children) or len(data))


def _transferred(message: Message[Any, Any]) -> bytes:
    """Return a part's content with its transfer encoding undone. Takes away its Content-Type.

    Python decodes the text first, in the charset that the part declares, and raises for some that
    are none.
    """
    del message["content-type"]
    decoded = message.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""


@dataclass(slots=True)
class _Content:
    """Text and attachments of a message, found by walking its tree."""

    texts: list[str] = field(default_factory=list)
    files: list[AttachedFile] = field(default_factory=list)

    def add(self, part: Part, *, is_root: bool = False) -> None:
        if part.content_type == "multipart/alternative" and part.children:
            self.add_alternatives(part.children)
        elif part.content_type.startswith("multipart/") and (part.children or not part.data):
            for child in part.children:
                self.add(child)
        elif part.content_type == "message/rfc822" and part.children:
            self.add_attached_message(part)
        elif self.is_text(part, is_root=is_root):
            text = _text(part)
            if text.strip():
                self.texts.append(text)
        else:
            about = Attachment(part.name, part.content_type, part.size)
            self.files.append(AttachedFile(about, part.data, part.charset, None, part.stored_as))

    def is_text(self, part: Part, *, is_root: bool) -> bool:
        if part.content_type.startswith("multipart/"):
            return True  # the boundary that it names is nowhere in it: nobody can tell its parts
        if is_root and part.content_type.startswith("text/") and not part.is_attachment:
            return bool(part.data) or not part.size
        if part.content_type not in _TEXT_TYPES:
            return False
        # A text with a name is a file, unless nothing came before it: some name their letters.
        if part.size and not part.data:
            return False  # the provider stores its data elsewhere
        return is_root or not (part.is_attachment or (part.name and self.texts))

    def add_alternatives(self, alternatives: Sequence[Part]) -> None:
        readable: list[tuple[int, list[str]]] = []
        for alternative in alternatives:
            content = _Content()
            content.add(alternative)
            self.files.extend(content.files)
            if content.texts:
                readable.append((_rank(alternative), content.texts))
        if readable:
            _, best = min(readable, key=lambda ranked: ranked[0])
            self.texts.extend(best)

    def add_attached_message(self, part: Part) -> None:
        inner = part.children[0]
        subject = inner.headers.text("subject")
        about = Attachment(part.name or subject, part.content_type, part.size)
        content = _Content()
        content.add(inner, is_root=True)
        self.files.append(AttachedFile(about, text="\n".join(content.texts)))
        self.files.extend(content.files)
        said = {
            "From": read_addresses(inner.headers.all("from"), "From").text,
            "Date": inner.headers.text("date"),
            "Subject": subject,
        }
        headers = [f"{label}: {value}" for label, value in said.items() if value]
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
