"""Reads the sender and recipients of a message, so that no part of a name passes for an address.

The header is split as it was sent, and only names are decoded afterwards. Mail programs differ on
some headers, which can be read only by guessing. Such a header is shown as it was sent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from rota.agents.tools.mail.headers import READ_LIMIT, decode_header_value, unfold
from rota.domain.approvals.lookalikes import lookalikes
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten
from rota.domain.text.unseen import spell_out

LISTED: Final = 50
"""Addresses of one header that are shown."""

MOST_HEADERS: Final = 10
"""Headers of one kind in one message that are read."""

MOST_NOTES: Final = 5
"""Things that are said about one header."""

_NAME_LIMIT: Final = 200
_ADDRESS_LIMIT: Final = 320
_AS_SENT_LIMIT: Final = 1_000

_TOKEN: Final = re.compile(
    r"""(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<angle><[^<>"]*(?:"(?:[^"\\]|\\.)*"[^<>"]*)?>)
    |(?P<sign>[(,;:])
    |(?P<text>[^"<>(),;:]+)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_PIECE: Final = re.compile(r"\\.|[()]|[^\\()]+", re.DOTALL)
_ROUTE: Final = re.compile(r"\A@[^\s@,:<>]+(?:,@[^\s@,:<>]+)*:")
_ADDRESS: Final = re.compile(
    r"""(?:[^\s"(),:;<>@\[\]\\]+|"(?:[^"\\]|\\.)*")(?:@[^\s"(),:;<>@\\]+)?"""
)
_PLAIN_NAME: Final = re.compile(r"[^\"(),:;<>@\[\]\\]*")
_LIKE_AN_ADDRESS: Final = re.compile(r"[^\s\"'(),:;<>@\[\]]+@[^\s\"'(),:;<>@\[\]]+")


class _UnclearError(Exception):
    """The header has more than one possible meaning."""


@dataclass(frozen=True, slots=True)
class AddressHeader:
    """A header of addresses: its `text`, the `addresses` in it, and notes for its reader.

    If it `is_unclear`, `text` is what was sent, and `addresses` is empty.
    """

    text: str = ""
    addresses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_unclear: bool = False

    def mentions(self, wanted: str) -> bool:
        """Whether a search finds it: an address by addresses alone, anything else by the text."""
        sought = " ".join(wanted.casefold().split())
        if "@" in sought and not self.is_unclear:
            return any(sought in address.casefold() for address in self.addresses)
        return sought in self.text.casefold()


def read_addresses(values: Iterable[str], label: str) -> AddressHeader:
    """Read all headers of one kind, such as From, as they were sent; `label` names it in notes."""
    sent = [value for value in dict.fromkeys(values) if value.strip()]
    read = [_read(value, label) for value in sent[:MOST_HEADERS]]
    if len(read) < 2:
        return read[0] if read else AddressHeader()
    which = "all of them" if len(sent) <= MOST_HEADERS else f"the first {MOST_HEADERS}"
    several = f"It has {len(sent)} {label} headers and {which} are shown: programs differ on them."
    return AddressHeader(
        ", ".join(header.text for header in read),
        tuple(address for header in read for address in header.addresses),
        (several, *(note for header in read for note in header.notes))[:MOST_HEADERS],
        any(header.is_unclear for header in read),
    )


@dataclass(slots=True)
class _Entry:
    """One entry of a list while it is read."""

    phrase: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    address: str | None = None

    @property
    def is_blank(self) -> bool:
        return self.address is None and not self.comments and not "".join(self.phrase).strip()


@dataclass(slots=True)
class _Reader:
    """Reads a list of addresses; raises _UnclearError if the list has more than one meaning.

    `texts` make up the list as it is shown.
    """

    value: str
    texts: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entry: _Entry = field(default_factory=_Entry)
    in_group: bool = False

    def read(self) -> None:
        position = 0
        while position < len(self.value):
            found = _TOKEN.match(self.value, position)
            if found is None:
                raise _UnclearError
            position = found.end()
            match found["sign"]:
                case "(":
                    position = _after_comment(self.value, position)
                    self.entry.comments.append(self.value[found.end() : position - 1])
                case "," | ";" as sign:
                    self.separate(sign)
                case ":":
                    self.open_group()
                case _:
                    self.add(found[0], is_angle=found["angle"] is not None)
        self.close()

    def add(self, token: str, *, is_angle: bool) -> None:
        entry = self.entry
        if entry.address is not None and token.strip():
            raise _UnclearError  # two addresses: it is unclear which one counts
        if is_angle:
            entry.address = _ROUTE.sub("", token[1:-1].strip())
        else:
            entry.phrase.append(token)

    def separate(self, sign: str) -> None:
        if sign == ";" and not self.in_group:
            raise _UnclearError
        if not self.entry.is_blank or sign == ";":
            self.close()
            self.texts.append(f"{sign} ")
        self.entry, self.in_group = _Entry(), self.in_group and sign == ","

    def open_group(self) -> None:
        name = _decoded("".join(self.entry.phrase))
        if self.in_group or self.entry.address is not None or not name:
            raise _UnclearError
        self.show(f"{_quoted(name)}: ", _note_of_name(name, ""))
        self.entry, self.in_group = _Entry(), True

    def close(self) -> None:
        entry = self.entry
        if entry.is_blank:
            return
        phrase = "".join(entry.phrase).strip()
        if entry.address is None:
            address, name = phrase, ""
        else:
            address, name = entry.address, _decoded(phrase)
        if entry.address == "":  # a bounce comes from nobody
            self.show(f"{_quoted(name)} <>".strip(), _note_of_name(name, ""))
            return
        if len(address) > _ADDRESS_LIMIT or not _ADDRESS.fullmatch(address):
            raise _UnclearError
        name = name or _decoded(" ".join(entry.comments))
        shown = _shown(address)
        self.addresses.append(shown)
        self.show(f"{_quoted(name)} <{shown}>" if name else shown, _note_of_name(name, shown))

    def show(self, text: str, note: str) -> None:
        self.texts.append(text)
        self.notes += [note] if note else []


def _read(value: str, label: str) -> AddressHeader:
    unfolded = unfold(value)
    if len(unfolded) > READ_LIMIT:
        return _as_sent(unfolded, f"The {label} header is too long to be read")
    reader = _Reader(unfolded)
    try:
        reader.read()
    except _UnclearError:
        return _as_sent(unfolded, f"The {label} header is no list of addresses")
    shown = "".join(reader.texts[: 2 * LISTED]).strip().removesuffix(",")
    if len(reader.texts) > 2 * LISTED:
        shown += f" and more ({len(reader.addresses)} in all)"
    alike = [f"Look at the letters: {said}" for said in lookalikes(reader.addresses)]
    return AddressHeader(shown, tuple(reader.addresses), (*reader.notes, *alike)[:MOST_NOTES])


def _as_sent(value: str, why: str) -> AddressHeader:
    line = _shown(value)
    if len(line) > _AS_SENT_LIMIT:
        half = _AS_SENT_LIMIT // 2
        line = f"{line[:half]} [...] {line[-half:]}"
    return AddressHeader(line, notes=(f"{why}; it is shown as it was sent.",), is_unclear=True)


def _after_comment(value: str, position: int) -> int:
    depth = 1
    for piece in _COMMENT_PIECE.finditer(value, position):
        depth += {"(": 1, ")": -1}.get(piece[0], 0)
        if depth == 0:
            return piece.end()
    raise _UnclearError


def _note_of_name(name: str, address: str) -> str:
    """Say so where a name holds an address that is not the one beside it."""
    alike = unicodedata.normalize("NFKC", name)
    others = {found.casefold() for found in _LIKE_AN_ADDRESS.findall(alike)}
    if not others - {address.casefold()}:
        return ""
    belongs = f"the address is {address}" if address else "it has no address"
    return f"The name {_quoted(name)} looks like an address and is none: {belongs}."


def _decoded(phrase: str) -> str:
    """Return a name as it is read: encoded words decoded, quotes and escapes undone."""
    bare = re.sub(r"\\(.)", r"\1", phrase.replace('\\"', "'")).replace('"', "")
    return shorten(_shown(decode_header_value(bare)), _NAME_LIMIT).replace('"', "'")


def _quoted(name: str) -> str:
    """Return a name with quotes where it has signs of an address, or letters that look so."""
    alike = unicodedata.normalize("NFKC", name)
    return name if _PLAIN_NAME.fullmatch(alike) else f'"{name}"'


def _shown(text: str) -> str:
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    return clean_line(spell_out(text))
