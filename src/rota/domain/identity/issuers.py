"""Issuers: who else may say that somebody is signed in. The operator names them in settings."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SupabaseProject:
    """A project of Supabase, whose JWTs are believed.

    `url` is without a path. `secret` is the older shared one, for HS256. `anonymous`: whether
    sign-ins without an account count, too.
    """

    url: str
    secret: str | None = field(default=None, repr=False)
    anonymous: bool = False

    @property
    def issuer(self) -> str:
        """What its JWTs have as `iss`."""
        return f"{self.url}/auth/v1"

    @property
    def keys_url(self) -> str:
        """Where its public keys are."""
        return f"{self.issuer}/.well-known/jwks.json"


@dataclass(frozen=True, slots=True)
class OidcClient:
    """This rota as a client of an issuer of OpenID Connect.

    `secret` is None for a public client. `match_email`: whether a person may be found by an
    address that the issuer has verified.
    """

    issuer: str
    client_id: str
    secret: str | None = field(default=None, repr=False)
    match_email: bool = False
