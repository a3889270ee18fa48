"""A run that executes one approved action, by the agent's own tool and behind the same gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import structlog

from rota.agents.graph.executor import Tools
from rota.agents.journal.journal import Journal
from rota.domain.approvals.actions import ActionStatus, PendingAction, message_to_agent
from rota.domain.runs.run import ResultStatus, Run
from rota.domain.runs.steps import EXECUTED
from rota.security.secrets.encryption import Cipher
from rota.services.approvals.held_calls import close, unseal
from rota.services.notifications.service import NotificationService
from rota.services.runs.endings import Ending
from rota.store.approvals import actions as rows
from rota.store.approvals.actions import ActionToExecute
from rota.store.database import Database

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ActionRun:
    """Executes the action of a run."""

    database: Database
    notifications: NotificationService
    cipher: Cipher | None
    run: Run

    async def execute(self, tools: Tools, journal: Journal) -> Ending:
        """Call the tool as it was approved, if that is still to be done; returns the ending."""
        found = await self._fetch()
        if found is None:
            return Ending(ResultStatus.ERROR, "The action is gone.")
        action = found.action
        if action.status in {ActionStatus.APPROVED, ActionStatus.RUNNING}:
            tool = next((tool for tool in tools if tool.name == action.tool_name), None)
            if tool is None:
                return Ending(
                    ResultStatus.ERROR,
                    f"{action.agent_name} does not have the tool {action.tool_name} any more.",
                )
            answer = await journal.approved_call(tool, unseal(found, self.cipher), key=EXECUTED)
            log.debug("action_executed", action_id=str(action.id), answered=answer is not None)
        return self._ending(await self._fetch() or found)

    async def closed(self, ending: Ending) -> Ending:
        """Move the action on where its run ended without doing so; returns how the run ends.

        What was not begun has failed. What was begun, by whichever attempt, is of unknown outcome,
        and its owner is asked.
        """
        async with self.database.transaction() as conn:
            found = await rows.fetch_to_execute(conn, action_id=self.run.action_id)
            if found is None:
                return ending
            action = found.action
            if action.status not in {ActionStatus.APPROVED, ActionStatus.RUNNING}:
                return ending
            await close(conn, self.notifications, self.run, action, ending.content)
        return replace(ending, extra={**ending.extra, **_extra(action)})

    def _ending(self, found: ActionToExecute) -> Ending:
        """Return the ending that the action's row tells: the gate wrote it."""
        action = found.action
        if action.status is ActionStatus.SUCCEEDED:
            text = action.result or "The tool answered with nothing."
            said = f"{action.tool_name} ran as you approved.\n\n{text}"
            return Ending(ResultStatus.SUCCESS, said, extra=_extra(action))
        return Ending(ResultStatus.ERROR, message_to_agent(action), extra=_extra(action))

    async def _fetch(self) -> ActionToExecute | None:
        async with self.database.transaction() as conn:
            return await rows.fetch_to_execute(conn, action_id=self.run.action_id)


def _extra(action: PendingAction) -> dict[str, Any]:
    return {"action_id": str(action.id), "tool": action.tool_name}
