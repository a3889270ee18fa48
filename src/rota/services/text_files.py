"""Reads small files that people name on the command line: rules, agents, schemas.

It makes the error for a file that cannot be read. It does not check the content.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    import yaml

_ADVICE: Final = {
    r"character '\t'": "Indent with spaces: YAML takes no tabs.",
    "mapping values are not allowed": (
        "Give the names of one block the same number of spaces before them. Write a space after "
        "a colon, or put a text with a colon in quotes."
    ),
    "expected <block end>": "Give what is in one block the same number of spaces before it.",
    "could not find expected ':'": "Write `name: value`, with a space after the colon.",
    "expected ',' or": "Close the bracket, and put a comma between its entries.",
    "unexpected end of stream": "Close the quote.",
    "cannot start any token": "Put this text in quotes.",
    "undefined alias": "Put a text that begins with * in quotes.",
}
"""What to do, by a part of what YAML's parser says."""


def read_text_file(path: Path, *, most_bytes: int) -> str:
    """Return a file's text, UTF-8; raises InvalidInputError that names the file."""
    try:
        if path.stat().st_size > most_bytes:
            raise InvalidInputError(f"{path} is larger than {most_bytes} bytes.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text.") from error
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error


def yaml_problem(error: yaml.MarkedYAMLError) -> str:
    """Return what YAML's parser found wrong, with what to do about it."""
    said = error.problem or "this is not YAML"
    advice = next((advice for part, advice in _ADVICE.items() if part in said), "")
    return f"{said}. {advice}".rstrip()
