"""MCP's four hints of a tool about itself. A hint counts only if it makes a call stricter.

A hint that would loosen a call ("I only read") is ignored, because the author of the tool wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from rota.domain.agents.configuration import Risk, ToolFacts
from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all

T = TypeVar("T", bound=ToolFacts)

HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def parse_hints(value: Mapping[str, Any]) -> dict[str, bool]:
    """Read hints as a person gives them; raises InvalidInputError."""
    for name, said in value.items():
        if name not in HINTS:
            raise InvalidInputError(
                f"There is no hint {quoted(str(name))}; {near_or_all(name, HINTS)}",
                field="hints",
            )
        if not isinstance(said, bool):
            raise InvalidInputError(f"{name} is true or false.", field="hints")
    return dict(value)


def hints_in(value: object) -> dict[str, bool]:
    """Return the hints among whatever a tool carries along; the rest is passed over."""
    if not isinstance(value, Mapping):
        return {}
    nested = value.get("annotations")
    found = {**nested, **value} if isinstance(nested, Mapping) else value
    return {name: found[name] for name in HINTS if isinstance(found.get(name), bool)}


def tightened(declaration: T, hints: Mapping[str, bool]) -> T:
    """Return a declaration made stricter by hints, never looser.

    One that says that it changes things, or may not be repeated, is taken at its word. A tool that
    can destroy is of high risk and does not run by itself unless somebody allows it. One of the
    open world reaches outside, brings text from there, and is of medium risk at least.
    """
    risk: Risk = declaration.risk
    if hints.get("openWorldHint") and risk == "low":
        risk = "medium"
    tier = declaration.default_tier
    if hints.get("destructiveHint"):
        risk = "high"
        tier = "user_configurable" if tier == "auto" else tier
    return replace(
        declaration,
        read_only=declaration.read_only
        and hints.get("readOnlyHint", True)
        and not hints.get("destructiveHint"),
        idempotent=declaration.idempotent and hints.get("idempotentHint", True),
        reaches_outside=declaration.reaches_outside or hints.get("openWorldHint", False),
        brings_outside_text=declaration.brings_outside_text or hints.get("openWorldHint", False),
        risk=risk,
        default_tier=tier,
    )
