"""A person's accounts elsewhere, as their owner sees them: without secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection as its owner sees it: without the secret."""

    service: str
    account: str
    expires_at: datetime | None
    is_active: bool
    created_at: datetime
