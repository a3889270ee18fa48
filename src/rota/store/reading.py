"""Makes values from rows: each field of a dataclass is read from the column of the same name.

The type of the field decides the conversion: ids and times of rows in JSON, enums, seconds to a
`timedelta`, an array to a tuple (NULL to an empty one). A field that is a dataclass is read from
the same row. A column without a field is ignored. A field without a column is a KeyError, even if
it has a default, so that a mistake in a query is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from operator import itemgetter
from types import NoneType
from typing import Any, NewType, TypeAlias, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

T = TypeVar("T")

_Row: TypeAlias = Mapping[str, Any]


def read(kind: type[T], row: _Row) -> T:
    """Return what a row says as a value of this dataclass."""
    made: T = _reader(kind)(row)
    return made


def _new_reader(kind: Any) -> Callable[[_Row], Any]:
    hints = get_type_hints(kind)
    getters = {field.name: _getter(field.name, hints[field.name]) for field in fields(kind)}
    return lambda row: kind(**{name: get(row) for name, get in getters.items()})


_reader: Callable[[Any], Callable[[_Row], Any]] = cache(_new_reader)
"""What makes values of a dataclass from rows; looked up in its types once."""


def _getter(name: str, hint: Any) -> Callable[[_Row], Any]:
    """Return what finds the value of a field in a row."""
    if is_dataclass(hint):
        return _reader(hint)
    types = [kind for kind in get_args(hint) if kind is not NoneType]
    is_optional = len(types) < len(get_args(hint))
    convert = _conversion(types[0] if is_optional else hint)

    def converted(row: _Row) -> Any:
        value = row[name]
        return value if convert is None or (value is None and is_optional) else convert(value)

    return itemgetter(name) if convert is None else converted


def _conversion(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes a value of this type of a column's, None where it is one as it comes."""
    while isinstance(hint, NewType):
        hint = hint.__supertype__
    kind = get_origin(hint) or hint
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _CONVERSIONS.get(kind)


_CONVERSIONS: Mapping[Any, Callable[[Any], Any]] = {
    UUID: lambda value: value if isinstance(value, UUID) else UUID(value),
    datetime: lambda value: value if isinstance(value, datetime) else datetime.fromisoformat(value),
    timedelta: lambda value: timedelta(seconds=value),
    float: float,
    tuple: lambda value: tuple(value or ()),
    frozenset: frozenset,
}
