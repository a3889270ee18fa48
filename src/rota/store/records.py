"""Makes parameters of statements from values: one by its field names, many as JSON records.

`jsonb_to_recordset` turns the records into rows. One array for each column would cost several times
as much to write and to read.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID


def records(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON text; what Postgres reads as text (times, money, ids) becomes text."""
    return json.dumps(list(rows), default=_written, ensure_ascii=False, check_circular=False)


def row_of(value: Any) -> dict[str, Any]:
    """Return a frozen value's fields by name, as they are."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def columns_of(value: Any) -> dict[str, Any]:
    """Return a frozen value's fields, and in place of a value within it that one's."""
    own = row_of(value)
    within = [own.pop(name) for name in list(own) if is_dataclass(own[name])]
    return dict(ChainMap(own, *map(columns_of, within)))


def _written(value: Any) -> Any:
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a row holds {type(value).__name__}, which has no place in JSON")
