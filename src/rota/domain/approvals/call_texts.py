"""Calls that people see as what they make, a mail or an event, instead of as JSON.

For the tools of rota that write mails and events. Nothing that a call says is left out: with an
argument that has no place in what it makes, it is shown as any other call.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from rota.domain.text.shortening import shorten

MAIL_TOOLS: Final = frozenset({"send_mail", "draft_mail", "reply"})
"""The tools whose calls are mails. What a tool does, its name says."""

EVENT_TOOL: Final = "calendar_create_event"

_MAIL_LISTS: Final = ("to", "cc", "bcc")
_MAIL_TEXTS: Final = ("mailbox", "message_id", "subject", "text")
_EVENT_TEXTS: Final = ("title", "start", "end", "location", "description", "calendar")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NAMED: Final = 3
_LONGEST_ADDRESS: Final = 80
_LONGEST_SUBJECT: Final = 100
_LONGEST_TEXT: Final = 200


class ReadableCall:
    """What a call would make. The agent wrote all of it."""

    __slots__ = ()
    text: str

    @property
    @abstractmethod
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What stands above the text: names and values, those that say nothing left out."""

    @abstractmethod
    def in_brief(self) -> str:
        """Return the most of it that a notification has room for, on one line."""

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


@dataclass(frozen=True, slots=True)
class MailRequest(ReadableCall):
    """A mail that a call would send, or keep as a draft. The agent wrote all of it.

    `answers` is the id of the message that it answers; `mailbox` names the connection. rota sets
    `sender`, the address of that, where it is known.
    """

    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = ""
    text: str = ""
    mailbox: str = ""
    answers: str = ""
    sender: str = ""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What stands above the text: names and values, those that say nothing left out."""
        mailbox = f"the mailbox {self.mailbox}" if self.mailbox else ""
        return _headers(
            ("From", ", ".join(filter(None, (self.sender, mailbox)))),
            ("To", ", ".join(self.to)),
            ("Cc", ", ".join(self.cc)),
            ("Bcc", ", ".join(self.bcc)),
            ("Answers", f"the message {self.answers}" if self.answers else ""),
            ("Subject", self.subject),
        )

    def in_brief(self) -> str:
        """Return who gets it, and its subject, on one line."""
        all_of_them = [*self.to, *self.cc, *self.bcc]
        named = [shorten(_line(one), _LONGEST_ADDRESS) for one in all_of_them[:_NAMED]]
        more = len(all_of_them) - len(named)
        said = [f"to {', '.join(named)}{f' and {more} more' if more else ''}"] if named else []
        if subject := _line(self.subject):
            said.append(f"\u201c{shorten(subject, _LONGEST_SUBJECT)}\u201d")
        return ", ".join(said)


def mail_of(tool_name: str, arguments: Mapping[str, Any]) -> MailRequest | None:
    """Return the mail that a call would write, None for a call that is to be shown as it is."""
    if tool_name not in MAIL_TOOLS:
        return None
    given = dict(arguments)
    to_all = given.pop("all", False)  # what it meant is in the recipients
    lists = {name: given.pop(name, []) for name in _MAIL_LISTS}
    texts = {name: given.pop(name, "") for name in _MAIL_TEXTS}
    if (
        given
        or not isinstance(to_all, bool)
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


@dataclass(frozen=True, slots=True)
class EventRequest(ReadableCall):
    """An event that a call would make. `text` is its description."""

    title: str = ""
    start: str = ""
    end: str = ""
    minutes: int | None = None
    location: str = ""
    attendees: tuple[str, ...] = ()
    calendar: str = ""
    text: str = ""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What stands above the description."""
        return _headers(
            ("Event", self.title),
            ("When", self.when()),
            ("Where", self.location),
            ("Invites", ", ".join(self.attendees)),
            ("Calendar", self.calendar),
        )

    def when(self) -> str:
        """Say when it is, with the day of the week."""
        said = _said(self.start)
        if self.minutes is not None:
            said += f" for {self.minutes} minutes"
        if self.end and self.end != self.start:
            is_same_day = "T" in self.end and self.start[:10] == self.end[:10]
            said += f" to {self.end[11:] if is_same_day else _said(self.end)}"
        return said

    def in_brief(self) -> str:
        """Return its title, when it is and whom it invites, on one line."""
        said = [f"\u201c{shorten(_line(self.title), _LONGEST_SUBJECT)}\u201d", self.when()]
        if self.attendees:
            more = len(self.attendees) - _NAMED
            named = ", ".join(
                shorten(_line(one), _LONGEST_ADDRESS) for one in self.attendees[:_NAMED]
            )
            said.append(f"inviting {named}{f' and {more} more' if more > 0 else ''}")
        return _line(", ".join(said))


def event_of(tool_name: str, arguments: Mapping[str, Any]) -> EventRequest | None:
    """Return the event that a call would make, None for a call that is to be shown as it is."""
    if tool_name != EVENT_TOOL:
        return None
    given = dict(arguments)
    texts = {name: given.pop(name, "") for name in _EVENT_TEXTS}
    minutes, attendees = given.pop("minutes", None), given.pop("attendees", [])
    if (
        given
        or not all(isinstance(value, str) for value in texts.values())
        or not (minutes is None or type(minutes) is int)
        or not isinstance(attendees, list)
        or not all(isinstance(one, str) for one in attendees)
    ):
        return None
    return EventRequest(
        title=texts["title"],
        start=texts["start"],
        end=texts["end"],
        minutes=minutes,
        location=texts["location"],
        attendees=tuple(attendees),
        calendar=texts["calendar"],
        text=texts["description"],
    )


def readable_call(
    tool_name: str, arguments: Mapping[str, Any], *, sender: str = ""
) -> ReadableCall | None:
    """Return the mail or event that a call would make, None for one to be shown as it is.

    `sender` is the address that a mail would come from, where it is known.
    """
    mail = mail_of(tool_name, arguments)
    if mail is not None:
        return replace(mail, sender=sender)
    return event_of(tool_name, arguments)


def call_in_brief(tool_name: str, arguments: Mapping[str, Any]) -> str:
    """Return a tool's name, and the most of what the call would make, on one line."""
    made = readable_call(tool_name, arguments)
    said = made.in_brief() if made is not None else ""
    return f"{tool_name} {said}" if said else tool_name


def _said(moment: str) -> str:
    """Return a time with its day of the week, or what else stands there as it is."""
    try:
        day = date.fromisoformat(moment) if len(moment) == 10 else datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{_DAYS[day.weekday()]} {moment.replace('T', ' ')}"


def _headers(*named: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Return headers that say something. A line break would begin what looks like another."""
    return tuple((name, value.replace("\n", "\\n")) for name, value in named if value)


def _line(text: str) -> str:
    """Return text with its white space collapsed."""
    return " ".join(text.split())
