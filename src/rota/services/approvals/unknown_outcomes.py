"""Looks again and again what became of actions of unknown outcome: an answer may come days later.

A worker does it, for rota's own tools that can look an outcome up. The owner of what is found to
have taken effect is told, and settles it: the database lets nobody else. Nothing is run again here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from rota.agents.tools.builtin import builtin_facts
from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.domain.approvals.actions import LOOKED_UP, PendingAction
from rota.domain.approvals.call_texts import call_in_brief
from rota.domain.errors import RotaError
from rota.domain.ids import UserId
from rota.domain.notifications.notification import Category
from rota.domain.text.storable import RESULT_CONTENT_LIMIT, storable_text
from rota.security.gate.hooks import hooks_of
from rota.security.secrets.encryption import Cipher
from rota.security.secrets.redaction import redact_beginning
from rota.services.approvals.held_calls import unseal
from rota.services.notifications.service import NotificationService, draft
from rota.store.approvals import actions as rows
from rota.store.approvals.actions import ActionToExecute
from rota.store.database import Database

LOOK_UP_EVERY: Final = 900.0
"""Seconds between two looks."""

WITHIN: Final = timedelta(days=7)
"""For how long an action of unknown outcome is looked up."""

_MOST: Final = 20
_LONGEST: Final = 60.0

log = structlog.get_logger(__name__)


class UnknownOutcomes:
    """Looks up what became of actions. `tool_context` makes the context of their owners' tools."""

    def __init__(
        self,
        database: Database,
        notifications: NotificationService,
        *,
        registry: ToolRegistry,
        tool_context: Callable[[UserId, Callable[[], datetime]], ToolContext],
        cipher: Cipher,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._registry = registry
        self._tool_context = tool_context
        self._cipher = cipher
        self._clock = clock

    async def look(self) -> int:
        """Look up the latest actions of unknown outcome; return how many were found."""
        names = [name for name, facts in builtin_facts().items() if not facts.read_only]
        async with self._database.connection() as conn:
            unknown = await rows.list_unknown(conn, names, WITHIN, limit=_MOST)
        found = 0
        for one in unknown:
            if (one.action.result or "").startswith(LOOKED_UP):
                continue
            said = await self._look_up(one)
            found += said is not None and await self._tell(one.action, said)
        return found

    async def _look_up(self, found: ActionToExecute) -> str | None:
        action = found.action
        try:
            context = self._tool_context(action.user_id, self._clock)
            look_up = hooks_of(self._registry.build(action.tool_name, context)).look_up
            if look_up is None:
                return None
            async with asyncio.timeout(_LONGEST):
                return await look_up(str(action.id), unseal(found, self._cipher))
        except (RotaError, TimeoutError) as error:
            log.info("outcome_not_looked_up", action_id=str(action.id), reason=str(error))
            return None

    async def _tell(self, action: PendingAction, said: str) -> bool:
        result = redact_beginning(storable_text(f"{LOOKED_UP}{said}"), RESULT_CONTENT_LIMIT)
        async with self._database.transaction() as conn:
            if not await rows.note_found(conn, action.id, result):
                return False
            call = call_in_brief(action.tool_name, action.arguments)
            notice = draft(
                action.user_id,
                f"{action.tool_name} did take effect",
                f"{action.agent_name} ran {call} with your approval, and its outcome was unknown. "
                f"Now there is proof that it took effect. {said} Record that: `rota approvals "
                f"settle {str(action.id)[:8]} happened`.",
                category=Category.APPROVAL_NEEDED,
                metadata={"action_id": str(action.id), "agent_name": action.agent_name},
                run_id=action.run_id,
            )
            await self._notifications.write(conn, [notice])
        return True
