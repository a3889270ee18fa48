"""The tests that rules make of an argument's value, by name: pure functions of two JSON values."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from rota.domain.approvals.argument_paths import UNDECIDED
from rota.domain.approvals.file_paths import is_path_under, normal_path
from rota.domain.approvals.host_names import ascii_host, is_host_within, url_host
from rota.domain.errors import InvalidInputError
from rota.domain.text.json_values import is_same

LONGEST_TEXT: Final = 100_000
"""Characters of an argument that are compared; a longer one cannot be decided."""

MOST_VALUES: Final = 200
_LONGEST_VALUE: Final = 2_000
_PATTERN_BYTES: Final = 1_000_000

Values = tuple[Any, ...]
Passed = tuple[bool | None, str]
"""Whether a value passes (None: that cannot be decided), and what it is, in words."""


@dataclass(frozen=True, slots=True)
class ArgumentTest:
    """One test: which values a rule gives it, and how it judges an argument's value.

    `read` checks one value of the rule and returns the form to compare; raises InvalidInputError.
    `passes` is None if the test is not about one value at a time.
    """

    most: int
    read: Callable[[Any], Any]
    passes: Callable[[Any, Values], Passed] | None = None
    least: int = 1

    def checked(self, name: str, values: tuple[Any, ...]) -> Values:
        """Return a rule's values as they are compared; raises InvalidInputError."""
        if not self.least <= len(values) <= self.most:
            several = f"from {self.least} to {self.most} values"
            wanted = {0: "no value", 1: "one value"}.get(self.most, several)
            raise InvalidInputError(f"{name} takes {wanted}.", field="when")
        try:
            return tuple(self.read(value) for value in values)
        except InvalidInputError as error:
            raise InvalidInputError(f"{name} needs {error.message}", field="when") from error

    def of(self, value: Any, values: Values) -> Passed:
        """Say whether one value of an argument passes."""
        if value is UNDECIDED:
            return None, "it cannot be read, or some items do not have it"
        if self.passes is None:
            raise TypeError("this test is not of one value")
        return self.passes(value, values)


def shown(value: Any) -> str:
    """Return a value as it stands in an explanation: short, on one line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of too many digits
        text = "a number of very many digits"
    return text if len(text) <= 60 else f"{text[:59]}\u2026"


def is_empty(value: Any) -> bool:
    """Return whether a value says nothing: null, or an empty text, list or object."""
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(value: Any) -> Any:
    if value is None:
        raise _needs("a value; for null write `absent`")
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        raise _needs(f"texts of at most {_LONGEST_VALUE} characters")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > _LONGEST_VALUE:
        raise _needs(f"texts of 1 to {_LONGEST_VALUE} characters, not {shown(value)}")
    return value


def _number(value: Any) -> Any:
    if not _is_number(value) or value != value or abs(value) == float("inf"):  # noqa: PLR0124  NaN is not itself
        raise _needs(f"a number, not {shown(value)}")
    return value


def _size(value: Any) -> Any:
    if not _is_number(value) or not 0 <= value <= 1_000_000_000 or value != int(value):
        raise _needs(f"a whole number from 0, not {shown(value)}")
    return int(value)


def _host(value: Any) -> str:
    host = ascii_host(_text(value).removeprefix("@"))
    if host is None:
        raise _needs(f"the name of a host, such as example.org, not {shown(value)}")
    return host


def _folder(value: Any) -> str:
    folder = normal_path(_text(value))
    if folder is None:
        raise _needs(f"a plain path without `..`, not {shown(value)}")
    return folder


def _pattern(value: Any) -> str:
    _compiled(_text(value))
    return str(value)


@lru_cache(maxsize=500)
def _compiled(pattern: str) -> Callable[[Any], bool]:
    """Return a test of whole texts, in time linear in their length; raises InvalidInputError."""
    # Imported here: only rules with patterns need it, and no command should wait for it.
    from jsonschema_rs import (  # noqa: PLC0415  as said above
        Draft202012Validator,
        RegexOptions,
        ValidationError,
    )

    def compiled(text: str) -> Callable[[Any], bool]:
        options = RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES)
        schema = {"type": "string", "pattern": text}
        return Draft202012Validator(schema, offline=True, pattern_options=options).is_valid

    try:
        compiled(pattern)  # by itself: what closes a group here would escape the anchors
        return compiled(f"^(?:{pattern})$")
    except (ValidationError, ValueError) as error:
        raise _needs(
            "a regular expression without look-around and back-references; "
            f"{shown(pattern)} is not one, or repeats too much"
        ) from error


def _needs(what: str) -> InvalidInputError:
    return InvalidInputError(f"{what}.", field="when")


def _equals(value: Any, wanted: Values) -> Passed:
    return any(is_same(value, one) for one in wanted), f"it is {shown(value)}"


def _compared(compare: Callable[[Any, Any], bool], value: Any, wanted: Values) -> Passed:
    if not _is_number(value):
        return None, f"{shown(value)} is not a number"
    return compare(value, wanted[0]), f"it is {shown(value)}"


def _length(compare: Callable[[Any, Any], bool], value: Any, wanted: Values) -> Passed:
    if not isinstance(value, str):
        return None, f"{shown(value)} is not a text"
    return compare(len(value), wanted[0]), f"it has {len(value)} characters"


def _count(compare: Callable[[Any, Any], bool], value: Any, wanted: Values) -> Passed:
    if not isinstance(value, list | tuple | Mapping):
        return None, f"{shown(value)} is not a list"
    return compare(len(value), wanted[0]), f"it has {len(value)} items"


def _of_text(test: Callable[[str, Values], Passed], value: Any, wanted: Values) -> Passed:
    if not isinstance(value, str):
        return None, f"{shown(value)} is not a text"
    if len(value) > LONGEST_TEXT:
        return None, f"it is longer than {LONGEST_TEXT} characters"
    return test(value, wanted)


def _starts(value: str, wanted: Values) -> Passed:
    return value.startswith(wanted), f"it is {shown(value)}"


def _ends(value: str, wanted: Values) -> Passed:
    return value.endswith(wanted), f"it is {shown(value)}"


def _matches(value: str, wanted: Values) -> Passed:
    return _compiled(wanted[0])(value), f"it is {shown(value)}"


def _url_host(value: str, wanted: Values) -> Passed:
    host = url_host(value)
    if host is None:
        return None, f"{shown(value)} is not a plain URL"
    return any(is_host_within(host, name) for name in wanted), f"its host is {host}"


def _path_under(value: str, wanted: Values) -> Passed:
    path = normal_path(value)
    if path is None:
        return None, f"{shown(value)} is not a plain path"
    under = [is_path_under(path, folder) for folder in wanted]
    decided = True if True in under else None if None in under else False
    return decided, f"it is {shown(path)}"


PRESENCE: Final = frozenset({"present", "absent"})
MAIL: Final = frozenset({"email_domain", "recipients_over", "recipients_at_most"})
ONLY: Final = "only"

TESTS: Final[Mapping[str, ArgumentTest]] = {
    "present": ArgumentTest(0, _json, least=0),
    "absent": ArgumentTest(0, _json, least=0),
    ONLY: ArgumentTest(MOST_VALUES, _text, least=0),
    "email_domain": ArgumentTest(MOST_VALUES, _host),
    "recipients_over": ArgumentTest(1, _size),
    "recipients_at_most": ArgumentTest(1, _size),
    "equals": ArgumentTest(1, _json, _equals),
    "in": ArgumentTest(MOST_VALUES, _json, _equals),
    "starts_with": ArgumentTest(MOST_VALUES, _text, partial(_of_text, _starts)),
    "ends_with": ArgumentTest(MOST_VALUES, _text, partial(_of_text, _ends)),
    "matches": ArgumentTest(1, _pattern, partial(_of_text, _matches)),
    "url_host": ArgumentTest(MOST_VALUES, _host, partial(_of_text, _url_host)),
    "path_under": ArgumentTest(MOST_VALUES, _folder, partial(_of_text, _path_under)),
    "over": ArgumentTest(1, _number, partial(_compared, operator.gt)),
    "at_least": ArgumentTest(1, _number, partial(_compared, operator.ge)),
    "under": ArgumentTest(1, _number, partial(_compared, operator.lt)),
    "at_most": ArgumentTest(1, _number, partial(_compared, operator.le)),
    "length_over": ArgumentTest(1, _size, partial(_length, operator.gt)),
    "length_at_most": ArgumentTest(1, _size, partial(_length, operator.le)),
    "count_over": ArgumentTest(1, _size, partial(_count, operator.gt)),
    "count_at_most": ArgumentTest(1, _size, partial(_count, operator.le)),
}

TEXT_VALUED: Final = frozenset(
    name for name, test in TESTS.items() if test.read in {_text, _host, _folder, _pattern}
)
"""Tests whose values are texts, however they are written."""
