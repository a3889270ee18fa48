"""Addresses and passwords of calendars, and what rota knows of those who keep them.

A feed is an address that is itself the secret. A CalDAV account has a name and a password.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from rota.domain.errors import InvalidInputError

_SCHEMES: Final = {"webcal": "https", "webcals": "https", "feed": "https"}
_GROUPED: Final = re.compile(r"[a-z]{4}(-[a-z]{4}){3}|[a-z]{4}(\s[a-z]{4}){3}")


@dataclass(frozen=True, slots=True)
class CalendarFeed:
    """A calendar's secret address. `certificate` is that of the authority to trust, in PEM."""

    address: str
    certificate: str = ""

    def __repr__(self) -> str:
        return f"CalendarFeed(of {self.host!r})"

    @property
    def host(self) -> str:
        """The server, which is no secret."""
        return urlsplit(self.address).hostname or ""

    def as_secret(self) -> str:
        """Return all of it, to be encrypted."""
        return json.dumps(asdict(self))

    @classmethod
    def from_secret(cls, secret: str) -> CalendarFeed:
        """Return what `as_secret` returned."""
        return cls(**json.loads(secret))


@dataclass(frozen=True, slots=True)
class CalDavAccount:
    """A CalDAV account and its password. Sealed as a whole.

    `address` is the owner's e-mail address, "" where it is not known: invitations name it.
    """

    url: str
    user: str
    password: str
    certificate: str = ""
    address: str = ""

    def __repr__(self) -> str:
        return f"CalDavAccount({self.user!r} at {self.host})"

    @property
    def host(self) -> str:
        """Host, and port if it is not the usual one."""
        return urlsplit(self.url).netloc

    def as_secret(self) -> str:
        """Return all of it, to be encrypted."""
        return json.dumps(asdict(self))

    @classmethod
    def from_secret(cls, secret: str) -> CalDavAccount:
        """Return what `as_secret` returned."""
        return cls(**json.loads(secret))


@dataclass(frozen=True, slots=True)
class CalendarProvider:
    """A provider's CalDAV server, "" where it has none, and what its owner has to know."""

    name: str
    url: str
    advice: str


_GOOGLE: Final = CalendarProvider(
    "Google",
    "",
    "Google takes no password by CalDAV. Connect it with `rota connections add google-calendar`, "
    "or by the calendar's secret address with `rota connections add ics`.",
)
_MICROSOFT: Final = CalendarProvider(
    "Outlook",
    "",
    "Outlook has no CalDAV. Publish the calendar in Outlook (Settings, Calendar, Shared calendars) "
    "and connect its ICS link with `rota connections add ics`.",
)
_APPLE: Final = CalendarProvider(
    "iCloud",
    "https://caldav.icloud.com/",
    "iCloud takes an app-specific password: https://account.apple.com, Sign-In and Security.",
)
_FASTMAIL: Final = CalendarProvider(
    "Fastmail",
    "https://caldav.fastmail.com/",
    "Fastmail takes an app password: Settings, Privacy & Security, App passwords.",
)
_MAILBOX_ORG: Final = CalendarProvider(
    "mailbox.org",
    "https://dav.mailbox.org/",
    "mailbox.org takes the password of the account, or an application password if it has any.",
)
_GMX: Final = CalendarProvider(
    "GMX",
    "https://caldav.gmx.net/",
    "GMX takes the password of the mailbox; with two-factor authentication an app password.",
)
_WEB: Final = CalendarProvider(
    "WEB.DE",
    "https://caldav.web.de/",
    "WEB.DE takes the password of the mailbox; with two-factor authentication an app password.",
)
_POSTEO: Final = CalendarProvider(
    "Posteo", "https://posteo.de:8443/", "Posteo takes the password of the mailbox."
)
_YAHOO: Final = CalendarProvider(
    "Yahoo",
    "https://caldav.calendar.yahoo.com/",
    "Yahoo takes an app password: Account security, Generate app password.",
)

PROVIDERS: Final[dict[str, CalendarProvider]] = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), _GOOGLE),
    **dict.fromkeys(
        ("outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.de", "hotmail.de"),
        _MICROSOFT,
    ),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), _APPLE),
    **dict.fromkeys(("fastmail.com", "fastmail.fm"), _FASTMAIL),
    "mailbox.org": _MAILBOX_ORG,
    **dict.fromkeys(("gmx.de", "gmx.net", "gmx.at", "gmx.ch", "gmx.com"), _GMX),
    "web.de": _WEB,
    **dict.fromkeys(("posteo.de", "posteo.net"), _POSTEO),
    **dict.fromkeys(("yahoo.com", "yahoo.de", "yahoo.co.uk", "yahoo.fr", "ymail.com"), _YAHOO),
}
"""Providers of calendars by the domain of an address."""

_WITHOUT_CALDAV: Final = {
    "google.com": _GOOGLE,
    "googleapis.com": _GOOGLE,
    "googleusercontent.com": _GOOGLE,
    "outlook.com": _MICROSOFT,
    "office365.com": _MICROSOFT,
    "office.com": _MICROSOFT,
    "live.com": _MICROSOFT,
}


def provider_of(address: str) -> CalendarProvider | None:
    """Return the provider of an e-mail address, None for one that rota does not know."""
    return PROVIDERS.get(address.rpartition("@")[2].strip().lower())


def calendar_feed(address: str, *, certificate: str = "") -> CalendarFeed:
    """Return a feed by its address; raises InvalidInputError, which does not repeat it."""
    parts = _address(address, field="secret", noun="The address of a calendar feed")
    host, path = (parts.hostname or "").lower(), parts.path.lower()
    if host == "calendar.google.com" and not path.startswith("/calendar/ical/"):
        raise InvalidInputError(
            "That is the address of a page of Google Calendar. Take the calendar's secret address "
            "in iCal format: Settings, the calendar's name, Integrate calendar.",
            field="secret",
        )
    if host.endswith(("outlook.live.com", "outlook.office365.com", "outlook.office.com")) and (
        path.endswith(".html")
    ):
        raise InvalidInputError(
            "That is the address of a page of Outlook. Take the ICS link, which stands beside it "
            "and ends with .ics.",
            field="secret",
        )
    return CalendarFeed(urlunsplit(parts), certificate)


def caldav_account(
    account: str,
    password: str,
    *,
    url: str = "",
    user: str = "",
    certificate: str = "",
) -> CalDavAccount:
    """Fill in what a provider's preset knows; raises InvalidInputError for what is missing."""
    user = (user or account).strip()
    if not user:
        raise InvalidInputError("Name the account: --account me@example.com.", field="account")
    url = url.strip() or _url_of(account)
    parts = _address(url, field="url", noun="The address of a CalDAV server")
    if parts.username or parts.password:
        raise InvalidInputError(
            "Leave name and password out of --url: rota asks for the password.", field="url"
        )
    host = (parts.hostname or "").lower()
    for domain, provider in _WITHOUT_CALDAV.items():
        if host == domain or host.endswith(f".{domain}"):
            raise InvalidInputError(provider.advice, field="url")
    password = password.strip("\r\n")
    if not password.strip():
        raise InvalidInputError("No password was given.", field="secret")
    # Apple and Google show such passwords in groups, and people copy the spaces.
    if _GROUPED.fullmatch(password.strip()):
        password = re.sub(r"\s", "", password)
    if any(ord(letter) < 32 for letter in f"{password}{user}") or ":" in user:
        raise InvalidInputError(
            "A password or name has no line breaks, and a name no colon.", field="secret"
        )
    own = account.strip() if "@" in account else user if "@" in user else ""
    return CalDavAccount(urlunsplit(parts), user, password, certificate, own.lower())


def _url_of(account: str) -> str:
    known = provider_of(account) if "@" in account else None
    if known is None:
        raise InvalidInputError(
            f"rota does not know the CalDAV server of {account}. Name it: --url "
            "https://cloud.example.com.",
            field="url",
        )
    if not known.url:
        raise InvalidInputError(known.advice, field="account")
    return known.url


def is_private(parts: SplitResult) -> bool:
    """Return whether nobody can listen: TLS, or a server on this very machine."""
    if parts.scheme == "https":
        return True
    host = (parts.hostname or "").lower()
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _address(text: str, *, field: str, noun: str) -> SplitResult:
    """Read an address. It may be a secret: no error repeats it."""
    text = text.strip()
    if not text:
        raise InvalidInputError("No address was given.", field=field)
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInputError(f"{noun} cannot be read.", field=field) from None
    scheme = _SCHEMES.get(parts.scheme.lower(), parts.scheme.lower())
    if (
        scheme not in {"https", "http"}
        or not parts.hostname
        or any(letter.isspace() or ord(letter) < 32 for letter in text)
        or port == 0
    ):
        raise InvalidInputError(f"{noun} begins with https:// or webcal://.", field=field)
    parts = parts._replace(scheme=scheme, fragment="")
    if not is_private(parts):
        raise InvalidInputError(
            f"{noun} has to begin with https://: with http:// all on the way could read along.",
            field=field,
        )
    return parts
