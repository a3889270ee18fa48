"""Mail accounts that rota reaches by IMAP: their servers, and how a person signs in."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Final, Literal

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted

Encryption = Literal["tls", "starttls"]

PORTS: Final[dict[Encryption, int]] = {"tls": 993, "starttls": 143}
SMTP_PORTS: Final[dict[Encryption, int]] = {"tls": 465, "starttls": 587}
INBOX: Final = "INBOX"
READING: Final = "read"
SENDING: Final = "send"
_GROUPED: Final = re.compile(r"[a-z]{4}(\s[a-z]{4}){3}")


@dataclass(frozen=True, slots=True)
class ImapAccount:
    """A mailbox and its password. Sealed as a whole: the password goes to no other server.

    `certificate` is that of the authority that signed the servers', in PEM; empty: one that the
    system trusts. `sender` is the address that mail is sent from. Without an `smtp_host`, or
    without a `sender`, nothing can be sent. With a `token`, an OAuth access token, XOAUTH2 takes
    the place of the password.
    """

    host: str
    user: str
    password: str
    port: int = PORTS["tls"]
    encryption: Encryption = "tls"
    folder: str = INBOX
    certificate: str = ""
    sender: str = ""
    smtp_host: str = ""
    smtp_port: int = SMTP_PORTS["tls"]
    smtp_encryption: Encryption = "tls"
    token: str = ""

    def __repr__(self) -> str:
        return f"ImapAccount({self.user!r} at {self.address})"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @property
    def smtp_address(self) -> str:
        """Host and port of the server that sends."""
        return f"{self.smtp_host}:{self.smtp_port}"

    @property
    def scopes(self) -> tuple[str, ...]:
        """What agents may do with it, as its connection notes that: reading, and sending."""
        return (READING, SENDING) if self.smtp_host and self.sender else (READING,)

    @property
    def files_what_it_sends(self) -> bool:
        """Whether the server that sends puts a copy into Sent by itself."""
        return any(
            provider.files_what_it_sends
            for provider in PROVIDERS.values()
            if provider.smtp_host == self.smtp_host.lower()
        )

    def as_secret(self) -> str:
        """Return all of it, to be encrypted."""
        return json.dumps(asdict(self))

    @classmethod
    def from_secret(cls, secret: str) -> ImapAccount:
        """Return what `as_secret` returned."""
        return cls(**json.loads(secret))


@dataclass(frozen=True, slots=True)
class MailProvider:
    """A provider's servers, and how its password for programs is had.

    `files_what_it_sends`: a copy of what is sent is in Sent without anybody putting it there.
    """

    name: str
    host: str
    advice: str
    smtp_host: str
    smtp_encryption: Encryption = "tls"
    files_what_it_sends: bool = False


_GOOGLE: Final = MailProvider(
    "Gmail",
    "imap.gmail.com",
    "Gmail takes an app password: https://myaccount.google.com/apppasswords (2-step verification "
    "has to be on).",
    smtp_host="smtp.gmail.com",
    files_what_it_sends=True,
)
_MICROSOFT: Final = MailProvider(
    "Outlook",
    "outlook.office365.com",
    "Microsoft takes no passwords by IMAP any more. Connect the mailbox with `rota connections add "
    "microsoft`.",
    smtp_host="smtp.office365.com",
    smtp_encryption="starttls",
    files_what_it_sends=True,
)
_YAHOO: Final = MailProvider(
    "Yahoo",
    "imap.mail.yahoo.com",
    "Yahoo takes an app password: Account security, Generate app password.",
    smtp_host="smtp.mail.yahoo.com",
)
_APPLE: Final = MailProvider(
    "iCloud",
    "imap.mail.me.com",
    "iCloud takes an app-specific password: https://account.apple.com, Sign-In and Security.",
    smtp_host="smtp.mail.me.com",
    smtp_encryption="starttls",
)
_GMX_COM: Final = MailProvider(
    "GMX",
    "imap.gmx.com",
    "Switch IMAP on in GMX: Settings, POP3 & IMAP.",
    smtp_host="mail.gmx.com",
)
_GMX: Final = MailProvider(
    "GMX",
    "imap.gmx.net",
    "Switch IMAP on in GMX (E-Mail, Einstellungen, POP3/IMAP); with two-factor authentication it "
    "takes an app password.",
    smtp_host="mail.gmx.net",
)
_WEB: Final = MailProvider(
    "WEB.DE",
    "imap.web.de",
    "Switch IMAP on in WEB.DE (E-Mail, Einstellungen, POP3/IMAP); with two-factor authentication "
    "it takes an app password.",
    smtp_host="smtp.web.de",
    smtp_encryption="starttls",
)
_AOL: Final = MailProvider(
    "AOL",
    "imap.aol.com",
    "AOL takes an app password: Account security, Generate app password.",
    smtp_host="smtp.aol.com",
)
_FASTMAIL: Final = MailProvider(
    "Fastmail",
    "imap.fastmail.com",
    "Fastmail takes an app password: Settings, Privacy & Security, App passwords.",
    smtp_host="smtp.fastmail.com",
)
_ZOHO: Final = MailProvider(
    "Zoho",
    "imap.zoho.com",
    "Switch IMAP on in Zoho Mail; with two-factor authentication it takes an app password.",
    smtp_host="smtp.zoho.com",
)
_TELEKOM: Final = MailProvider(
    "T-Online",
    "secureimap.t-online.de",
    "T-Online takes the e-mail password (Passwort für E-Mail-Programme), not that of the login.",
    smtp_host="securesmtp.t-online.de",
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


def check_address(address: str) -> None:
    """Raise InvalidInputError for what is no e-mail address."""
    name, _, domain = address.strip().rpartition("@")
    if not name or not domain or any(ord(letter) <= 32 for letter in address.strip()):
        raise InvalidInputError(
            f"{quoted(address, 60)} is no mail address. Write --account as me@example.com.",
            field="account",
        )


def microsoft_account(address: str, *, host: str = "", smtp_host: str = "") -> ImapAccount:
    """Return a mailbox of Microsoft 365 without its token; raises InvalidInputError."""
    address = address.strip()
    if not address:
        raise InvalidInputError("Name the mailbox: --account me@example.com.", field="account")
    check_address(address)
    return ImapAccount(
        host.strip() or _MICROSOFT.host,
        address,
        password="",
        sender=address,
        smtp_host=smtp_host.strip() or _MICROSOFT.smtp_host,
        smtp_port=SMTP_PORTS[_MICROSOFT.smtp_encryption],
        smtp_encryption=_MICROSOFT.smtp_encryption,
    )


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
    smtp_host: str = "",
    smtp_port: int | None = None,
    smtp_encryption: Encryption | None = None,
) -> ImapAccount:
    """Fill in what a provider's preset knows; raises InvalidInputError for what is missing.

    Of a server that no preset knows, mail can be read, and sent only with an `smtp_host`.
    """
    if not (user or address):
        raise InvalidInputError("Name the mailbox: --account me@example.com.", field="account")
    if not host.strip() and "@" not in address:
        check_address(address or user)
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
    smtp_host = smtp_host.strip()
    if not smtp_host and known is not None and host.lower() == known.host:
        smtp_host = known.smtp_host
        smtp_encryption = smtp_encryption or known.smtp_encryption
    sends = smtp_encryption or "tls"
    if not smtp_host and (smtp_port or smtp_encryption):
        raise InvalidInputError(
            "Name the server that sends mail: --smtp-host smtp.example.com.", field="smtp_host"
        )
    return ImapAccount(
        host=host,
        user=user or address,
        password=password,
        port=port or PORTS[encryption],
        encryption=encryption,
        folder=folder,
        certificate=certificate,
        sender=address if "@" in address else "",
        smtp_host=smtp_host,
        smtp_port=smtp_port or SMTP_PORTS[sends],
        smtp_encryption=sends,
    )
