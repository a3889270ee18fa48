"""Turns a search into IMAP criteria that find at least every message that matches.

Servers compare in different ways (some only whole words), know dates to the day, and cannot search
for attachments. So each condition is sent in a looser form, or not at all. `query.py` then checks
each message that the server found.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from rota.agents.tools.mail.query import MailQuery, Term

_MARGIN: Final = timedelta(days=2)
"""A day that a sender's clock may be ahead, and another for zones: servers compare days."""

_PLAIN: Final = re.compile(r"[^\x00-\x20\x7f-\xa0\s(){}\[\]%*\"\\\ud800-\udfff]+")
"""Pieces of a text that mean nothing to the protocol: IMAPClient leaves ( and { as they are. They
occur wherever the whole does, a phrase that is folded over lines among it."""

_SAFE: Final = ("words", "subject")

_EVERYTHING: Final[list[Any]] = ["UNDELETED"]


_NO_TEXT: Final[list[Any]] = [
    *("HEADER", "CONTENT-TYPE", ""),
    *("NOT", ["HEADER", "CONTENT-TYPE", "text/plain"]),
    *("NOT", ["HEADER", "CONTENT-TYPE", "text/html"]),
]
_MAY_HAVE_ATTACHMENTS: Final[list[Any]] = [
    *("OR", ["HEADER", "CONTENT-DISPOSITION", ""]),
    *("OR", ["HEADER", "CONTENT-TYPE", "multipart"], _NO_TEXT),
]
"""All but a mere text: `multipart/related; type="text/html"` may have some."""


def criteria(query: MailQuery, *, ascii_only: bool = False) -> list[Any]:
    """Return the criteria of a SEARCH that finds at least what matches, as IMAPClient takes them.

    With `ascii_only`, for a server that knows no UTF-8, what is not ASCII is left to be judged.
    """
    asked = list(_EVERYTHING)
    for term in query.terms:
        wanted = _criterion(term)
        if not (ascii_only and not is_ascii(wanted)):
            asked += wanted
    return asked


def is_ascii(asked: list[Any]) -> bool:
    """Whether nothing in the criteria is beyond ASCII."""
    return all(is_ascii(c) if isinstance(c, list) else str(c).isascii() for c in asked)


def _criterion(term: Term) -> list[Any]:
    value = term.value
    if isinstance(value, datetime):
        return _since(value) if term.kind == "after" else _before(value)
    if term.kind == "is":
        return ["UNSEEN" if value == "unread" else "SEEN"]
    if term.kind == "has":
        return _MAY_HAVE_ATTACHMENTS
    # A domain that is not ASCII may be written as xn--.
    words = _PLAIN.findall(value) if term.kind in _SAFE or value.isascii() else []
    return [part for word in words for part in _text(term.kind, word)]


def _text(kind: str, word: str) -> list[Any]:
    match kind:
        case "words":
            return ["TEXT", word]
        case "to":
            return ["OR", "TO", word, "CC", word]
        case "subject" | "from" | "cc":
            return [kind.upper(), word]
        case _:
            return []


def _since(limit: datetime) -> list[Any]:
    return ["SINCE", _day(limit, -_MARGIN)]


def _before(limit: datetime) -> list[Any]:
    day = _day(limit, _MARGIN)
    return ["OR", "NOT", ["HEADER", "DATE", ""], "OR", ["BEFORE", day], ["SENTBEFORE", day]]


def _day(limit: datetime, margin: timedelta) -> date:
    """Return the day that much away, and the first or last that IMAP can write where it is far."""
    first, last = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
    return (min(max(limit, first - 2 * margin), last) + margin).astimezone(UTC).date()
