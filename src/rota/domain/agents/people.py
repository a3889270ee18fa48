"""Who may run agents: the operator's word, as their keys pay for the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

MAY_NOT_RUN: Final = (
    "You may not run agents here; ask the operator to allow it (`rota people allow`)."
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the operator named; `email` is None where they have none."""

    user_id: UUID
    email: str | None
    may_run: bool


@dataclass(frozen=True, slots=True)
class People:
    """Whether whoever is not named may run agents, and who is named."""

    open_to_all: bool
    persons: Sequence[Person]
