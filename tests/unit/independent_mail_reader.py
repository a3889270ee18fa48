"""A second reading of mailboxes, by other means than rota's, to compare it with.

Python's `mailbox` splits the file, and the modern parser of `email` (policy `default`: `get_body`,
`get_content`, parsed Subject) decodes it, where rota splits by itself and decodes what the legacy
parser gives. Only From is decoded by the legacy functions here too: the modern one drops the name
of "ann@example.com (Ann Lee)". Values are compared in the form that both can give: white space of
headers collapsed, quotes around names left out, line ends as newlines, HTML not at all.
"""

import email.policy
import email.utils
import mailbox
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path

from rota.agents.tools.mime import MailMessage

CHARACTERS = 200


@dataclass(frozen=True)
class Reading:
    """What the two readings are compared by. `text` is None where there is no plain text."""

    sender: str
    subject: str
    date: datetime | None
    text: str | None


def read_independently(path: Path) -> Iterator[tuple[str, Reading]]:
    """Yield a name and a reading of each message, in the mailbox's order (Maildir: by name)."""
    box: mailbox.Mailbox[mailbox.Message]
    box = mailbox.Maildir(path, create=False) if path.is_dir() else mailbox.mbox(path, create=False)
    for key in sorted(box.keys()):
        message = email.message_from_bytes(box.get_bytes(key), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        legacy = email.message_from_bytes(box.get_bytes(key))
        yield str(key), _reading(message, str(make_header(decode_header(str(legacy["from"] or "")))))


def reading_of(message: MailMessage, *, like: Reading) -> Reading:
    """Return rota's reading in the same form."""
    return Reading(
        sender=_plain(message.sender),
        subject=message.subject,
        date=message.date,
        text=None if like.text is None else message.text[:CHARACTERS],
    )


def _reading(message: EmailMessage, sender: str) -> Reading:
    body = message.get_body(preferencelist=("plain",))
    text = None
    if body is not None:
        text = body.get_content(errors="replace").replace("\r\n", "\n")[:CHARACTERS]
    return Reading(
        sender=_plain(sender),
        subject=" ".join(str(message["subject"] or "").split()),
        date=_date(message),
        text=text,
    )


def _date(message: EmailMessage) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(str(message["date"]))
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=email.utils.localtime().tzinfo)


def _plain(sender: str) -> str:
    return " ".join(sender.replace('"', "").split())
