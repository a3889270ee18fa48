"""References as people write them: the beginning of an id is enough where it fits one alone."""

from __future__ import annotations

SHORTEST_PREFIX = 4
"""Characters of an id that are enough, if they fit one alone."""


def is_id_prefix(text: str) -> bool:
    """Return whether a text can be the beginning of an id."""
    return all(character in "0123456789abcdefABCDEF-" for character in text)
