"""Mail that is sent or kept as a draft: its recipients are checked, and its bytes are built.

What is built has plain text, and exactly the recipients that the rules and the owner have seen:
`domain/approvals/mail_addresses.py` reads each of them as it reads them for a rule.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from typing import Any, Final

from rota.domain.approvals import mail_addresses
from rota.domain.approvals.host_names import ascii_host
from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.domain.text.shortening import quoted

MOST_RECIPIENTS: Final = 100
"""Recipients of one mail. Servers take no more at once, and nobody reads more before approving."""

LONGEST_TEXT: Final = 150_000
LONGEST_SUBJECT: Final = 500
_MOST_REFERENCES: Final = 30
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,400}>")
_NOT_IN_A_LINE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REPLY_PREFIX: Final = re.compile(
    r"\A\s*(?:(?:re|aw|antw|sv|vs|odp)\s*(?:\[\d{1,3}\])?\s*:\s*)+", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Thread:
    """The message that a mail answers, by Message-IDs; empty for a mail that answers none."""

    in_reply_to: str = ""
    references: tuple[str, ...] = ()

    @classmethod
    def after(cls, message_id: str, references: str) -> Thread:
        """Return the thread of an answer to a message with these headers, as they were sent."""
        answered = message_ids(message_id)[:1]
        earlier = [one for one in message_ids(references) if one not in answered]
        if len(earlier) >= _MOST_REFERENCES:  # the first names the thread, the last the place
            earlier = [earlier[0], *earlier[2 - _MOST_REFERENCES :]]
        return cls("".join(answered), (*earlier, *answered))


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A mail of one sender. `to`, `cc` and `bcc` are as `read_recipients` returned them."""

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    subject: str
    text: str
    message_id: str
    date: datetime
    thread: Thread = Thread()

    @property
    def recipients(self) -> tuple[str, ...]:
        """All who get it, each once, without their names."""
        return tuple(dict.fromkeys(one.addr_spec for one in (*self.to, *self.cc, *self.bcc)))

    @property
    def needs_utf8(self) -> bool:
        """Whether an address of it is one that only some servers know (RFC 6531)."""
        return not all(map(str.isascii, (self.sender.addr_spec, *self.recipients)))

    def as_bytes(self, *, with_bcc: bool = False) -> bytes:
        """Return the message.

        `with_bcc` is for a copy of the owner's own, and for Gmail, which sends it to those who are
        named there and leaves the header out.
        """
        message = EmailMessage(policy=_POLICY.clone(utf8=self.needs_utf8))
        message["From"] = self.sender
        for name, addresses in (("To", self.to), ("Cc", self.cc), ("Bcc", self.bcc)):
            if addresses and (name != "Bcc" or with_bcc):
                message[name] = addresses
        message["Subject"] = self.subject
        message["Date"] = self.date
        message["Message-ID"] = self.message_id
        if self.thread.in_reply_to:
            message["In-Reply-To"] = self.thread.in_reply_to
        if self.thread.references:
            message["References"] = " ".join(self.thread.references)
        message.set_content(self.text)
        return message.as_bytes()


class _MessageIds(UnstructuredHeader, BaseHeader):
    """A header of Message-IDs: folded between them, and none is encoded for being long."""

    def fold(self, *, policy: Any) -> str:
        return f"{self.name}: {f'{policy.linesep} '.join(self.split())}{policy.linesep}"


def _policy() -> EmailPolicy[Any]:
    registry = HeaderRegistry()
    for name in ("message-id", "in-reply-to", "references"):
        registry.map_to_type(name, _MessageIds)
    # Not every server takes 8 bits.
    return SMTP.clone(cte_type="7bit", header_factory=registry)


_POLICY: Final = _policy()


def message_id_for(call: str, sender: Address) -> str:
    """Return the Message-ID of the mail that a call sends: the same whenever it is tried.

    It tells nothing of the call. Who does not know the call cannot name the mail beforehand.
    """
    digest = hashlib.sha256(f"{call}\n{sender.addr_spec}".encode()).hexdigest()[:40]
    return f"<rota.{digest}@{ascii_host(sender.domain) or 'localhost'}>"


def message_ids(header: str) -> list[str]:
    """Return the Message-IDs in a header as it was sent, each once."""
    return list(dict.fromkeys(_MESSAGE_ID.findall(header)))


def reply_subject(subject: str) -> str:
    """Return the subject of an answer: `Re: `, once, in the place of what stood there."""
    bare = _REPLY_PREFIX.sub("", "".join(c for c in subject if _is_in_a_line(c))).strip()
    return f"Re: {bare}"[:LONGEST_SUBJECT].rstrip()


def read_sender(address: str) -> Address:
    """Return the address that mail is sent from; raises SetupRequiredError for none that is one."""
    try:
        return _address(address)
    except InvalidInputError as error:
        raise SetupRequiredError(
            f"Mail cannot be sent from {quoted(address)}, which is no address. Connect the mailbox "
            "again, with --account me@example.com.",
            what="connection",
        ) from error


def read_recipients(argument: str, given: Iterable[str]) -> tuple[Address, ...]:
    """Return the addresses of `to`, `cc` or `bcc`, each once; raises InvalidInputError."""
    found: dict[str, Address] = {}
    for text in given:
        try:
            address = _address(text)
        except InvalidInputError as error:
            raise InvalidInputError(f"{argument}: {error.message}", field=argument) from error
        found.setdefault(address.addr_spec.lower(), address)
    return tuple(found.values())


def check_recipients(*lists: Sequence[Address]) -> None:
    """Raise InvalidInputError for a mail to nobody, or to more than `MOST_RECIPIENTS`."""
    count = sum(map(len, lists))
    if not count:
        raise InvalidInputError("The mail has no recipient: name one in `to`.", field="to")
    if count > MOST_RECIPIENTS:
        raise InvalidInputError(
            f"The mail has {count:,} recipients; one mail has at most {MOST_RECIPIENTS}.",
            field="to",
        )


def check_text(subject: str, text: str) -> None:
    """Raise InvalidInputError for a subject or text that no mail can have."""
    if not all(map(_is_in_a_line, subject)):
        raise InvalidInputError(
            "The subject is one line, without line breaks or control characters.", field="subject"
        )
    if len(subject) > LONGEST_SUBJECT:
        raise InvalidInputError(
            f"The subject has {len(subject):,} characters; at most {LONGEST_SUBJECT} are sent.",
            field="subject",
        )
    if len(text) > LONGEST_TEXT:
        raise InvalidInputError(
            f"The text has {len(text):,} characters; at most {LONGEST_TEXT:,} are sent.",
            field="text",
        )
    if not text.strip() and not subject.strip():
        raise InvalidInputError("The mail has neither a subject nor a text.", field="text")


def _address(text: str) -> Address:
    """Read one address, with or without a name, as the rules read it."""
    read = mail_addresses.Recipients()
    mail_addresses.read_addresses(text, read)
    if read.unreadable or len(read.addresses) != 1:
        raise InvalidInputError(
            f"{quoted(text)} is not one mail address, such as ann@example.com or "
            "Ann <ann@example.com>."
        )
    before, opening, rest = text.strip().rpartition("<")
    name, bare = (before, rest.removesuffix(">")) if opening else ("", text)
    local, _, domain = bare.strip().rstrip(",;").rpartition("@")
    host = ascii_host(domain.strip())
    # What is quoted before an @, and an address without a domain, no provider gives out.
    if host is None or "." not in host or not local or '"' in local:
        raise InvalidInputError(f"{quoted(text)} is no address that a provider gives out.")
    return replace_name(Address(username=local, domain=host), name.strip().strip('"'))


def replace_name(address: Address, name: str) -> Address:
    """Return an address with another name."""
    return Address(name, address.username, address.domain)


def _is_in_a_line(c: str) -> bool:
    return unicodedata.category(c) not in _NOT_IN_A_LINE


def without(addresses: Iterable[Address], others: Iterable[str]) -> tuple[Address, ...]:
    """Return the addresses that are not among `others`, whatever their case."""
    left_out = {one.lower() for one in others}
    return tuple(one for one in addresses if one.addr_spec.lower() not in left_out)
