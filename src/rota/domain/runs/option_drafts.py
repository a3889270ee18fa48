"""Options of runs as a person writes them, on the command line or in an agent file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from rota.domain.errors import InvalidInputError
from rota.domain.runs.contracts import parse_contract
from rota.domain.runs.option_kinds import (
    Written,
    change,
    flags_of,
    from_file,
    options_of,
    to_file,
)
from rota.domain.runs.options import RunOptions
from rota.domain.text.storable import storable_json

LARGEST: Final = 100_000
"""Characters of all options of a schedule as JSON: what the column takes."""


class OptionDraft:
    """Options as written, by the names of their flags (`max_time="10m"`, `check=("Mail?",)`).

    An option that is left out, or None, stays as it is. "none" removes a value. 0 removes a number,
    if there are options before. A flag that may be repeated replaces the whole list.
    """

    def __init__(self, **written: Written) -> None:
        """Raise TypeError for a name that is no flag."""
        if unknown := set(written) - {flag.name for flag in flags_of(RunOptions)}:
            raise TypeError(f"there is no option {min(unknown)}")
        self._written = {name: text for name, text in written.items() if text is not None}

    def __bool__(self) -> bool:
        return bool(self._written)

    def options(self, before: RunOptions | None = None) -> RunOptions:
        """Return the options that this makes of `before`; raises InvalidInputError.

        That the model's provider and the pre-check's tool are there is for others to say.
        """
        return checked(change(before or RunOptions(), self._written, is_new=before is None))

    def for_one_run(self) -> RunOptions:
        """Return the options of a single run, which go before those of its schedule.

        Raises InvalidInputError, also for "none" and 0: one run cannot take away what its agent or
        its schedule sets.
        """
        options = self.options(RunOptions())
        flags = flags_of(RunOptions, of_one_run=True)
        _refuse_to_take_away(options, sum(flag.name in self._written for flag in flags))
        return options


class OptionChange:
    """What a request changes of options, by their names in a file; null takes a value away.

    Of a group (`limits`) each value is changed by itself.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __bool__(self) -> bool:
        return bool(self._values)

    def options(self, before: RunOptions) -> RunOptions:
        """Return the options that this makes of `before`; raises InvalidInputError."""
        declared = options_of(RunOptions)
        written = to_file(before)
        for name, value in self._values.items():
            if name in declared and declared[name].group and isinstance(value, Mapping):
                written[name] = written.get(name, {}) | value
            else:
                written[name] = value
        return read_options(written)


def read_options(values: Mapping[str, Any]) -> RunOptions:
    """Read the options of a schedule in a file; raises InvalidInputError naming the place."""
    return checked(from_file(RunOptions, values))


def read_options_of_one_run(values: Mapping[str, Any]) -> RunOptions:
    """Read the options of a single run as a file would have them: its model and its limits.

    Raises as `OptionDraft.for_one_run`, naming the place.
    """
    options = read_options(values)
    limits = values.get("limits") or {}
    _refuse_to_take_away(options, len({**values, **limits}.keys() - {"limits"}))
    return options


def checked(options: RunOptions) -> RunOptions:
    """Return options as a row may have them; raises InvalidInputError naming the place."""
    written = options.as_json()
    read = RunOptions.parse(written)
    if read.output is not None:
        parse_contract(read.output)
    if storable_json(written) != written:
        raise InvalidInputError("The options contain characters that cannot be stored.")
    if len(json.dumps(written, ensure_ascii=False)) > LARGEST:
        raise InvalidInputError(f"The options are longer than {LARGEST} characters in all.")
    return read


def _refuse_to_take_away(options: RunOptions, written: int) -> None:
    """Refuse options of one run of which fewer are set than were written."""
    if _count_of_one_run(options) < written:
        raise InvalidInputError(
            "0 and none take a model or a limit away, and one run cannot take away what its "
            "agent or its schedule sets. Name another model, or a limit of more than 0.",
            field="limits",
        )


def _count_of_one_run(options: RunOptions) -> int:
    """Return how many options are set that a single run may have."""
    values = options.as_json()
    return sum(
        len(values[name]) if declared.group else 1
        for name, declared in options_of(RunOptions).items()
        if declared.of_one_run and name in values
    )
