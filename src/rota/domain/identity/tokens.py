"""API tokens: how programs sign in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from rota.domain.errors import InvalidInputError
from rota.domain.identity.scopes import Scope
from rota.domain.ids import UserId
from rota.domain.text.shortening import quoted
from rota.domain.text.unseen import spell_out

TOKEN_PREFIX: Final = "rota_"  # noqa: S105  the beginning of each, so that scanners find them
LONGEST_NAME: Final = 100

DEFAULT_LIFE: Final = timedelta(days=90)
"""How long a token lasts for which nothing else is said."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token of a program, without its secret, which rota does not keep.

    `expires_at` is None if it never expires. `last_used_at` is written once a minute at most.
    """

    id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made. Its secret is shown once."""

    token: ApiToken
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenBearer:
    """Whom a valid token belongs to, and what it may do."""

    user_id: UserId
    scopes: frozenset[Scope]


def check_token_name(name: str) -> str:
    """Return the name of a token without space around it; raises InvalidInputError."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or spell_out(name) != name or "\n" in name:
        raise InvalidInputError(
            f"{quoted(name, 40)} is no name of a token: it has 1 to {LONGEST_NAME} characters in "
            "one line.",
            field="name",
        )
    return name
