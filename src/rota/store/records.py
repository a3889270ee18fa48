"""Values as parameters: JSON, and many rows as JSON records, which `jsonb_to_recordset` unfolds.

An array for each column costs several times as much to write and to read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb


def records(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON text; what Postgres reads as text (times, money, ids) becomes text."""
    return json.dumps(list(rows), default=_written, ensure_ascii=False, check_circular=False)


def jsonb(value: Mapping[str, Any] | None) -> Jsonb | None:
    """Return a JSON object as a parameter, None as NULL."""
    return Jsonb(dict(value)) if value is not None else None


def row_of(value: Any) -> dict[str, Any]:
    """Return a frozen value's fields by name, as they are."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _written(value: Any) -> Any:
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a row holds {type(value).__name__}, which has no place in JSON")
