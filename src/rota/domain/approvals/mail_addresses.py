"""Reads those mail addresses in a tool's arguments that every mail program reads alike.

A header of addresses may have quotes, comments, groups and routes, and mail programs read them
differently. An address that is not plain counts as unreadable, and a rule decides what follows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rota.domain.approvals.host_names import ascii_host

MOST_ADDRESSES: Final = 10_000
LONGEST_TEXT: Final = 100_000

_RECIPIENTS: Final = re.compile(
    r"(e?mail|send|forward|deliver|resent)?(to|cc|bcc|recipients?)"
    r"(e?mails?|address(es)?|recipients?|list)?"
    r"|(e?mails?|address(es)?)(to|cc|bcc)"
    r"|(attendees?|invitees?|guests?)(e?mails?|address(es)?|list)?"
)
_LOCAL: Final = re.compile(r"[^\s\"(),:;<>@\[\]\\%!]{1,64}")
_QUOTED: Final = re.compile(r'"[^"]*"')
_LABELS: Final = frozenset({"name", "displayname", "type", "label", "kind"})
_HEADER_NAMES: Final = ("name", "key", "header", "field")
_HEADER_VALUES: Final = ("value", "values", "content")


@dataclass(slots=True)
class Recipients:
    """The domains of the addresses that were read, in ASCII, and the parts that could not be read.

    `addresses` are whole. The part before the `@` is as written, but in lower case.
    """

    domains: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there are, those that cannot be read among them."""
        return len(self.domains) + len(self.unreadable)


def is_recipient_name(name: str) -> bool:
    """Return whether an argument of this name says who gets something: to, cc, attendees."""
    return bool(_RECIPIENTS.fullmatch(_letters(name)))


def recipients_in(arguments: Any) -> Iterator[Any]:
    """Return the values of all arguments, however deep, that say who gets something.

    Headers as pairs of a name and a value are looked through as well.
    """
    waiting: list[Any] = [arguments]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            header = _header(item)
            if header is not None:
                yield header
            for name, value in item.items():
                if is_recipient_name(str(name)):
                    yield value
                else:
                    waiting.append(value)
        elif isinstance(item, list | tuple):
            if len(item) == 2 and isinstance(item[0], str) and is_recipient_name(item[0]):
                yield item[1]
            waiting.extend(item)


def read_addresses(value: Any, into: Recipients) -> None:
    """Add the addresses of a value: a text with one or several, a list, or an object with some.

    None and empty texts, lists and objects hold none.
    """
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if into.count > MOST_ADDRESSES:
            into.unreadable.append("more addresses than are read")
            return
        if item is None:
            continue
        if isinstance(item, str):
            _read_text(item, into)
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif isinstance(item, Mapping):
            # A label is none, unless it has an @ and somebody may take it for an address.
            waiting.extend(
                part
                for name, part in item.items()
                if not (
                    _letters(str(name)) in _LABELS and isinstance(part, str) and "@" not in part
                )
            )
        else:
            into.unreadable.append(str(item))


def _header(item: Mapping[Any, Any]) -> Any:
    names = {str(name).lower(): value for name, value in item.items()}
    said = next((names[n] for n in _HEADER_NAMES if isinstance(names.get(n), str)), "")
    value = next((names[n] for n in _HEADER_VALUES if n in names), None)
    return value if is_recipient_name(said) else None


def _letters(name: str) -> str:
    """Return a name as it is compared: its letters, whatever stands between them."""
    return re.sub("[^a-z]", "", unicodedata.normalize("NFKC", name).casefold())


def _read_text(text: str, into: Recipients) -> None:
    if not text.strip(" "):
        return
    # A line break begins another header; what is invisible hides what is read.
    hidden = any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text)
    bare = _QUOTED.sub("", text)
    if hidden or "\\" in text or "(" in bare or '"' in bare or len(text) > LONGEST_TEXT:
        into.unreadable.append(text)
        return
    for item in _items(text):
        _read_one(item, into)


def _items(text: str) -> Iterator[str]:
    """Return the entries of a list, without the names of groups."""
    start, within = 0, False
    position = 0
    while position < len(text):
        c = text[position]
        if c == '"':
            quoted = _QUOTED.match(text, position)
            position = quoted.end() if quoted else len(text)
            continue
        if c == "<":
            within = True
        elif c == ">":
            within = False
        elif c in ",;" and not within:
            yield text[start:position].strip(" ")
            start = position + 1
        elif c == ":" and not within and "@" not in text[start:position]:
            start = position + 1  # the name of a group
        position += 1
    yield text[start:].strip(" ")


def _read_one(item: str, into: Recipients) -> None:
    if not item:
        return
    address = item
    phrase = ""
    bare = _QUOTED.sub(lambda found: "q" * len(found[0]), item)
    if "<" in bare or ">" in bare:
        opening = bare.find("<")
        if opening < 0 or bare.count("<") != 1 or bare.count(">") != 1 or bare[-1] != ">":
            into.unreadable.append(item)
            return
        address, phrase = item[opening + 1 : -1].strip(" "), bare[:opening]
    quoted = _QUOTED.match(address)
    local, at, domain = (
        (quoted[0], address[quoted.end() : quoted.end() + 1], address[quoted.end() + 1 :])
        if quoted
        else address.partition("@")
    )
    host = ascii_host(domain) if at == "@" else None
    plain = unicodedata.normalize("NFKC", local)  # letters may stand for signs, an @ among them
    if host is None or (quoted is None and not _LOCAL.fullmatch(plain)):
        into.unreadable.append(item)
        return
    into.domains.append(host)
    into.addresses.append(f"{local.lower()}@{host}")
    if "@" in phrase:  # some read the name as an address
        into.unreadable.append(item)
