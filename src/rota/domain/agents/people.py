"""Who may run agents. The operator decides it, because the operator's keys pay for the models."""

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
    """A person whom the operator named. `email` is None if they have none."""

    user_id: UUID
    email: str | None
    may_run: bool


@dataclass(frozen=True, slots=True)
class People:
    """The people whom the operator named, and whether others may run agents."""

    open_to_all: bool
    persons: Sequence[Person]
