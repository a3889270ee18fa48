"""Pydantic models of values: their fields, names and types as `jsonable` writes them.

A model says what an answer looks like (OpenAPI), and values are written by `jsonable` alone. So the
command line's --json and the HTTP API say the same of the same thing, and a test compares both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from inspect import getdoc
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from rota.domain.text.jsonable import json_names

_SCALARS: Final[Mapping[Any, Any]] = {timedelta: float, Decimal: str}


class Shown(BaseModel):
    """Base of all that is answered. Its fields are those of `jsonable`'s JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@cache
def model_of(kind: type, /, name: str = "") -> type[Shown]:
    """Return the model of a dataclass, with the first sentence of its docstring.

    Durations are seconds, and amounts of money are decimal numbers in strings.
    """
    doc = (getdoc(kind) or kind.__name__).split(">>>", maxsplit=1)[0].strip()
    return create_model(name or kind.__name__, __base__=Shown, __doc__=doc, **shown_fields(kind))


def shown_fields(kind: type, *, without: AbstractSet[str] = frozenset()) -> dict[str, Any]:
    """Return the fields of a dataclass for `create_model`, to put them into another model."""
    hints = get_type_hints(kind)
    return {
        shown: (_shown(hints[own]), ...)
        for own, shown in json_names(kind).items()
        if own not in without
    }


def _shown(hint: Any) -> Any:
    """Return what a type hint becomes in JSON."""
    if isinstance(hint, type) and is_dataclass(hint):
        return model_of(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return _any_of(args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[str, _shown(args[1])]  # type: ignore[misc]  # a type that is made here
    if isinstance(origin, type) and issubclass(origin, Sequence | AbstractSet):
        return list[_any_of(arg for arg in args if arg is not ...)]  # type: ignore[misc]  # as above
    return _SCALARS.get(hint, hint)


def _any_of(hints: Iterable[Any]) -> Any:
    return Union[tuple(NoneType if hint is NoneType else _shown(hint) for hint in hints)]  # noqa: UP007
