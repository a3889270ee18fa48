"""Addresses and hosts that are not what they look like.

The rule is that of browsers for names in several scripts (Unicode Technical Standard 39, "highly
restrictive" as far as Latin is concerned): letters of one that look like those of the other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST_FOUND: Final = 10

_NAMELIKE: Final = re.compile(r"[^\s,;<>\"'()]*[@./][^\s,;<>\"'()]*")
_ALIKE: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
_LONGEST: Final = 120


def lookalikes(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a sentence for each address or host in which scripts are mixed that look alike."""
    found: dict[str, None] = {}
    for text in _texts(arguments):
        for match in _NAMELIKE.finditer(text):
            name = match[0]
            if name.isascii():
                continue
            foreign = sorted({c for c in name if _script(c) in _ALIKE - {"LATIN"}})
            if foreign and any(_script(c) == "LATIN" for c in name):
                letters = ", ".join(f"{c} is {unicodedata.name(c)}" for c in foreign[:3])
                found.setdefault(f"{name[:_LONGEST]} is not written in one script: {letters}.")
                if len(found) == MOST_FOUND:
                    return tuple(found)
    return tuple(found)


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case Mapping() as mapping:
                waiting += [*mapping.values(), *mapping.keys()]
            case list() | tuple() as items:
                waiting += items
