"""Mail accounts that rota reaches by IMAP: their servers, and how a person signs in."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Final, Literal

from rota.domain.errors import InvalidInputError

Encryption = Literal["tls", "starttls"]

PORTS: Final[dict[Encryption, int]] = {"tls": 993, "starttls": 143}
INBOX: Final = "INBOX"
_GROUPED: Final = re.compile(r"[a-z]{4}(\s[a-z]{4}){3}")


@dataclass(frozen=True, slots=True)
class ImapAccount:
    """A mailbox and its password. Sealed as a whole: the password goes to no other server.

    `certificate` is that of the authority that signed the server's, in PEM; empty: one that the
    system trusts.
    """

    host: str
    user: str
    password: str
    port: int = PORTS["tls"]
    encryption: Encryption = "tls"
    folder: str = INBOX
    certificate: str = ""

    def __repr__(self) -> str:
        return f"ImapAccount({self.user!r} at {self.address})"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def as_secret(self) -> str:
        """Return all of it, to be encrypted."""
        return json.dumps(asdict(self))

    @classmethod
    def from_secret(cls, secret: str) -> ImapAccount:
        """Return what `as_secret` returned."""
        return cls(**json.loads(secret))


@dataclass(frozen=True, slots=True)
class MailProvider:
    """A provider's IMAP server, and how its password for programs is had."""

    name: str
    host: str
    advice: str


_GOOGLE: Final = MailProvider(
    "Gmail",
    "imap.gmail.com",
    "Gmail takes an app password: https://myaccount.google.com/apppasswords (2-step verification "
    "has to be on).",
)
_MICROSOFT: Final = MailProvider(
    "Outlook",
    "outlook.office365.com",
    "Microsoft takes no passwords by IMAP any more, so rota cannot read this mailbox yet.",
)
_YAHOO: Final = MailProvider(
    "Yahoo",
    "imap.mail.yahoo.com",
    "Yahoo takes an app password: Account security, Generate app password.",
)
_APPLE: Final = MailProvider(
    "iCloud",
    "imap.mail.me.com",
    "iCloud takes an app-specific password: https://account.apple.com, Sign-In and Security.",
)
_GMX_COM: Final = MailProvider(
    "GMX", "imap.gmx.com", "Switch IMAP on in GMX: Settings, POP3 & IMAP."
)
_GMX: Final = MailProvider(
    "GMX",
    "imap.gmx.net",
    "Switch IMAP on in GMX (E-Mail, Einstellungen, POP3/IMAP); with two-factor authentication it "
    "takes an app password.",
)
_WEB: Final = MailProvider(
    "WEB.DE",
    "imap.web.de",
    "Switch IMAP on in WEB.DE (E-Mail, Einstellungen, POP3/IMAP); with two-factor authentication "
    "it takes an app password.",
)
_AOL: Final = MailProvider(
    "AOL",
    "imap.aol.com",
    "AOL takes an app password: Account security, Generate app password.",
)
_FASTMAIL: Final = MailProvider(
    "Fastmail",
    "imap.fastmail.com",
    "Fastmail takes an app password: Settings, Privacy & Security, App passwords.",
)
_ZOHO: Final = MailProvider(
    "Zoho",
    "imap.zoho.com",
    "Switch IMAP on in Zoho Mail; with two-factor authentication it takes an app password.",
)
_TELEKOM: Final = MailProvider(
    "T-Online",
    "secureimap.t-online.de",
    "T-Online takes the e-mail password (Passwort für E-Mail-Programme), not that of the login.",
)

PROVIDERS: Final[dict[str, MailProvider]] = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), _GOOGLE),
    **dict.fromkeys(
        ("outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.de", "hotmail.de"),
        _MICROSOFT,
    ),
    **dict.fromkeys(("yahoo.com", "yahoo.de", "yahoo.co.uk", "yahoo.fr", "ymail.com"), _YAHOO),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), _APPLE),
    "gmx.com": _GMX_COM,
    **dict.fromkeys(("gmx.de", "gmx.net", "gmx.at", "gmx.ch"), _GMX),
    "web.de": _WEB,
    "aol.com": _AOL,
    **dict.fromkeys(("fastmail.com", "fastmail.fm"), _FASTMAIL),
    "zoho.com": _ZOHO,
    "t-online.de": _TELEKOM,
}
"""Mail providers by the domain of an address."""


def provider_of(address: str) -> MailProvider | None:
    """Return the provider of an e-mail address, None for one that rota does not know."""
    return PROVIDERS.get(address.rpartition("@")[2].strip().lower())


def imap_account(
    address: str,
    password: str,
    *,
    host: str = "",
    port: int | None = None,
    encryption: Encryption = "tls",
    user: str = "",
    folder: str = INBOX,
    certificate: str = "",
) -> ImapAccount:
    """Fill in what a provider's preset knows; raises InvalidInputError for what is missing."""
    if not (user or address):
        raise InvalidInputError("Name the mailbox: --account me@example.com.", field="account")
    known = provider_of(address)
    host = host.strip() or (known.host if known is not None else "")
    if not host:
        raise InvalidInputError(
            f"rota does not know the mail server of {address}. Name it: --host imap.example.com.",
            field="host",
        )
    if host.lower() == _MICROSOFT.host:
        raise InvalidInputError(_MICROSOFT.advice, field="account")
    password = password.strip("\r\n")
    if not password.strip():
        raise InvalidInputError("No password was given.", field="secret")
    # Google shows app passwords in four groups of letters, and people copy the spaces.
    if _GROUPED.fullmatch(password.strip()):
        password = "".join(password.split())
    if any(ord(letter) < 32 for letter in f"{password}{user}{address}{folder}"):
        raise InvalidInputError("A password or name has no line breaks.", field="secret")
    return ImapAccount(
        host=host,
        user=user or address,
        password=password,
        port=port or PORTS[encryption],
        encryption=encryption,
        folder=folder,
        certificate=certificate,
    )
