"""Where the messages of an mbox file begin and end.

Each message begins with a line "From ADDRESS DATE". The program that writes the file should quote a
message's own lines of this form as ">From ", and most programs do. Some instead write each
message's length into its Content-Length header. Others do neither: then nobody can tell a message
from text that its sender wrote to look like one.

Here, "From " at the beginning of a line is not enough to begin a message. A message that begins
within the length that the message before it declares is marked (`Span.is_within`). This length is
not trusted either: a sender may have written it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from rota.agents.tools.mail.dates import parse_envelope_date

_CHUNK: Final = 1024 * 1024
_SEPARATOR: Final = b"\nFrom "
_LOOKED_AT: Final = 16 * 1024
_BLANK_BEFORE: Final = (b"\n\n", b"\n\r\n")
_HEADER: Final = re.compile(rb">*From |[!-9;-~]+[ \t]*:")
# What the last program that handled a message puts on top of it, and what every message has.
_OF_MAIL: Final = re.compile(
    rb"^(?:return-path|received|delivered-to|x-mozilla-status|x-gmail-labels|x-gm-thrid|x-uidl|status"
    rb"|message-id|from|date|subject|to|mime-version|content-type)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_LENGTH: Final = re.compile(
    rb"^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True)
class Span:
    """A message's bytes, from its line "From ..." on, and the date that this line names.

    `is_within` says that the message before it declares a length that includes this one.
    """

    start: int
    stop: int
    date: datetime | None
    is_within: bool = False


def spans(path: Path) -> Iterator[Span]:
    """Yield the messages of a file in their order, holding one chunk of it at a time."""
    with path.open("rb") as file:
        stop = os.fstat(file.fileno()).st_size  # what is appended meanwhile is for later
        starts = _starts(file, stop)
        found = next(starts, None)
        declared_end = 0  # of the last message that names its length
        while found is not None:
            start, date = found
            found = next(starts, None)
            is_within = start < declared_end
            if not is_within:
                declared_end = _declared_end(file, start, stop) or 0
            yield Span(start, stop if found is None else found[0], date, is_within)


def _starts(file: BinaryIO, stop: int) -> Iterator[tuple[int, datetime | None]]:
    """Yield where messages begin, and the dates of their lines."""
    for position in _lines_from(file, stop):
        before = _window(file, max(position - 3, 0), min(position, 3))
        is_first = not before.strip(b"\r\n") and position <= len(before)
        line, _, rest = _window(file, position, _LOOKED_AT).partition(b"\n")
        date = parse_envelope_date(line)
        if is_first or _begins_message(rest, before, is_dated=date is not None):
            yield position, date


def _begins_message(rest: bytes, before: bytes, *, is_dated: bool) -> bool:
    is_after_blank, has_header = before.endswith(_BLANK_BEFORE), bool(_HEADER.match(rest))
    if is_dated:
        return is_after_blank or has_header
    # Some write no date; prose has no headers under it.
    end = _END_OF_HEAD.search(rest)
    head = rest[: end.end()] if end else rest
    return is_after_blank and has_header and bool(_OF_MAIL.search(head))


def _declared_end(file: BinaryIO, start: int, stop: int) -> int | None:
    """Return where a message ends by its Content-Length, if a message or nothing follows there."""
    window = _window(file, start, _LOOKED_AT)
    head = _END_OF_HEAD.search(window)
    length = _LENGTH.search(window, 0, head.end()) if head else None
    if head is None or length is None:
        return None
    end = start + head.end() + int(length[1])
    after = _window(file, end, 16).lstrip(b"\r\n") if end < stop else b""
    return end if after.startswith(_SEPARATOR[1:]) or (not after and end <= stop) else None


def _lines_from(file: BinaryIO, stop: int) -> Iterator[int]:
    """Yield the offsets of the lines that begin with "From "."""
    kept = b"\n"  # before the first line
    read = 0
    while chunk := _window(file, read, min(_CHUNK, stop - read)):
        window = kept + chunk
        base = read - len(kept)
        found = window.find(_SEPARATOR)
        while found >= 0:
            yield base + found + 1
            found = window.find(_SEPARATOR, found + 1)
        read += len(chunk)
        kept = window[-(len(_SEPARATOR) - 1) :]


def _window(file: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, offset)
