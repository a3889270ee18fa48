"""Reads JSON from people and models strictly, and refuses what RFC 8259 does not allow.

Python's own reader accepts NaN and infinity, keeps the last of two equal keys, and turns 1e999 into
infinity. The writer meant none of these, so each is refused with a sentence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import shorten

DEEPEST: Final = 50
"""How deeply lists and objects may be nested."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MOST_DIGITS: Final = 308  # a longer number is infinite as a double


class NotJsonError(ValueError):
    """A text is not JSON. One sentence says why and where."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def read_json(text: str) -> Any:
    """Return the value of a text that is one JSON value; raises NotJsonError.

    A byte order mark at the beginning is passed over. Refused beside what is no JSON: a key that
    an object has twice, numbers beyond the range of a double, halves of surrogate pairs (they are
    not Unicode), and nesting of more than `DEEPEST`.
    """
    try:
        value = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as error:
        raise NotJsonError(
            f"The JSON has a fault at line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except RecursionError as error:
        raise NotJsonError(_TOO_DEEP) from error
    _check(value)
    return value


_TOO_DEEP: Final = f"The JSON is nested more than {DEEPEST} deep."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise NotJsonError(f"The JSON has the key {_shown(key)} twice in one object.")
        made[key] = value
    return made


def _no_constant(name: str) -> NoReturn:
    raise NotJsonError(f"The JSON holds {name}, which is not JSON.")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise NotJsonError(f"The JSON holds a number of more than {_MOST_DIGITS} digits.")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJsonError(f"The JSON holds a number that is too large: {shorten(digits, 20)}.")
    return number


def _check(value: Any) -> None:
    """Refuse what is nested too deeply, and text that is not Unicode."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise NotJsonError(f"The JSON holds half a surrogate pair in {_shown(item)}.")
            continue
        if not isinstance(item, dict | list):
            continue
        if depth > DEEPEST:
            raise NotJsonError(_TOO_DEEP)
        if isinstance(item, dict):
            waiting += [(key, depth) for key in item]
        inner = item.values() if isinstance(item, dict) else item
        waiting += [(child, depth + 1) for child in inner]


def _shown(text: str) -> str:
    short = text if len(text) <= 40 else f"{text[:39]}…"
    return ascii(short) if _SURROGATE.search(short) else repr(short)


def json_object(text: str, what: str, place: str) -> dict[str, Any]:
    """Read a JSON object that a person wrote; raises InvalidInputError.

    `what` names the text in messages ("The hints"), `place` is the error's field.
    """
    try:
        value = read_json(text)
    except NotJsonError as error:
        raise InvalidInputError(
            f"{what} cannot be read as JSON: {error.sentence}", field=place
        ) from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what}: give a JSON object, {{...}}.", field=place)
    return value


def is_same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal: true is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(v, other[k]) for k, v in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)
