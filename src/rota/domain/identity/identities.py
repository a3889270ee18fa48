"""Identities: whom an issuer of OpenID Connect means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rota.domain.ids import UserId


class Origin(StrEnum):
    """Who linked an identity: the operator, or its verified e-mail address."""

    OPERATOR = "operator"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Identity:
    """A subject of an issuer, and the person that they are here."""

    issuer: str
    subject: str
    user_id: UserId
    origin: Origin
    created_at: datetime
