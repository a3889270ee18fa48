"""Sentences that end with a text of somebody else's, which may end as one itself."""

from __future__ import annotations


def sentence(text: str) -> str:
    """Return a text with one full stop behind it, if it does not end as a sentence does."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", "\u2026")) else f"{text}."
