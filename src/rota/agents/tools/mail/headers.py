"""Headers of messages: kept as they were sent, and decoded when they are read.

No header makes this module raise, because senders may write anything.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import collapse_rfc2231_value
from itertools import takewhile
from typing import Any, Final

from rota.agents.tools.mail.message_text import decode_text
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten

HEADER_LIMIT: Final = 2_000
"""Characters of a header's value that are kept."""

READ_LIMIT: Final = HEADER_LIMIT * 10
"""Characters of a header's value that are looked at: its parsers take quadratic time."""

# What the standard library's parsers of headers and parameters were seen to raise for values
# that no RFC allows, in some version from 3.11 to 3.13.
HEADER_FAULTS: Final = (
    AssertionError,
    AttributeError,
    Base64Error,
    HeaderParseError,
    IndexError,
    LookupError,
    TypeError,
    ValueError,
)

_FOLD: Final = re.compile(r"\r?\n(?=[ \t])")
_END_OF_HEAD: Final = re.compile(rb"(?:\A|\n)\r?\n")
_LONE_RETURN: Final = re.compile(rb"\r+(?!\n)")
_QUOTED_ENVELOPE: Final = re.compile(rb"\A(?:>+From [^\n]*\n)+")
_SPACE_BEFORE_COLON: Final = re.compile(rb"^([!-9;-~]+)[ \t]+:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers in their order, the names in lower case, the values as they were sent."""

    raw: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, object]]) -> Headers:
        """Keep pairs of a name and a value."""
        return cls(tuple((name.strip().lower(), str(value)) for name, value in pairs))

    def all(self, name: str) -> Iterator[str]:
        """Yield the values of all headers of a name, as they were sent."""
        return (value for found, value in self.raw if found == name)

    def text(self, name: str) -> str:
        """Return the first value of a name as one line of text, decoded; empty where none is."""
        return decode_header_value(next(self.all(name), ""))

    def written_by_program(self, name: str) -> str:
        """Return a header that a mail program put before those that came with the message.

        What a sender calls so comes after headers that are no "X-...": it is not believed.
        """
        on_top = takewhile(lambda header: header[0].startswith("x-"), self.raw)
        return next((value.strip() for found, value in on_top if found == name), "")


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """Split a message after the blank line that ends its headers, and mend these.

    A lone carriage return is none of mail's line ends, but Python's parser takes it for one, and so
    sees headers where no mail server does. Old mail has spaces before colons, and the envelope of
    another machine on top.
    """
    end = _END_OF_HEAD.search(data)
    head, rest = (data[: end.end()], data[end.end() :]) if end else (data, b"")
    head = _LONE_RETURN.sub(b" ", _QUOTED_ENVELOPE.sub(b"", head))
    return _SPACE_BEFORE_COLON.sub(rb"\1:", head), rest


def read_headers(data: bytes) -> Headers:
    """Read the headers that begin `data`."""
    head, _ = split_head(data)
    try:
        return Headers.of(BytesHeaderParser(policy=compat32).parsebytes(head).raw_items())
    except Exception:  # noqa: BLE001  strangers choose what Python's parser is given
        return Headers()


def decode_header_value(raw: str) -> str:
    """Return a header's value as one line of text, its RFC 2047 encoded words decoded.

    `raw` may be folded, and hold raw 8-bit bytes as surrogate escapes. The value is kept as it was
    written otherwise. Not for headers of addresses: `addresses.py` reads those before it decodes.
    """
    unfolded = unfold(raw[:READ_LIMIT])
    if "=?" not in unfolded:
        return header_line(unfolded)
    try:
        pieces: Sequence[tuple[str | bytes, str | None]] = decode_header(unfolded)
    except HEADER_FAULTS:
        return header_line(unfolded)
    # decode_header gives a str only where the whole value has no encoded word.
    text = "".join(
        piece if isinstance(piece, str) else _decode_piece(piece, charset)
        for piece, charset in pieces
    )
    return header_line(text)


def unfold(raw: str) -> str:
    """Return a value without its folds, its raw 8-bit bytes decoded."""
    return _decode_surrogates(_FOLD.sub("", raw) if "\n" in raw else raw)


def header_line(text: str) -> str:
    """Return text as one line of at most HEADER_LIMIT characters."""
    return shorten(clean_line(text), HEADER_LIMIT)


def content_parameter(content_type: str, name: str) -> str:
    """Return a parameter of the value of a Content-Type header, or an empty string."""
    header: Message[Any, Any] = Message()
    header["Content-Type"] = content_type
    return parameter(header, name)


def parameter(message: Message[Any, Any], name: str, header: str = "content-type") -> str:
    """Return a parameter of a part's header, decoded, or an empty string."""
    if len(str(message.get(header, ""))) > READ_LIMIT:
        return ""
    try:
        value = message.get_param(name, header=header)
        if value is None:
            return ""
        text = value if isinstance(value, str) else collapse_rfc2231_value(value)
        return decode_header_value(text)
    except HEADER_FAULTS:
        return ""


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
