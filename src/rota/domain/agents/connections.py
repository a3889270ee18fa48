"""A person's connections to accounts, as their owner sees them: without secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rota.domain.errors import SetupRequiredError

MOST_REFUSALS: Final = 3
"""Logins that a server may refuse one after another: then no more are tried."""

EXPIRES_SOON: Final = timedelta(days=7)


class ConnectionState(StrEnum):
    """Whether a connection works. No row has NOT_CHECKED: `state_at` tells it from the times."""

    OK = "ok"
    NOT_CHECKED = "not checked"
    EXPIRING = "expiring"
    NEEDS_YOU = "needs you"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection as its owner sees it: without the secret.

    `problem` says what is wrong, in the provider's words, if something is.
    """

    service: str
    account: str
    scopes: tuple[str, ...]
    state: ConnectionState
    problem: str
    expires_at: datetime | None
    last_used_at: datetime | None
    last_checked_at: datetime | None
    is_active: bool
    created_at: datetime

    def state_at(self, now: datetime) -> ConnectionState:
        """Return how it does now.

        `expiring` from a week before its secret ends; `not checked` while nobody has used it.
        """
        if self.state is not ConnectionState.OK:
            return self.state
        if self.expires_at is not None and self.expires_at <= now:
            return ConnectionState.NEEDS_YOU
        if self.expires_at is not None and self.expires_at - now <= EXPIRES_SOON:
            return ConnectionState.EXPIRING
        is_tried = self.last_used_at is not None or self.last_checked_at is not None
        return self.state if is_tried else ConnectionState.NOT_CHECKED


class LoginRefusedError(SetupRequiredError):
    """A server refused a name and password."""
