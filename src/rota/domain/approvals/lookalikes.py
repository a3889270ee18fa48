"""Finds addresses, hosts and words that look like others.

Each label of a name is checked by the rule of browsers for names in several scripts (Unicode
Technical Standard 39, "highly restrictive" for Latin). It finds letters of one script that look
like letters of another. It also finds letters and dots that programs read as ordinary ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from rota.domain.text.shortening import shorten

MOST_FOUND: Final = 10

LOOKED_AT: Final = 200_000
"""Characters of one text that are looked at."""

# Each pattern is one class of characters, repeated: it reads a text once, whatever is in it.
_WORD: Final = re.compile(
    "[^\\s,;<>\"'()\uff0c\u3001\uff1b\uff1a\uff01\uff1f\uff08\uff09\u300c-\u300f\u3008-\u300b"
    "\u3010\u3011\u2018-\u201f\u00ab\u00bb]+"
)
_NAMELIKE: Final = re.compile(r"[@./]")
_PART: Final = re.compile("[^\\W\\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_HOST: Final = re.compile(r"@|[a-z0-9-]\.[a-z]{2}", re.IGNORECASE)
_FALSE_DOTS: Final = str.maketrans(
    {"\u3002": ".", "\uff61": ".", "\u2044": "/", "\u2215": "/", "\u29f8": "/", "\u2024": "."}
)
_ALIKE: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
_FOREIGN: Final = _ALIKE - {"LATIN"}
# Letters that look like a Latin letter. Greek alpha and mu are left out: science uses them.
_TWINS: Final = frozenset(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b"  # Cyrillic
    "\u051d\u04bb\u04cf\u0475\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420"
    "\u0421\u0422\u0423\u0425\u0406\u0408\u0405\u051a\u051c\u04c0\u0474"
    "\u03bf\u03bd\u03c1\u03c5\u03b9\u0391\u0392\u0395\u0396\u0397\u0399\u039a"  # Greek
    "\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u0585\u0578\u057d\u0570\u0581\u0555\u054d"  # Armenian
)
_LATIN_TWINS: Final = frozenset("\u0251\u0261\u0269\u01c0")
_WHOLLY_FOREIGN: Final = frozenset({"CHEROKEE", "COPTIC"})
_SHORTEST: Final = 4
_LONGEST: Final = 120


def lookalikes(texts: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for each name or word in texts with letters that stand for others."""
    found: dict[str, None] = {}
    for text in texts:
        if text.isascii():
            continue
        for match in _WORD.finditer(text[:LOOKED_AT]):
            word = match[0]
            said = None if word.isascii() else _mixed(word) or _disguised(word)
            if said is not None:
                found.setdefault(f"{shorten(word, _LONGEST)} {said}")
                if len(found) == MOST_FOUND:
                    return tuple(found)
    return tuple(found)


def _mixed(word: str) -> str | None:
    """Say which letters are of another script than those beside them."""
    is_name = bool(_NAMELIKE.search(word.rstrip(".")))
    has_latin = any(_script(c) == "LATIN" for c in set(word))
    for match in _PART.finditer(word):
        part = set(match[0])
        foreign = {c for c in part if _script(c) in _FOREIGN}
        twins = {c for c in foreign if c in _TWINS or _script(c) in _WHOLLY_FOREIGN}
        beside = any(_script(c) == "LATIN" for c in part)
        odd: set[str] = set()
        if beside and foreign and (is_name or (foreign == twins and len(match[0]) >= _SHORTEST)):
            odd = foreign
        elif (
            is_name and has_latin and foreign and twins == part
        ):  # a whole label, beside Latin ones
            odd = foreign
        elif (strange := {c for c in part if not c.isascii()}) and strange < part:
            odd = strange if strange <= _LATIN_TWINS and len(match[0]) >= _SHORTEST else set()
        if odd:
            return f"is not written in one script: {_named(odd)}."
    return None


def _disguised(word: str) -> str | None:
    """Say what a word is to programs that is written with other letters, dots or strokes."""
    odd = {c for c in set(word) if not c.isascii() and _stands_for_ascii(c)}
    if not odd:
        return None
    meant = unicodedata.normalize("NFKC", word).translate(_FALSE_DOTS)
    if meant.isascii() and _HOST.search(meant):
        return f"stands for {shorten(meant, _LONGEST)}: {_named(odd)}."
    for match in _PART.finditer(word):
        part = match[0]
        inside = odd.intersection(part)
        if inside and len(part) >= _SHORTEST and any(c.isascii() for c in part):
            read = unicodedata.normalize("NFKC", part)
            return f"stands for {shorten(read, _LONGEST)}: {_named(inside)}."
    return None


def _stands_for_ascii(c: str) -> bool:
    """Return whether programs may read a character as an ASCII one that it is not."""
    if ord(c) in _FALSE_DOTS:
        return True
    kind = unicodedata.decomposition(c).partition(" ")[0]
    # Superscripts, fractions, ligatures and circled digits are in ordinary use: m², ½, ﬁ, ①.
    is_alias = kind in {"<wide>", "<font>"} or (kind == "<circle>" and not c.isnumeric())
    is_alias |= "\u216c" <= c <= "\u216f" or "\u217c" <= c <= "\u217f"  # Roman L, C, D, M
    return is_alias and unicodedata.normalize("NFKC", c).isascii()


def _named(characters: set[str]) -> str:
    return ", ".join(f"{c} is {unicodedata.name(c, 'unnamed')}" for c in sorted(characters)[:3])


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""
