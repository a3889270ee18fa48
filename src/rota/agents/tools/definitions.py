"""Whether a tool is still the one that was declared: the hash of its definition may be pinned.

Used when an agent's tools are built, and by `rota tools declare --pin`. Does not judge calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from langchain_core.tools import BaseTool

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.agents.tool_hints import hints_in, tightened
from rota.domain.errors import InvalidInputError
from rota.security.gate.arguments import argument_schema
from rota.security.secrets.hashing import definition_hash

_KNOWN: Final[dict[tuple[Any, str, str, tuple[tuple[str, bool], ...]], str]] = {}
_MOST_KNOWN: Final = 500


def hash_tool(tool: BaseTool) -> str:
    """Return the hash of a tool's name, description, schema and hints, as its code gives them.

    Raises InvalidInputError for a tool whose arguments no JSON Schema describes.
    """
    hints = hints_in(tool.metadata)
    arguments = tool.args_schema
    key = (arguments, tool.name, tool.description, tuple(sorted(hints.items())))
    is_known = arguments is not None and not isinstance(arguments, dict)
    if is_known and (known := _KNOWN.get(key)) is not None:
        return known
    schema: Mapping[str, Any] | None = argument_schema(tool)
    if schema is None:
        raise InvalidInputError(
            f"{tool.name} takes arguments that no JSON Schema describes; it cannot be pinned.",
            field="pin",
        )
    made = definition_hash(tool.name, tool.description, schema, hints)
    if is_known:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = made
    return made


def effective_declaration(declaration: ToolDeclaration, tool: BaseTool) -> ToolDeclaration:
    """Return what holds for a tool that was built: its hints count, and so does a change of it."""
    hints = hints_in(tool.metadata)
    effective = tightened(declaration, hints) if hints else declaration
    if declaration.definition_hash is None:
        return effective
    try:
        current = hash_tool(tool)
    except InvalidInputError:
        return distrusted(effective)
    effective = replace(effective, current_hash=current)
    return effective if current == declaration.definition_hash else distrusted(effective)


def distrusted(declaration: ToolDeclaration) -> ToolDeclaration:
    """Return what holds for a tool that is not the one that was declared: it is not trusted."""
    return replace(
        declaration,
        is_changed=True,
        default_tier="requires_approval",
        risk="high",
        read_only=False,
        idempotent=False,
        reaches_outside=True,
        brings_outside_text=True,
    )
