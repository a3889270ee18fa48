"""Searches of a mailbox: the part of Gmail's search syntax that works without Gmail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final

from rota.agents.tools.mail.addresses import read_addresses
from rota.agents.tools.mail.mime import MailMessage
from rota.domain.errors import InvalidInputError

OPERATORS: Final = (
    "from:", "to:", "cc:", "subject:", "after:", "before:", "newer_than:", "older_than:",
    "has:attachment", "is:unread", "is:read",
)  # fmt: skip
"""The operators of a search, as they are shown to a model."""

SYNTAX: Final = (
    'Words and "quoted phrases" must all occur in sender, recipients, subject or text, in any '
    "case. Operators: from:ann to:bob cc:eve subject:invoice after:2026/03/01 (that day or later) "
    "before:2026/03/08 newer_than:2d older_than:1m (d days, m months, y years) has:attachment "
    "is:unread is:read. A leading - excludes: -from:newsletter. Empty finds all."
)

_LONGEST: Final = 1_000
_TERM: Final = re.compile(
    r"""(?P<minus>-?)
    (?:(?P<operator>[A-Za-z_]+):(?=[^\s/]))?
    (?:"(?P<quoted>[^"]*)"?|(?P<bare>[^\s"]+))""",
    re.VERBOSE,
)
_AGE: Final = re.compile(r"(\d{1,5})([hdmy])", re.IGNORECASE)
_DAY: Final = re.compile(r"(\d{4})[/.-](\d{1,2})[/.-](\d{1,2})")
_UNIT: Final = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "m": timedelta(days=30),
    "y": timedelta(days=365),
}

Condition = Callable[[MailMessage], bool]


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `needs_body` says that the headers of a message are not enough to check it.

    `kind` and `value` say what is searched, for a server that can search by itself: an operator
    with its text or limit, or "words". If `kind` is empty, only this module can check the
    condition.
    """

    holds: Condition
    needs_body: bool = False
    kind: str = ""
    value: str | datetime = ""


@dataclass(frozen=True, slots=True)
class MailQuery:
    """A search whose terms must all hold."""

    terms: tuple[Term, ...]

    @property
    def needs_body(self) -> bool:
        """Whether a term needs the body."""
        return any(term.needs_body for term in self.terms)

    def headers_match(self, message: MailMessage) -> bool:
        """Whether the terms that need no body hold."""
        return all(term.holds(message) for term in self.terms if not term.needs_body)

    def body_matches(self, message: MailMessage) -> bool:
        """Whether the terms that need the body hold."""
        return all(term.holds(message) for term in self.terms if term.needs_body)


def parse_query(query: str, *, now: datetime) -> MailQuery:
    """Read a search in the syntax of `SYNTAX`; raises InvalidInputError for anything else.

    Days begin at midnight in the zone of `now`, which must be aware.
    """
    if len(query) > _LONGEST:
        raise InvalidInputError(f"A search has at most {_LONGEST} characters.", field="query")
    return MailQuery(tuple(_terms(query, now)))


def _terms(query: str, now: datetime) -> Iterator[Term]:
    for found in _TERM.finditer(query):
        operator = found["operator"]
        value = found["bare"] if found["quoted"] is None else found["quoted"]
        if operator is None:
            if found["quoted"] is None:
                _refuse_gmail_logic(value)
            term = _words(value)
        else:
            term = _operator(operator.lower(), value, now)
        yield _negated(term) if found["minus"] else term


def _refuse_gmail_logic(word: str) -> None:
    if word in {"OR", "AND", "AROUND", "|"} or word[0] in "({":
        raise InvalidInputError(
            f"{word} is not supported: all words of a search must occur. Search once for each "
            "alternative, or put the word in quotes to find it literally.",
            field="query",
        )


_ADDRESSES: Final[Mapping[str, Callable[[MailMessage], tuple[str, ...]]]] = {
    "from": lambda message: (message.sender,),
    "to": lambda message: (message.to, message.cc),
    "cc": lambda message: (message.cc,),
}


def _operator(name: str, value: str, now: datetime) -> Term:
    if name in _ADDRESSES:
        return replace(_addresses(value, _ADDRESSES[name]), kind=name, value=value)
    if name == "subject":
        wanted = _folded(value)
        return Term(lambda message: wanted in _folded(message.subject), kind="subject", value=value)
    match name, value.lower():
        case (("after" | "before"), _):
            return _date_term(name, _midnight(value, now))
        case (("newer_than" | "older_than"), _):
            return _date_term(
                "after" if name == "newer_than" else "before", _time_ago(name, value, now)
            )
        case "has", "attachment":
            return Term(
                lambda message: bool(message.attachments), needs_body=True, kind="has", value=value
            )
        case "is", ("unread" | "read") as state:
            return Term(
                lambda message: message.unread is (state == "unread"), kind="is", value=state
            )
        case _:
            raise InvalidInputError(
                f"{name}:{value} is not supported in a mailbox. Supported are "
                f"{', '.join(OPERATORS)}; put text with a colon in quotes to find it literally.",
                field="query",
            )


def _words(value: str) -> Term:
    wanted = _folded(value)

    def holds(message: MailMessage) -> bool:
        headers = (message.sender, message.to, message.cc, message.subject)
        return any(wanted in _folded(text) for text in (*headers, message.text))

    return Term(holds, needs_body=True, kind="words", value=value)


def _addresses(value: str, read: Callable[[MailMessage], tuple[str, ...]]) -> Term:
    """Look for a name or an address; an address is not found in a name that looks like it."""

    def holds(message: MailMessage) -> bool:
        return read_addresses(read(message), "").mentions(value)

    return Term(holds)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _date_term(side: str, limit: datetime) -> Term:
    def holds(message: MailMessage) -> bool:
        if message.date is None:
            return False
        return message.date >= limit if side == "after" else message.date < limit

    return Term(holds, kind=side, value=limit)


def _midnight(value: str, now: datetime) -> datetime:
    found = _DAY.fullmatch(value)
    try:
        day = date(*(int(number) for number in found.groups())) if found else None
    except ValueError:
        day = None
    if day is None:
        raise InvalidInputError(
            f"{value!r} is not a day. Write it as year/month/day: 2026/03/01.", field="query"
        )
    return datetime.combine(day, time(), tzinfo=now.tzinfo)


def _time_ago(name: str, value: str, now: datetime) -> datetime:
    found = _AGE.fullmatch(value)
    if found is None:
        raise InvalidInputError(
            f"{name}:{value} is not an age. Write a number and d, m or y: {name}:2d.",
            field="query",
        )
    age = int(found[1]) * _UNIT[found[2].lower()]
    earliest = datetime.min.replace(tzinfo=now.tzinfo) + timedelta(days=366)
    return now - age if now - earliest > age else earliest


def _negated(term: Term) -> Term:
    return Term(lambda message: not term.holds(message), term.needs_body)
