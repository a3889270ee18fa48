"""Ends a sentence whose last words are somebody else's text, which may have a full stop itself."""

from __future__ import annotations


def sentence(text: str) -> str:
    """Return a text with one full stop behind it, if it does not end as a sentence does."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", "\u2026")) else f"{text}."
