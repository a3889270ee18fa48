"""Whom an answer to a message goes to, by its headers (RFC 5322, 3.6.3)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from typing import Final

from rota.agents.tools.mail.addresses import read_addresses
from rota.agents.tools.mail.headers import Headers
from rota.agents.tools.mail.sending.outgoing import (
    Thread,
    read_recipients,
    reply_subject,
    without,
)
from rota.domain.errors import InvalidInputError

ANSWERED_HEADERS: Final = (
    *("From", "Reply-To", "To", "Cc", "Subject", "Message-ID", "References", "In-Reply-To"),
)
"""The headers of a message that say how it is answered."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a message is answered: to whom, with which subject, in which thread.

    `to` gets any answer, `others` an answer to all.
    """

    to: tuple[Address, ...]
    others: tuple[Address, ...]
    subject: str
    thread: Thread

    @classmethod
    def to_message(cls, headers: Headers, own: Iterable[str]) -> Reply:
        """Return how a message with these headers is answered by the owner of `own` addresses.

        It goes where Reply-To asks for, else to the sender. What the owner sent goes to those who
        got it. Raises InvalidInputError where the headers do not say plainly who that is.
        """
        mine = tuple(own)
        sender = _addresses(headers, "From")
        asked_for = _addresses(headers, "Reply-To") or sender
        got_it = _addresses(headers, "To")
        is_mine = bool(sender) and not without(sender, mine)
        to = without(got_it if is_mine else asked_for, mine)
        if not to:  # a mail to oneself
            to = got_it if is_mine else asked_for
        if not to:
            raise InvalidInputError("The message names nobody who could be answered.")
        others = without(
            (*got_it, *_addresses(headers, "Cc")), (*mine, *(one.addr_spec for one in to))
        )
        references = " ".join(headers.all("references")) or " ".join(headers.all("in-reply-to"))
        return cls(
            to,
            others,
            reply_subject(headers.text("subject")),
            Thread.after(" ".join(headers.all("message-id")), references),
        )

    def check(self, recipients: Iterable[Address]) -> None:
        """Raise InvalidInputError for a recipient to whom no answer to the message goes."""
        known = [one.addr_spec for one in (*self.to, *self.others)]
        if strangers := without(recipients, known):
            raise InvalidInputError(
                f"{strangers[0].addr_spec} has no part in that message. An answer goes to "
                f"{', '.join(known[:5])}; use send_mail to write to somebody else."
            )


def _addresses(headers: Headers, name: str) -> tuple[Address, ...]:
    """Return the addresses of a header, each once, and without names, which the sender made up.

    An address that no mail can be sent to is passed over in a list of others.
    """
    found = read_addresses(headers.all(name.lower()), name)
    if found.is_unclear:
        raise InvalidInputError(
            f"The {name} header of that message is not a plain list of addresses, so it is not "
            "answered. Use send_mail, if you know the address."
        )
    addresses: dict[str, Address] = {}
    for text in found.addresses:
        with suppress(InvalidInputError):
            addresses |= {one.addr_spec.lower(): one for one in read_recipients(name, [text])}
    return tuple(addresses.values())
