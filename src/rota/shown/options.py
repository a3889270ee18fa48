"""Options of runs as JSON Schema, made from their declarations."""

from __future__ import annotations

from typing import Any

from rota.domain.runs.option_kinds import (
    Choice,
    Kind,
    ModelName,
    Number,
    Options,
    Text,
    Texts,
    options_of,
)


def option_properties(kind: type[Options]) -> dict[str, Any]:
    """Return the properties of an object of these options, by their names in a file.

    Options that only rows have are left out.
    """
    properties: dict[str, Any] = {}
    for name, declared in options_of(kind).items():
        if declared.group is not None:
            properties[name] = {
                "type": "object",
                "additionalProperties": False,
                "properties": option_properties(declared.group),
            }
        elif declared.flags:
            described = {"description": declared.flags[0].help.replace("--", "")}
            properties[declared.place or name] = _schema(declared.kind) | described
    return properties


def _schema(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any]
    match kind:
        case Texts():
            items = {"type": "string", "minLength": 1, "maxLength": kind.longest}
            schema = {"type": "array", "maxItems": kind.most, "items": items}
        case Text():
            schema = {"type": "string", "minLength": 1, "maxLength": kind.longest}
        case ModelName():
            schema = {"type": "string", "maxLength": 200}
        case Number():
            schema = {"type": ["number", "string"]}
        case Choice():
            schema = {"type": "string", "enum": list(kind.names)}
        case _:
            schema = {"type": "object"}
    return schema
