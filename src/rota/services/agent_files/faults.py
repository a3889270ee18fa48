"""Collects all faults of an agent file, so that one error reports them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rota.domain.errors import InvalidInputError


class Faults:
    """The faults that were found in one file so far."""

    def __init__(self, found: Iterable[InvalidInputError] = ()) -> None:
        self._found = {fault.message: fault for fault in found}

    def __iter__(self) -> Iterator[InvalidInputError]:
        return iter(self._found.values())

    def add(self, *faults: InvalidInputError) -> None:
        """Add errors; one that is there already counts once."""
        for fault in faults:
            self._found.setdefault(fault.message, fault)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Add the error that is raised within, or its faults, and go on."""
        try:
            yield
        except InvalidInputError as error:
            self.add(*(error.faults or (error,)))

    def check(self, *, by_line: bool = True) -> None:
        """Raise InvalidInputError where something is wrong; its `faults` are in order of lines.

        Of several files they are in the order in which they were found.
        """
        faults = list(self._found.values())
        if by_line:
            faults.sort(key=lambda fault: fault.line or 0)
        if len(faults) == 1:
            raise faults[0]
        if faults:
            message = "\n".join(fault.message for fault in faults)
            raise InvalidInputError(message, line=faults[0].line, faults=faults)
