"""Paths in a call's arguments, as rules name them: `amount`, `invoice.total`, `items[*].price`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted

EVERYTHING: Final = "*"
"""Written where a test is about all arguments together."""

LONGEST: Final = 200

_NAME: Final = r"[^\s.\[\],\"'*]+(\[(\*|\d{1,6})\])*"
_PATH: Final = re.compile(rf"{_NAME}(\.{_NAME})*")
_PART: Final = re.compile(r"\[(\*|\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class ArgumentPath:
    """A path as written, and its parts: names, places in lists, None for every item."""

    text: str
    parts: tuple[str | int | None, ...]

    @classmethod
    def parse(cls, text: str) -> ArgumentPath:
        """Read a path; raises InvalidInputError."""
        if text == EVERYTHING:
            return cls(text, ())
        if len(text) > LONGEST or not _PATH.fullmatch(text):
            raise InvalidInputError(
                f"{quoted(text, 80)} names no argument; write for example amount, invoice.total or "
                "items[*].price.",
                field="when",
            )
        parts: list[str | int | None] = []
        for index, name in _PART.findall(text):
            parts.append(name or (None if index == "*" else int(index)))
        return cls(text, tuple(parts))

    def values(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Return what is there; null counts as absent.

        `UNDECIDED` stands for what cannot be looked into, as it is of another kind, and for what
        some items of a list have and others lack.
        """
        found: list[Any] = [arguments]
        several = False
        for part in self.parts:
            after: list[Any] = []
            for value in found:
                if part is None and isinstance(value, list | tuple):
                    several = True
                    after.extend(value)
                else:
                    after.append(_step(value, part))
            found = after
        there = [value for value in found if value is not None]
        if several and there:
            return [UNDECIDED if value is None else value for value in found]
        return there


class _Undecided:
    """A mark for a value that cannot be read."""

    def __repr__(self) -> str:
        return "what stands there"


UNDECIDED: Final = _Undecided()


def _step(value: Any, part: str | int | None) -> Any:
    if value is None:
        return None
    if isinstance(part, str) and isinstance(value, Mapping):
        return value.get(part)
    if isinstance(part, int) and isinstance(value, list | tuple):
        return value[part] if part < len(value) else None
    return UNDECIDED
