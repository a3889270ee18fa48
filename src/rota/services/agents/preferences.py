"""Preferences of people for tools: to approve each call, or to let calls run.

A preference to let calls run counts only for a tool of the tier `user_configurable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from rota.domain.agents.configuration import Preference, Tier, ToolDeclaration
from rota.domain.approvals.verdict import Decision, judge
from rota.domain.errors import NotFoundError
from rota.domain.ids import UserId
from rota.store.agents import rows
from rota.store.database import Database


@dataclass(frozen=True, slots=True)
class ToolPreference:
    """A tool, the person's preference (None: none), and the decision on a call without rules."""

    tool: str
    tier: Tier
    preference: Preference | None
    decision: Decision
    reason: str

    @property
    def is_idle(self) -> bool:
        """Whether the preference changes nothing: the operator decided on this tool."""
        return self.preference == "auto" and self.tier != "user_configurable"


class PreferenceService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, user_id: UserId) -> tuple[ToolPreference, ...]:
        """Return the tools there are, by name, with what the person prefers of each."""
        async with self._database.acting_as(user_id) as conn:
            return tuple(map(_preference, await rows.list_declarations(conn, user_id)))

    async def set(
        self, user_id: UserId, tool_name: str, preference: Preference | None
    ) -> ToolPreference:
        """Prefer something of a tool from now on; None takes it back. Raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            tool = await rows.fetch_declaration(conn, tool_name, user_id)
            if tool is None:
                near = get_close_matches(tool_name, await rows.tool_names(conn), n=1)
                hint = f"Did you mean {near[0]}?" if near else "`rota settings show` lists them."
                raise NotFoundError("tool", tool_name, hint=hint)
            await rows.set_preference(conn, user_id, tool.id, preference)
            changed = await rows.fetch_declaration(conn, tool_name, user_id)
        return _preference(changed or tool)


def _preference(tool: ToolDeclaration) -> ToolPreference:
    verdict = judge(tool.name, tool)
    return ToolPreference(
        tool.name, tool.default_tier, tool.preference, verdict.decision, verdict.reason
    )
