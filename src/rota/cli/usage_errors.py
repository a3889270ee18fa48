"""Writes errors in a command line as plain sentences, in place of typer's own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

from typer.core import TyperArgument

from rota.domain.errors import InvalidInputError

_VALUE: Final = re.compile(r"(?P<value>'.*'|\S+) is not (?:a valid|in the range|one of)", re.DOTALL)
_INDEX: Final = re.compile(r"\[\d+\]$")
_EXTRA: Final = re.compile(r"Got unexpected extra argument\(s\) \((?P<extra>.*)\)", re.DOTALL)
_NO_COMMAND: Final = re.compile(r"No such command '(?P<name>.*?)'\.\s*(?P<hint>.*)", re.DOTALL)


def is_help(error: Any) -> bool:
    """Whether it is the help of a group, which was called without a command."""
    return type(error).__name__ == "NoArgsIsHelpError"


def in_words(error: Any) -> str:
    """Return what typer found wrong as one or two sentences, with the help that says more."""
    context = getattr(error, "ctx", None)
    help_ = f" See `{context.command_path} --help`." if context is not None else ""
    return f"{_said(error)}{help_}"


def with_flags(error: InvalidInputError, typed: Sequence[str]) -> str:
    """Return an error's message with the option that was typed, which says what it is about.

    A message that begins with rota's name for the option, as "max_steps is 1 or more", begins with
    the option instead. Any other has the option in front: its words may be those of the person.
    """
    if not error.field:
        return error.message
    flags = {argument.partition("=")[0] for argument in typed if argument.startswith("--")}
    place = _INDEX.sub("", error.field)
    flag = next((flag for flag in _flags_of(place) if flag in flags), None)
    if flag is None or re.search(rf"(?<![\w-]){flag}(?![\w-])", error.message):
        return error.message
    rest = error.message.removeprefix(error.field)
    if rest != error.message and rest.startswith((" is ", ": ")):
        return f"`{flag}`{rest}"
    return f"`{flag}`: {error.message}"


def _flags_of(place: str) -> Iterator[str]:
    """Yield the options that may be meant by a place in a file, or by the name of a field."""
    from rota.domain.runs.options import RunOptions

    for where, flags in _declared(RunOptions, ""):
        if place == where or place.startswith(f"{where}."):
            yield from flags
    yield f"--{place.replace('_', '-')}"


def _declared(kind: type, above: str) -> Iterator[tuple[str, list[str]]]:
    from rota.domain.runs.option_kinds import options_of

    for name, declared in options_of(kind).items():
        where = f"{above}{declared.place or name}"
        if declared.group is not None:
            yield from _declared(declared.group, f"{where}.")
        else:
            yield where, [f"--{flag.name.replace('_', '-')}" for flag in declared.flags]


def _said(error: Any) -> str:
    match type(error).__name__:
        case "NoArgsIsHelpError":
            return "Name a command."
        case "NoSuchOption":
            near = get_close_matches(error.option_name, error.possibilities or (), 1, 0.7)
            hint = f"; did you mean {near[0]}?" if near else "."
            return f"There is no option {error.option_name}{hint}"
        case "BadOptionUsage":
            takes = "takes no value" if "does not take" in error.message else "needs a value"
            return f"{error.option_name} {takes}."
        case "MissingParameter":
            return f"{_name(error.param)} is missing."
    return _reworded(error)


def _reworded(error: Any) -> str:
    """Say what typer says only in its message."""
    if (found := _VALUE.match(error.message)) and error.param is not None:
        return f"{_name(error.param)} is {_kind(error.param.type)}, not {found['value']}."
    if found := _EXTRA.match(error.message):
        return (
            f"There are too many arguments: {found['extra']}. Put a value of several "
            "words in quotes."
        )
    if found := _NO_COMMAND.match(error.message):
        return f"There is no command {found['name']}. {found['hint']}".rstrip()
    return str(error.format_message())


def _name(param: Any) -> str:
    """Return what a parameter is called where it is written."""
    if isinstance(param, TyperArgument):
        shown = str(param.human_readable_name)
        shown = str(param.name) if "|" in shown else shown
        return shown.replace("...", "").strip("[]").upper()
    return str(max(param.opts, key=len))


def _kind(kind: Any) -> str:
    """Say what values a parameter takes."""
    if choices := getattr(kind, "choices", None):
        return _listed([str(getattr(choice, "value", choice)) for choice in choices])
    number = "a whole number" if kind.name.startswith("int") else "a number"
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    if least is None and most is None:
        return number
    if most is None:
        return f"{number}, {least} or more"
    return f"{number} from {least} to {most}" if least is not None else f"{number}, {most} or less"


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
