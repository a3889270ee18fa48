"""Shortens texts for people, and marks by `…` what was left out."""

from __future__ import annotations

from rota.domain.text.storable import cut


def shorten(text: str, limit: int) -> str:
    """Return a text in at most `limit` characters, with `…` at its end if it was cut."""
    return text if len(text) <= limit else f"{cut(text, max(0, limit - 1)).text}…"


def quoted(text: str, limit: int = 60) -> str:
    """Return a text in quotes, shortened to `limit` characters."""
    return repr(shorten(text, limit))
