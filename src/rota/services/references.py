"""Resolves references that people write: a name, an id, or a unique beginning of an id.

Each kind of thing has its own query. The accepted forms, and the errors for no match or several
matches, are the same for all kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from rota.domain.errors import InvalidInputError, NotFoundError

SHORTEST_PREFIX: Final = 4
"""Characters of an id that are enough, if they fit one alone."""

ENOUGH: Final = 6
"""So many are looked for: more than are named where a reference fits several."""

_NAMED: Final = 5
_SHORT: Final = 8
_FORM: Final = str(UUID(int=0))
_OF_AN_ID: Final = frozenset("0123456789abcdef-")

T = TypeVar("T")


def id_prefix(reference: str) -> str | None:
    """Return the beginning of an id as the database has it; None for what can be none."""
    prefix = reference.lower()
    can_be = len(prefix) >= SHORTEST_PREFIX and not set(prefix) - _OF_AN_ID
    return prefix if can_be else None


def id_range(reference: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last id that begin as a reference does; None for what begins none.

    An index finds what lies between them.
    """
    prefix = id_prefix(reference)
    if prefix is None or len(prefix) > len(_FORM):
        return None
    if any((c == "-") != (form == "-") for c, form in zip(prefix, _FORM, strict=False)):
        return None
    first, last = (prefix + _FORM[len(prefix) :].replace("0", digit) for digit in "0f")
    return UUID(first), UUID(last)


def the_one(kind: str, reference: str, found: Sequence[T], *, hint: str) -> T:
    """Return what a reference fits alone; raises NotFoundError and InvalidInputError.

    The latter names what it fits by the beginnings of their ids, as far as they differ.
    """
    if not found:
        raise NotFoundError(kind, reference, hint=hint)
    if len(found) > 1:
        ids = [str(_id_of(one)) for one in found]
        length = next((n for n in range(_SHORT, 36) if len({i[:n] for i in ids}) == len(ids)), 36)
        named = [i[:length] for i in ids[:_NAMED]] + ["..."] * (len(ids) > _NAMED)
        raise InvalidInputError(
            f"{reference!r} fits more than one {kind} ({', '.join(named)}); write more of it."
        )
    return found[0]


def unknown_person(reference: str, *, hint: str = "") -> NotFoundError:
    """Return the error for a person whom nobody added; without a hint, with what to do."""
    add = f"rota people add {reference}" if "@" in reference else "rota people add EMAIL"
    advice = f"`rota people list` shows who there is, `{add}` adds somebody."
    return NotFoundError("user", reference, hint=hint or advice)


def _id_of(one: Any) -> Any:
    return getattr(one, "id", one)
