"""Sessions: how people are signed in at a browser, and the links that sign them in once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from rota.domain.ids import UserId

IDLE_END: Final = timedelta(days=7)
"""How long a session lasts that nobody uses."""

ABSOLUTE_END: Final = timedelta(days=30)
"""How long a session lasts however much it is used."""

LINK_LASTS: Final = timedelta(minutes=15)

LONGEST_USER_AGENT: Final = 200


class SignedInBy(StrEnum):
    """How a session began: a one-time link, or an issuer of OpenID Connect."""

    LINK = "link"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a person, without its secret, which only the browser's cookie holds.

    `user_agent` is what the browser says of itself, cut short; it is not to be believed.
    `last_seen_at` is written once a minute at most.
    """

    id: UUID
    user_id: UserId
    signed_in_by: SignedInBy
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    idle_ends_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that just began, and the secret for its cookie."""

    session: Session
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A code that signs a person in once, until it expires."""

    code: str = field(repr=False)
    expires_at: datetime

    def url(self, origin: str) -> str:
        """Return the link: the code is in the fragment, which browsers do not send to servers."""
        return f"{origin.rstrip('/')}/sign-in#{self.code}"
