"""The words of a phrase, the values of its clauses, and the errors that refuse it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple, NoReturn

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted

_LONGEST_PHRASE: Final = 200
YEARS_AHEAD: Final = 100
DAY_MINUTES: Final = 24 * 60
LAST: Final = -1

MONTH_LENGTHS: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
ORDINALS: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": LAST}
WORKING_DAY: Final = ("weekday", "weekdays", "workday", "workdays")
DAY_GROUPS: Final = {
    **dict.fromkeys(WORKING_DAY, frozenset(range(1, 6))),
    **dict.fromkeys(("weekend", "weekends"), frozenset({0, 6})),
}
ADVERBS: Final = {
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "yearly": "year",
    "annually": "year",
}
EVERY: Final = ("every", "each")
TO: Final = ("to", "through", "until", "-")
START: Final = ("starting", "beginning")
EVERY_OTHER: Final = ("biweekly", "fortnightly", "alternate")
RELATIVE_DAYS: Final = ("today", "tomorrow", "next")
NAMED_TIMES: Final = {"noon": 12 * 60, "midnight": 0}
UNITS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), timedelta(weeks=1)),
}
EVEN_STEPS: Final = frozenset(
    {timedelta(minutes=m) for m in range(1, 31) if 60 % m == 0}
    | {timedelta(hours=h) for h in range(1, 13) if 24 % h == 0}
)
_TOKEN: Final = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})(?!\d)(?:t(?=\d))?"
    r"|(?P<clock>\d{1,2}:\d{2})(?![\d:])|(?P<mark>:\d{2})(?![\d:])"
    r"|(?P<ordinal>\d{1,2}(?:st|nd|rd|th)\b)|(?P<number>\d+)(?![\d:.])"
    r"|(?P<word>[ap]\.m\.|[a-z]+)|(?P<comma>,)|(?P<dash>[-\u2013])",
    re.ASCII | re.IGNORECASE,
)


class Token(NamedTuple):
    """A word, number or mark of a phrase, in lower case and as written."""

    kind: str
    value: str
    written: str


END: Final = Token("end", "", "")


def tokens(text: str) -> list[Token]:
    """Return the tokens of a phrase; raises InvalidInputError."""
    if len(text) > _LONGEST_PHRASE:
        refuse(f"The phrase {quoted(text)} is longer than {_LONGEST_PHRASE} characters")
    tokens: list[Token] = []
    rest = text.strip()
    while rest:
        found = _TOKEN.match(rest)
        if found is None:
            not_understood(rest.split()[0])
        kind = found.lastgroup or ""
        value = found[kind].lower().replace("\u2013", "-").replace(".", "")
        tokens.append(Token(kind, value, found[kind]))
        rest = rest[found.end() :].lstrip()
    if not tokens:
        refuse("The phrase is empty; write for example 'weekdays at 7:30'")
    return tokens


class Reader:
    """The tokens of a phrase, and the position up to which they are read."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._read = 0

    @property
    def is_done(self) -> bool:
        """Return whether all tokens are read."""
        return self._read >= len(self._tokens)

    def peek(self, ahead: int = 0) -> Token:
        """Return a token without reading it, `END` past the last."""
        place = self._read + ahead
        return self._tokens[place] if 0 <= place < len(self._tokens) else END

    def after(self, count: int) -> Reader:
        """Return a reader that is so many tokens ahead of this one."""
        ahead = Reader(self._tokens)
        ahead._read = self._read + count
        return ahead

    def take(self) -> Token:
        """Read the next token."""
        token = self.peek()
        self._read += 1
        return token

    def accept(self, *values: str) -> bool:
        """Read the next token if it is one of these; returns whether it was."""
        if self.peek().value not in values:
            return False
        self._read += 1
        return True

    def continues(self, starts: Callable[[Reader], bool], *fillers: str) -> bool:
        """Step over a list's comma or "and" if one more of its items follows, else stay."""
        mark = self._read
        if self.accept(",") | self.accept("and"):
            while self.accept(*fillers):
                pass
            if starts(self):
                return True
        self._read = mark
        return False


class Date(NamedTuple):
    """A day of a month; the year None means the next one."""

    year: int | None
    month: int
    day: int


@dataclass(frozen=True, slots=True)
class Days:
    """Days, given in one of three ways.

    `needs_month`: they are clear only with a month beside them. `is_bare`: a day of the month that
    is a number alone, so that one month beside it makes a date.
    """

    weekdays: frozenset[int] = frozenset()
    nth_weekdays: tuple[str, ...] = ()
    month_days: tuple[str, ...] = ()
    needs_month: bool = False
    is_bare: bool = False
    written: str = ""


@dataclass(slots=True)
class Clauses:
    """What the clauses of a phrase say; times of day are in minutes since midnight."""

    period: str = ""
    step: timedelta | None = None
    delay: timedelta | None = None
    window: tuple[int, int] | None = None
    days: Days | None = None
    months: frozenset[int] = frozenset()
    of_the_month: bool = False
    dates: tuple[Date, ...] = ()
    start: Date | None = None
    times: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()
    is_every_nth: bool = False
    parts: dict[str, str] = field(default_factory=dict)

    def note(self, part: str, token: Token) -> None:
        """Refuse a part of the rule that was named before: it would be guessed which is meant."""
        if part in self.parts:
            refuse(
                f"{quoted(token.written)} comes after {quoted(self.parts[part])}: a phrase has "
                f"one {part}, so write two schedules, or one list such as 'mon and fri at 7 and 19'"
            )
        self.parts[part] = token.written


def not_understood(written: str) -> NoReturn:
    """Refuse a word that belongs to no phrase."""
    refuse(
        f"{quoted(written)} is not understood; write for example 'weekdays at 7:30', 'every 15 "
        "minutes from 9 to 17' or 'on 24 December at 18:00'"
    )


def refuse(sentence: str) -> NoReturn:
    """Raise InvalidInputError with a sentence."""
    raise InvalidInputError(f"{sentence}.", field="when")
