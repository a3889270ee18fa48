"""A second reading of mailboxes, by other means than rota's, to compare it with.

Python's `mailbox` splits the file, and the modern parser of `email` (policy `default`: `get_body`,
`get_content`, parsed Subject) decodes it, where rota splits by itself and decodes what the legacy
parser gives. Only From is read by the legacy functions here: the modern one drops the name of
"ann@example.com (Ann Lee)". Values are compared in the form that both can give: names and addresses
of From apart, white space of headers collapsed, line ends as newlines, HTML not at all. A date is
compared where the Date header has one.
"""

import email.policy
import email.utils
import mailbox
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path

from rota.agents.tools.mail.folder import MailFolder
from rota.agents.tools.mail.mime import MailMessage

CHARACTERS = 200


@dataclass(frozen=True)
class Reading:
    """What the two readings are compared by. `text` is None where there is no plain text."""

    sender: tuple[tuple[str, str], ...]  # of each author, the name and the address
    subject: str
    date: datetime | None
    text: str | None
    is_whole: bool  # no other part has text: rota shows those too, `get_body` does not


def read_independently(path: Path) -> Iterator[tuple[str, Reading]]:
    """Yield a name and a reading of each message, in the mailbox's order (Maildir: by name)."""
    box: mailbox.Mailbox[mailbox.Message]
    box = mailbox.Maildir(path, create=False) if path.is_dir() else mailbox.mbox(path, create=False)
    with closing(box):
        raw = [(key, box.get_bytes(key)) for key in sorted(box.keys())]
    for key, data in raw:
        message = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        yield str(key), _reading(message, str(email.message_from_bytes(data)["from"] or ""))


def reading_of(message: MailMessage, *, like: Reading) -> Reading:
    """Return rota's reading in the same form."""
    return Reading(
        sender=_authors(message.sender),
        subject=message.subject,
        date=None if like.date is None else message.date,
        text=None
        if like.text is None
        else message.text[: CHARACTERS if like.is_whole else len(like.text)],
        is_whole=like.is_whole,
    )


def _reading(message: EmailMessage, sender: str) -> Reading:
    body = message.get_body(preferencelist=("plain",))
    text = None
    if body is not None:
        text = body.get_content(errors="replace").replace("\r\n", "\n")[:CHARACTERS]
    return Reading(
        sender=_authors(sender),
        subject=" ".join(str(message["subject"] or "").split()),
        date=_date(message),
        text=text,
        is_whole=sum(part.get_content_maintype() == "text" for part in message.walk()) <= 1,
    )


def _date(message: EmailMessage) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(str(message["date"]))
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=email.utils.localtime().tzinfo)


def _authors(sender: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (" ".join(str(make_header(decode_header(name))).replace('"', "").split()), address)
        for name, address in email.utils.getaddresses([sender])
    )


def differences(path: Path) -> Iterator[str]:
    """Yield a line for each difference between rota's reading of a mailbox and this one."""
    theirs = list(read_independently(path))
    ours = list(MailFolder.open(path).messages())
    if len(ours) != len(theirs):
        yield f"{path.name}: {len(ours)} messages, independently {len(theirs)}"
    for (name, other), (_, message) in zip(theirs, ours, strict=False):
        own = reading_of(message, like=other)
        for part in fields(Reading):
            values = getattr(own, part.name), getattr(other, part.name)
            if values[0] != values[1]:
                yield f"{path.name} {name} {part.name}: {values[0]!r}, independently {values[1]!r}"
