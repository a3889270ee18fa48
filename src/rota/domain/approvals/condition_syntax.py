"""Conditions as people write them: `amount_eur over 100`, `to email_domain example.org`.

    ARGUMENT[,ARGUMENT] [not] TEST [VALUE ...] [or missing | unless missing]

A value is a word, a number, true, false, or a text in double quotes as in JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from rota.domain.approvals.argument_tests import TESTS, TEXT_VALUED
from rota.domain.approvals.conditions import WORDS, Condition, Missing
from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted, shorten
from rota.domain.text.validation import near_or_all

_TOKEN: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"(?=\s|$)|[^\s"]+(?=\s|$))')
_SIGNS: Final = {
    ">": "over",
    ">=": "at_least",
    "<": "under",
    "<=": "at_most",
    "=": "equals",
    "==": "equals",
    "is": "equals",
}
_ABSENCE: Final[dict[str, Missing]] = {"or": "matches", "unless": "does_not_match"}
LONGEST: Final = 20_000


def parse_condition(text: str) -> Condition:
    """Read one condition; raises InvalidInputError that says what is wrong where."""
    tokens = _tokens(text)
    missing: Missing | None = None
    if len(tokens) > 2 and tokens[-1] == "missing" and tokens[-2] in _ABSENCE:
        missing = _ABSENCE[tokens[-2]]
        tokens = tokens[:-2]
    if len(tokens) < 2:
        raise _wrong(text, "it is of the form ARGUMENT TEST VALUE, such as `amount_eur over 100`")
    paths, rest = tokens[0].split(","), tokens[1:]
    negated = rest[0] == "not"
    if negated:
        rest = rest[1:]
    if not rest:
        raise _wrong(text, "a test is missing after `not`")
    test = _SIGNS.get(rest[0], rest[0])
    if test not in TESTS:
        raise _wrong(
            text,
            f"there is no test {quoted(rest[0], 40)}; {near_or_all(rest[0], TESTS).rstrip('.')}",
        )
    for token in rest[1:]:
        if token in WORDS:
            raise _wrong(text, f"{token!r} stands in the wrong place; as a value, put it in quotes")
    values = [_value(token, text, as_text=test in TEXT_VALUED) for token in rest[1:]]
    try:
        return Condition.make(paths, test, values, is_negated=negated, missing=missing)
    except InvalidInputError as error:
        raise _wrong(text, error.message.rstrip(".")) from error


def _tokens(text: str) -> list[str]:
    if len(text) > LONGEST:
        raise _wrong(text, f"it is longer than {LONGEST} characters")
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        found = _TOKEN.match(stripped, position)
        if found is None:
            raise _wrong(text, "a quote is not closed, or is inside a word")
        tokens.append(found[1])
        position = found.end()
    return tokens


def _value(token: str, text: str, *, as_text: bool) -> Any:
    if token.startswith('"'):
        try:
            return json.loads(token)
        except ValueError as error:
            raise _wrong(text, f"{shorten(token, 40)} is no text as JSON has it") from error
    if as_text:
        return token
    try:
        value = json.loads(token, parse_constant=_no_constant)
    except ValueError:
        return token
    return token if isinstance(value, list | dict) else value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _wrong(text: str, said: str) -> InvalidInputError:
    shown = text if len(text) <= 80 else f"{text[:79]}\u2026"
    return InvalidInputError(f"The condition `{shown}` is not understood: {said}.", field="when")
