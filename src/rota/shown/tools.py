"""Tools as JSON: declarations, what a person prefers, and what they lack to use one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rota.bootstrap.app import App
from rota.domain.agents.configuration import Preference
from rota.domain.agents.connections import KINDS
from rota.domain.agents.declared_tools import DeclaredTool
from rota.domain.ids import UserId
from rota.domain.text.jsonable import fields_of
from rota.services.agents.preferences import ToolPreference
from rota.services.agents.tools import lack_of
from rota.shown.models import model_of


class ToolShown(model_of(DeclaredTool)):  # type: ignore[misc]  # a type that is made
    """A tool as it is declared, made stricter by its hints."""

    is_declared: bool


class UsableToolShown(ToolShown):
    """A tool, and what it is to a person.

    `preference` is theirs. `decision` is what becomes of a call that no rule is about, `reason`
    why. `missing` says what they lack to use it, null for nothing.
    """

    preference: Preference | None
    decision: Literal["allowed", "held", "refused"] | None
    reason: str
    missing: str | None


class DeclaredToolShown(ToolShown):
    """A tool that was declared. `warnings` say what this changed elsewhere."""

    change: Literal["created", "updated", "unchanged"]
    warnings: list[str]


def declared_json(tool: DeclaredTool) -> dict[str, Any]:
    """Return a declared tool as JSON."""
    return fields_of(tool) | {"is_declared": True}


def listed_json(found: Sequence[DeclaredTool], undeclared: Sequence[str]) -> list[dict[str, Any]]:
    """Return tools as JSON, all with the same fields: null where nothing is declared."""
    unknown = dict.fromkeys(fields_of(DeclaredTool(name="", version=0, is_active=False)))
    return [
        *(declared_json(tool) for tool in found),
        *(unknown | {"tool": name, "is_declared": False} for name in undeclared),
    ]


async def usable_tools(app: App, user_id: UserId) -> list[dict[str, Any]]:
    """Return the declared tools by name, as JSON, with what a person prefers and lacks."""
    preferences = {one.tool: one for one in await app.preferences.all(user_id)}
    kinds = {one.kind for one in await app.connections.all(user_id) if one.is_active}
    gives = {KINDS[kind].gives.value for kind in kinds if kind in KINDS}
    return [
        _usable(app, tool.effective(), preferences.get(tool.name), kinds | gives)
        for tool in sorted(await app.tools.all(), key=lambda tool: tool.name)
    ]


def _usable(
    app: App, tool: DeclaredTool, preferred: ToolPreference | None, connected: set[str]
) -> dict[str, Any]:
    return declared_json(tool) | {
        "preference": None if preferred is None else preferred.preference,
        "decision": None if preferred is None else preferred.decision,
        "reason": "" if preferred is None else preferred.reason,
        "missing": lack_of(
            tool,
            connected=connected,
            registered=app.settings.tools,
            has_folder=app.settings.mail is not None or app.server.embedded is not None,
        ),
    }
