"""JSON as a person writes it."""

from __future__ import annotations

import json
from typing import Any

from rota.domain.errors import InvalidInputError


def json_object(text: str, what: str, place: str) -> dict[str, Any]:
    """Read a JSON object; raises InvalidInputError, also for NaN and for a name given twice."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} cannot be read as JSON: {error}.", field=place) from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what} is a JSON object, {{...}}.", field=place)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"there is no {name} in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that is given twice: whoever checks it may read another than who uses it."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice")
    return found
