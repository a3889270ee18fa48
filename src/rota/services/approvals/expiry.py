"""Expires pending actions that nobody decided on in time, and warns their owners before.

Every scheduler calls it as a chore, every few seconds. A run that waited for an expired action
continues. Decisions that a person makes are in `rota.services.approvals.service`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from rota.domain.approvals.actions import WARNED_BEFORE, ActionStatus, PendingAction
from rota.domain.approvals.call_texts import call_in_brief
from rota.domain.approvals.deputies import Deputy
from rota.domain.ids import RunId, UserId
from rota.domain.notifications.notification import Category, NewNotification
from rota.services.notifications.service import NotificationService, draft, draft_unknown_outcome
from rota.store.approvals import actions as rows
from rota.store.approvals.deputies import list_deputies_of
from rota.store.database import Database, despite_deadlocks

LOOK_EVERY: Final = 5.0
"""Seconds between looks."""

_RUNS_AT_ONCE: Final = 500
_NAMED: Final = 10
_WAITING: Final = "Nothing happens until you decide: `rota approvals list`."
log = structlog.get_logger(__name__)


class ApprovalExpiry:
    """Warns of actions that expire soon, and expires those whose time is over.

    Any number of processes may run it at the same time.
    """

    def __init__(self, database: Database, notifications: NotificationService) -> None:
        self._database = database
        self._notifications = notifications

    async def look(self) -> int:
        """Look once; returns how many actions expired."""
        async with self._database.connection() as conn:
            runs = await rows.list_runs_with_expired(conn, limit=_RUNS_AT_ONCE)
        expired = 0
        for run_id in runs:

            async def expire(run_id: RunId | None = run_id) -> int:
                return await self._expire(run_id)

            expired += await despite_deadlocks(expire)
        await self._warn()
        await self._close_orphaned()
        async with self._database.transaction() as conn:
            if stranded := await rows.resume_stranded(conn):
                log.warning("stranded_runs_resumed", count=stranded)
        return expired

    async def _expire(self, run_id: RunId | None) -> int:
        async with self._database.transaction() as conn:
            if run_id is not None and not await rows.lock_run(conn, run_id):
                return 0  # its owner holds it, and decides perhaps
            expired = await rows.expire(conn, run_id)
            if run_id is not None:
                await rows.resume(conn, run_id)
            await self._notifications.write(
                conn, _notices(expired, "expired", "Nobody decided in time, so they did not run.")
            )
        return len(expired)

    async def _warn(self) -> None:
        async with self._database.transaction() as conn:
            soon = await rows.warn(conn, WARNED_BEFORE)
            late = await rows.remind(conn)
            people = {action.user_id for action in (*soon, *late)}
            deputies = await list_deputies_of(conn, people) if people else ()
            advice = "Decide with `rota approvals list`, or they do not run."
            await self._notifications.write(
                conn,
                [
                    *_notices(soon, "will expire soon", advice),
                    *_escalated(soon, deputies, "will expire soon", advice),
                    *_notices(late, "still waiting", _WAITING),
                    *_escalated(late, deputies, "still waiting", _WAITING),
                ],
            )

    async def _close_orphaned(self) -> None:
        """Close actions that a run waited for which ended otherwise: by a limit, a lost tool."""
        async with self._database.transaction() as conn:
            closed = await rows.close_orphaned(conn)
            lost = [action for action in closed if action.status is ActionStatus.FAILED]
            await self._notifications.write(
                conn,
                [
                    *_notices(
                        lost,
                        "not carried out",
                        "You approved them, but the run ended before they were made.",
                    ),
                    *(
                        draft_unknown_outcome(
                            action.user_id,
                            action.tool_name,
                            action.id,
                            agent_name=action.agent_name,
                            arguments=action.arguments,
                            run_id=action.run_id,
                        )
                        for action in closed
                        if action.status is ActionStatus.UNKNOWN
                    ),
                ],
            )


def _escalated(
    actions: Sequence[PendingAction], deputies: Sequence[Deputy], what: str, advice: str
) -> list[NewNotification]:
    """Return a notification for each deputy of the actions' owners, who may decide from now on."""
    notices = []
    for deputy in deputies:
        own = [action for action in actions if action.user_id == deputy.user_id]
        for notice in _notices(own, f"of {deputy.user_name} {what}", advice):
            body = f"{deputy.user_name} has not decided. You may decide instead. {notice.body}"
            notices.append(replace(notice, user_id=deputy.deputy_id, body=body))
    return notices


def _notices(actions: Sequence[PendingAction], what: str, advice: str) -> list[NewNotification]:
    """Return one notification for each person, however many actions of theirs there are."""
    by_owner: defaultdict[UserId, list[PendingAction]] = defaultdict(list)
    for action in actions:
        by_owner[action.user_id].append(action)
    notices = []
    for user_id, own in by_owner.items():
        count = f"{len(own)} request{'s' if len(own) > 1 else ''} for approval"
        listed = [
            f"{call_in_brief(a.tool_name, a.arguments)}, asked for by {a.agent_name}"
            for a in own[:_NAMED]
        ]
        listed += [f"and {len(own) - _NAMED} more"] if len(own) > _NAMED else []
        notices.append(
            draft(
                user_id,
                f"{count} {what}",
                "\n".join([advice, *listed]),
                category=Category.APPROVAL_NEEDED,
                metadata={"action_ids": [str(action.id) for action in own[:_NAMED]]},
            )
        )
    return notices
