"""A person's connections to accounts: their kinds, and how their owner sees them, without secrets.

A connection has a kind (`gmail`, `imap`, ...) and a name that is its person's own, by default that
of its kind. Everything but the kind's own code goes by the name: commands, tools, what is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.domain.text.shortening import quoted

MOST_REFUSALS: Final = 3
"""Logins that a server may refuse one after another: then no more are tried."""

EXPIRES_SOON: Final = timedelta(days=7)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


class Gives(StrEnum):
    """What a connection gives to tools."""

    MAIL = "mail"
    CALENDAR = "calendar"


class ConnectedBy(StrEnum):
    """How a kind is connected, and so what its secret is.

    GRANT: a `Grant` that a provider gave by OAuth. PASSWORD: an account with its password, such as
    an `ImapAccount`. ADDRESS: an address that is a secret itself.
    """

    GRANT = "grant"
    PASSWORD = "password"  # noqa: S105  no password, but the word
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of connection. `noun` stands at the beginning of a sentence."""

    name: str
    noun: str
    gives: Gives
    by: ConnectedBy


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("gmail", "Gmail", Gives.MAIL, ConnectedBy.GRANT),
        Kind("google-calendar", "Google Calendar", Gives.CALENDAR, ConnectedBy.GRANT),
        Kind("microsoft", "Microsoft 365", Gives.MAIL, ConnectedBy.GRANT),
        Kind("imap", "A mailbox", Gives.MAIL, ConnectedBy.PASSWORD),
        Kind("ics", "A calendar feed", Gives.CALENDAR, ConnectedBy.ADDRESS),
        Kind("caldav", "A calendar", Gives.CALENDAR, ConnectedBy.PASSWORD),
    )
}
"""All kinds, by name: the one table of them."""


def kind_named(name: str) -> Kind:
    """Return a kind; raises InvalidInputError."""
    if name not in KINDS:
        raise InvalidInputError(
            f"There is no kind of connection {quoted(name, 40)}; rota connects to "
            f"{', '.join(KINDS)}.",
            field="kind",
        )
    return KINDS[name]


def what_to_set_up(name: str) -> str:
    """Return what a SetupRequiredError names, by which schedules wait for a connection.

    `name` is a connection's; a kind's or "mail" or "calendar", where none is connected.
    """
    return f"connection:{name}"


def sending_from(name: str) -> str:
    """Return what lacks where a mailbox works that was connected for reading only.

    Only connecting it anew sets that up: it is no fault of the connection, and no check mends it.
    """
    return f"{what_to_set_up(name)}:send"


def setups_met(name: str, kind: str) -> tuple[str, ...]:
    """Return all that a connection which was just made or tried may set up.

    Itself, sending from it, its kind, and what it gives.
    """
    gives = [KINDS[kind].gives] if kind in KINDS else []
    whats = (what_to_set_up(name), sending_from(name), *map(what_to_set_up, (kind, *gives)))
    return tuple(dict.fromkeys(whats))


def resumes_when(what: str, message: str) -> str:
    """Return how a schedule resumes by itself that waits for a connection; "" for anything else.

    `what` and `message` are those of the SetupRequiredError: most messages name the command.
    """
    of, _, name = what.partition(":")
    if of != "connection":
        return ""
    if "`rota connections " in message:
        return "It continues by itself when that is done."
    name = name.removesuffix(":send")
    return (
        "It continues by itself when the connection works again; "
        f"`rota connections check {name}` tries it now."
    )


def connection_name(name: str, kind: str) -> str:
    """Return the name for a new connection, that of its kind for an empty one.

    Raises InvalidInputError for what is no name.
    """
    name = name.strip() or kind
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{quoted(name, 60)} cannot name a connection: a name has up to 40 small letters, "
            "digits, dots, hyphens and underscores, as in work-mail.",
            field="name",
        )
    return name


class ConnectionState(StrEnum):
    """Whether a connection works. No row has NOT_CHECKED: `state_at` tells it from the times."""

    OK = "ok"
    NOT_CHECKED = "not checked"
    EXPIRING = "expiring"
    NEEDS_YOU = "needs you"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class ConnectedAccount:
    """A connection as a tool sees it, to choose one by its name."""

    name: str
    kind: str
    account: str
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection as its owner sees it: without the secret.

    `problem` says what is wrong, in the provider's words, if something is.
    """

    name: str
    kind: str
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


class ReconnectRequiredError(SetupRequiredError):
    """A connection is at its end: only connecting it again mends it.

    Who raises it does not know the connection's name. `ConnectionService.using` adds the command.
    """

    def __init__(self, message: str, *, what: str = "connection") -> None:
        super().__init__(message, what=what)


class LoginRefusedError(ReconnectRequiredError):
    """A server refused a name and password."""


def chosen(connected: Iterable[ConnectedAccount], name: str, *, noun: str) -> ConnectedAccount:
    """Return the connection that a tool is to use, of at least one.

    Raises InvalidInputError, which names them all, for a name that none has, and for no name where
    there are several.
    """
    found = {one.name: one for one in connected}
    if name in found:
        return found[name]
    if not name and len(found) == 1:
        return next(iter(found.values()))
    named = ", ".join(f"{one.name} ({one.account or one.kind})" for one in found.values())
    said = f"There is no {noun} {quoted(name, 60)}." if name else f"There are several {noun}s."
    raise InvalidInputError(f"{said} Name one of these as `{noun}`: {named}.", field=noun)
