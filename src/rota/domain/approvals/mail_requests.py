"""Requests to send a mail, read from a call's arguments: people see a mail instead of JSON.

For the tools of rota that write mails. Nothing that a call says is left out: with an argument that
has no place in a mail, it is shown as any other call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rota.domain.text.shortening import shorten

MAIL_TOOLS: Final = frozenset({"send_mail", "draft_mail", "reply"})
"""The tools whose calls are mails. What a tool does, its name says."""

_LISTS: Final = ("to", "cc", "bcc")
_TEXTS: Final = ("mailbox", "message_id", "subject", "text")
_NAMED: Final = 3
_LONGEST_ADDRESS: Final = 80
_LONGEST_SUBJECT: Final = 100
_LONGEST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class MailRequest:
    """A mail that a call would send, or keep as a draft. The agent wrote all of it.

    `answers` is the id of the message that it answers; `mailbox` names the connection.
    """

    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = ""
    text: str = ""
    mailbox: str = ""
    answers: str = ""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What stands above the text: names and values, those that say nothing left out."""
        named = (
            ("From", f"the mailbox {self.mailbox}" if self.mailbox else ""),
            ("To", ", ".join(self.to)),
            ("Cc", ", ".join(self.cc)),
            ("Bcc", ", ".join(self.bcc)),
            ("Answers", f"the message {self.answers}" if self.answers else ""),
            ("Subject", self.subject),
        )
        # A line break would begin what looks like another header.
        return tuple((name, value.replace("\n", "\\n")) for name, value in named if value)

    def in_brief(self) -> str:
        """Return who gets it, and its subject, on one line."""
        all_of_them = [*self.to, *self.cc, *self.bcc]
        named = [shorten(_line(one), _LONGEST_ADDRESS) for one in all_of_them[:_NAMED]]
        more = len(all_of_them) - len(named)
        said = [f"to {', '.join(named)}{f' and {more} more' if more else ''}"] if named else []
        if subject := _line(self.subject):
            said.append(f"\u201c{shorten(subject, _LONGEST_SUBJECT)}\u201d")
        return ", ".join(said)

    def in_a_list(self) -> str:
        """Return its headers and the beginning of its text, on one line."""
        said = [f"{name}: {_line(value)}" for name, value in self.headers]
        if text := _line(self.text):
            said.append(f"\u201c{shorten(text, _LONGEST_TEXT)}\u201d")
        return "; ".join(said)

    @property
    def is_cut_in_a_list(self) -> bool:
        """Whether `in_a_list` does not have all of the text."""
        return len(_line(self.text)) > _LONGEST_TEXT


def mail_of(tool_name: str, arguments: Mapping[str, Any]) -> MailRequest | None:
    """Return the mail that a call would write, None for a call that is to be shown as it is."""
    if tool_name not in MAIL_TOOLS:
        return None
    given = dict(arguments)
    given.pop("all", None)  # what it meant is in the recipients
    lists = {name: given.pop(name, []) for name in _LISTS}
    texts = {name: given.pop(name, "") for name in _TEXTS}
    if (
        given
        or not all(isinstance(value, str) for value in texts.values())
        or not all(
            isinstance(value, list) and all(isinstance(one, str) for one in value)
            for value in lists.values()
        )
    ):
        return None
    return MailRequest(
        to=tuple(lists["to"]),
        cc=tuple(lists["cc"]),
        bcc=tuple(lists["bcc"]),
        subject=texts["subject"],
        text=texts["text"],
        mailbox=texts["mailbox"],
        answers=texts["message_id"],
    )


def call_in_brief(tool_name: str, arguments: Mapping[str, Any]) -> str:
    """Return a tool's name, and for a mail also who gets it and its subject, on one line."""
    mail = mail_of(tool_name, arguments)
    said = mail.in_brief() if mail is not None else ""
    return f"{tool_name} {said}" if said else tool_name


def _line(text: str) -> str:
    return " ".join(text.split())
