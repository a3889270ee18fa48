"""The providers of grants: where each is asked, and the scopes that rota asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rota.domain.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider. `{tenant}` in its addresses stands for the directory that a person belongs to.

    `asks` is added to the address of the page where a person consents. An empty address: the
    provider has no such call.
    """

    name: str
    noun: str
    token: str
    authorization: str = ""
    device: str = ""
    revocation: str = ""
    asks: tuple[tuple[str, str], ...] = ()

    @property
    def endpoint(self) -> str:
        """Name in ROTA_ENDPOINTS of another base URL.

        Not the bare name: an operator may call a server of models so, and it must get no secrets.
        """
        return f"{self.name}-oauth"


GOOGLE: Final = Provider(
    "google",
    "Google",
    "https://oauth2.googleapis.com/token",
    authorization="https://accounts.google.com/o/oauth2/v2/auth",
    revocation="https://oauth2.googleapis.com/revoke",
    # Without these Google gives no refresh token, or gives it the first time only.
    asks=(("access_type", "offline"), ("prompt", "consent")),
)

MICROSOFT: Final = Provider(
    "microsoft",
    "Microsoft",
    "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
    device="https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode",
)

PROVIDERS: Final = {provider.name: provider for provider in (GOOGLE, MICROSOFT)}
"""All of them, by name. ROTA_ENDPOINTS may lead each to another server."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a kind of connection asks for: to read, and beside that, if wanted, to act.

    `acts` and `reads` say in words what a person allows by them.
    """

    provider: Provider
    reading: tuple[str, ...]
    acting: tuple[str, ...]
    reads: str
    acts: str
    unnamed: tuple[str, ...] = ()
    """Asked for too; the provider does not name them among what it granted."""

    def wanted(self, *, to_act: bool) -> tuple[str, ...]:
        """Return the least scopes."""
        return (*self.reading, *(self.acting if to_act else ()))

    def allowed(self, granted: tuple[str, ...]) -> str:
        """Return in words what was granted, of what rota asks for."""
        known = {scope.lower() for scope in granted}
        parts = ((self.reading, self.reads), (self.acting, self.acts))
        return ", ".join(
            words for scopes, words in parts if known >= {scope.lower() for scope in scopes}
        )

    def missing(self, granted: tuple[str, ...], *, to_act: bool) -> tuple[str, ...]:
        """Return the wanted scopes that were not granted."""
        return tuple(scope for scope in self.wanted(to_act=to_act) if scope not in granted)


_GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/"
_OUTLOOK_SCOPE: Final = "https://outlook.office.com/"

SCOPES: Final = {
    # gmail.compose: gmail.send alone makes no drafts.
    "gmail": Scopes(
        GOOGLE,
        (f"{_GOOGLE_SCOPE}gmail.readonly",),
        (f"{_GOOGLE_SCOPE}gmail.compose",),
        "reading mail",
        "drafting and sending mail",
    ),
    "google-calendar": Scopes(
        GOOGLE,
        (f"{_GOOGLE_SCOPE}calendar.readonly",),
        (f"{_GOOGLE_SCOPE}calendar.events",),
        "reading calendars",
        "adding events",
    ),
    "microsoft": Scopes(
        MICROSOFT,
        (f"{_OUTLOOK_SCOPE}IMAP.AccessAsUser.All",),
        (f"{_OUTLOOK_SCOPE}SMTP.Send",),
        "reading mail",
        "sending mail",
        unnamed=("offline_access",),
    ),
}
"""By kind of connection: docs/howto/gmail.md and microsoft.md name them."""


def spelled(provider: Provider, granted: str) -> tuple[str, ...]:
    """Return granted scopes as they were asked for: Microsoft may name another host, or none."""
    known = {
        scope.rpartition("/")[2].lower(): scope
        for scopes in SCOPES.values()
        if scopes.provider is provider
        for scope in scopes.wanted(to_act=True)
    }
    return tuple(known.get(one.rpartition("/")[2].lower(), one) for one in granted.split())


def provider_named(name: str) -> Provider:
    """Return a provider; raises InvalidInputError."""
    if name not in PROVIDERS:
        raise InvalidInputError(f"There is no OAuth provider {name!r}.", field="provider")
    return PROVIDERS[name]


def address(url: str, provider: Provider, endpoints: Mapping[str, str], *, tenant: str) -> str:
    """Return where to ask, for an address of the provider's: as ROTA_ENDPOINTS has it."""
    url = url.replace("{tenant}", tenant or "common")
    base = endpoints.get(provider.endpoint)
    return f"{base.rstrip('/')}{urlsplit(url).path}" if base else url
