"""Finds characters that are invisible, or that reorder other text, and writes them as names.

These are the characters that Unicode calls control, format, unassigned, private or separator, and
those that programs do not show (Default_Ignorable_Code_Point). Joiners and variation selectors stay
if a script or an emoji needs them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_KEPT: Final = frozenset("\n\t")
_SPACES: Final = str.maketrans("\u00a0\u202f", "  ")
"""No-break spaces: French has one before each colon, and nothing can be hidden by it."""

# Letters, marks and symbols by their category, and nothing to the eye: fillers, selectors, blanks.
_BLANK: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
)
_SELECTORS: Final = range(0xE0100, 0xE01F0)
# Format characters that are seen: signs that enclose the numbers after them.
_SEEN: Final = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
_MARKS_OF_DIRECTION: Final = frozenset("\u061c\u200e\u200f")
_JOINERS: Final = re.compile("[\u200c\u200d\ufe0e\ufe0f]")
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_JOINED_SCRIPTS: Final = frozenset(
    {
        *("ARABIC", "BENGALI", "DEVANAGARI", "GUJARATI", "GURMUKHI", "KANNADA", "KHMER"),
        *("MALAYALAM", "MONGOLIAN", "MYANMAR", "NKO", "ORIYA", "SINHALA", "SYRIAC", "TAMIL"),
        *("TELUGU", "TIBETAN"),
    }
)
_EMOJI: Final = frozenset("\u203c\u2049\u2139\u3030")
_KEYCAP: Final = "\u20e3"


def spell_out(text: str) -> str:
    r"""Return text with everything unseen written out, as `\u200b`; newlines and tabs are kept."""
    shown = text.translate(_SPACES)
    odd = {c for c in set(shown) if _is_unseen(c)}
    if not odd:
        return shown
    shown = _JOINERS.sub(_written_unless_needed, shown)
    return shown.translate({ord(c): written(c) for c in odd if not _JOINERS.match(c)})


def hidden_in(text: str) -> frozenset[str]:
    """Return the characters by which something is hidden or turned; none in honest writing.

    Spaces of all widths, and what only some fonts have, are no reason for alarm.
    """
    odd = {c for c in set(text) if _is_unseen(c) and c != "\r" and not _is_harmless(c)}
    if any(map(_JOINERS.match, odd)):
        odd = {c for c in odd if not _JOINERS.match(c)}
        odd |= {m[0] for m in _JOINERS.finditer(text) if not _is_needed(text, m.start())}
    if odd & _MARKS_OF_DIRECTION and _has_right_to_left(text):
        odd -= _MARKS_OF_DIRECTION
    return frozenset(odd)


def written(character: str) -> str:
    """Return how a character is written out."""
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\u{{{number:x}}}"


def _written_unless_needed(found: re.Match[str]) -> str:
    return found[0] if _is_needed(found.string, found.start()) else written(found[0])


def _is_unseen(c: str) -> bool:
    # Not printable, to Python: Cc, Cf, Cs, Co, Cn, Zl, Zp, and Zs but for the space.
    if c.isprintable():
        return c in _BLANK or ord(c) in _SELECTORS
    return c not in _KEPT and c not in _SEEN


def _is_harmless(c: str) -> bool:
    category = unicodedata.category(c)
    return category in {"Zs", "Co"} or (category == "Cn" and not _is_ignored(ord(c)))


def _is_ignored(number: int) -> bool:
    """Return whether an unassigned code point is one that programs show nothing for."""
    return number == 0x2065 or 0xFFF0 <= number <= 0xFFF8 or 0xE0000 <= number <= 0xE0FFF


def _is_needed(text: str, position: int) -> bool:
    """Return whether a joiner or selector does what it is for, where it stands."""
    before = text[position - 1] if position else ""
    after = text[position + 1 : position + 2]
    if not before:
        return False
    c = text[position]
    if c in {_ZWNJ, _ZWJ} and _script(before) in _JOINED_SCRIPTS:
        return True
    if c == _ZWNJ:
        return False
    if c == _ZWJ:
        return _is_symbol(after) and (
            _is_symbol(before) or (before == "\ufe0f" and _is_symbol(text[position - 2]))
        )
    return _is_symbol(before) or (before in "0123456789#*" and after == _KEYCAP)


def _is_symbol(c: str) -> bool:
    """Return whether a character may be an emoji: a symbol, or the tone of its skin."""
    if not c or c in _BLANK:
        return False
    return c in _EMOJI or (not c.isascii() and unicodedata.category(c) in {"So", "Sm", "Sk"})


def _script(c: str) -> str:
    return unicodedata.name(c, "").partition(" ")[0]


def _has_right_to_left(text: str) -> bool:
    return any(unicodedata.bidirectional(c) in {"R", "AL"} for c in set(text) - _MARKS_OF_DIRECTION)
