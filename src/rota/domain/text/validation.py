"""Says what is wrong with a value that a person wrote, in the person's own terms."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

_WORDS: Final = {
    "extra_forbidden": "there is no such field",
    "missing": "this is missing",
    "model_attributes_type": "this is an object",
    "model_type": "this is a mapping of names to values",
    "dict_type": "this is a mapping of names to values",
    "tuple_type": "this is a list",
    "list_type": "this is a list",
    "string_type": "this is a text; put it in quotes",
    "int_type": "this is a whole number",
    "int_parsing": "this is a whole number",
    "int_parsing_size": "this is a whole number of fewer digits",
    "int_from_float": "this is a whole number",
    "float_type": "this is a number",
    "float_parsing": "this is a number",
    "bool_type": "this is true or false",
    "bool_parsing": "this is true or false",
    "greater_than_equal": "this is {ge} or more",
    "greater_than": "this is more than {gt}",
    "less_than_equal": "this is {le} or less",
    "less_than": "this is less than {lt}",
    "string_too_short": "this has {min_length} characters or more",
    "string_too_long": "this has {max_length} characters or less",
    "too_short": "this has {min_length} entries or more",
    "too_long": "this has {max_length} entries or less",
    "literal_error": "this is {expected}",
}
"""By the type of an error; in braces what pydantic tells of it."""


def near_or_all(name: object, known: Collection[str]) -> str:
    """Return the known name that an unknown one is a typo of, or else all: `did you mean 'to'?`."""
    from difflib import get_close_matches  # noqa: PLC0415  off the CLI's start

    near = get_close_matches(str(name)[:100], known, n=1)
    return (
        f"did you mean {near[0]!r}?"
        if near
        else f"there are: {', '.join(sorted(known)) or 'none'}."
    )


def problem_in_words(problem: Mapping[str, Any]) -> str:
    """Return what is wrong, of one of a ValidationError's `errors()`; without a full stop."""
    known = _WORDS.get(problem["type"])
    if known is not None and problem["type"].endswith("_type") and problem["input"] is None:
        return f"this is empty; write {known.removeprefix('this is ').partition(';')[0]}"
    if known is not None:
        return known.format_map(problem.get("ctx") or {})
    said = str(problem["msg"]).removeprefix("Value error, ")
    return said.replace("Input should be", "this is").rstrip(".")
