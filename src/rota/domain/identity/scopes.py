"""Scopes: what a caller of the HTTP API may do."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """What a caller may do; a session of a person has all."""

    READ = "read"
    TRIGGER = "trigger"
    MANAGE = "manage"
    DECIDE = "decide"


ALL_SCOPES: Final = frozenset(Scope)
