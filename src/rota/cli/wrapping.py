"""Lines that fit a terminal, broken by us: it would go on at its left edge, where ours begin."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_SELECTS_EMOJI = "\ufe0f"


def wrapped(text: str, *, first: int, rest: int) -> Iterator[str]:
    """Yield a line in pieces that fit: the first in `first` cells, the others in `rest`.

    Nothing is left out, spaces neither: whoever pads a line is seen to pad it. Breaks after a space
    where one is near, else anywhere.
    """
    text = text.expandtabs()
    position, room = 0, max(first, 1)
    while True:
        end = _reach(text, position, room)
        if end < len(text):
            space = text.rfind(" ", position + room // 2, end)
            end = space + 1 if space > 0 else end
        yield text[position:end]
        position, room = end, max(rest, 1)
        if position >= len(text):
            return


def _reach(text: str, start: int, room: int) -> int:
    """Return how far a text gets in so many cells; one character at least."""
    if text[start : start + room].isascii():
        return min(start + room, len(text))
    end = start
    while end < len(text) and (room := room - _cells(text[end])) >= 0:
        end += 1
    return max(end, start + 1)


def _cells(c: str) -> int:
    """Return the most cells that a terminal may give a character: they differ on symbols."""
    if c.isascii():
        return 1
    category = unicodedata.category(c)
    if category in {"Mn", "Me", "Cf"}:
        return int(c == _SELECTS_EMOJI or ord(c) > 0xFFFF)
    is_wide = unicodedata.east_asian_width(c) in {"W", "F"} or category.startswith("S")
    return 2 if is_wide else 1
