"""Writes notifications. Every notification is stored as a row for its person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from rota.domain.approvals.actions import ApprovalRequest
from rota.domain.approvals.call_texts import call_in_brief
from rota.domain.ids import ActionId, NotificationId, RunId, UserId
from rota.domain.notifications.notification import (
    TITLE_LIMIT,
    Category,
    NewNotification,
    Notification,
)
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import NOTIFICATION_BODY_LIMIT, cut, storable_json, storable_text
from rota.services.references import ENOUGH, id_prefix, the_one
from rota.store.database import Connection, Database
from rota.store.notifications import rows

_HINT: Final = "See `rota notifications list`."
_NAMED: Final = 10
_LONGEST_ACCOUNT: Final = 200


async def write_notifications(
    conn: Connection, new: Sequence[NewNotification]
) -> tuple[NotificationId, ...]:
    """Store notifications in the caller's transaction and return their ids, in order."""
    return await rows.insert_notifications(conn, new) if new else ()


class NotificationService:
    """Writes notifications, in the caller's transaction where the caller passes one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notify_user(
        self,
        user_id: UserId,
        title: str,
        body: str,
        *,
        category: Category = Category.INFO,
        metadata: Mapping[str, Any] | None = None,
        run_id: RunId | None = None,
        conn: Connection | None = None,
    ) -> NotificationId:
        """Store a notification and return its id.

        The body is cut at 10,000 code points, the title at 300; `metadata.body_length` keeps the
        original length of a body that was cut. Raises ValueError for an unknown category.
        """
        new = draft(user_id, title, body, category=category, metadata=metadata, run_id=run_id)
        return await self._write_one(new, conn)

    async def notify_pending_actions(
        self,
        user_id: UserId,
        count: int,
        *,
        agent_name: str,
        run_id: RunId | None = None,
        requests: Sequence[ApprovalRequest] = (),
        conn: Connection | None = None,
    ) -> NotificationId:
        """Tell a person that `count` actions of a run wait for a decision, and which."""
        new = draft_pending_actions(
            user_id, count, agent_name=agent_name, run_id=run_id, requests=requests
        )
        return await self._write_one(new, conn)

    async def write(
        self, conn: Connection, new: Sequence[NewNotification]
    ) -> tuple[NotificationId, ...]:
        """Store notifications in the caller's transaction and return their ids, in order.

        All of rota tells people by this. Past it there is the SQL function `decide_action`, which
        people reach without rota: so what follows a new notification belongs in a trigger.
        """
        return await write_notifications(conn, new)

    async def latest(
        self,
        user_id: UserId,
        *,
        unread_only: bool = False,
        category: Category | None = None,
        after: tuple[datetime, UUID] | None = None,
        limit: int = 20,
    ) -> tuple[Notification, ...]:
        """Return the person's notifications, newest first.

        `after` are `created_at` and the id of the last one of the page before.
        """
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_notifications(
                conn, unread_only=unread_only, category=category, after=after, limit=limit
            )

    async def count(
        self, user_id: UserId, *, unread_only: bool = False, category: Category | None = None
    ) -> int:
        """Return how many notifications the person has."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.count_notifications(conn, unread_only=unread_only, category=category)

    async def get(self, user_id: UserId, reference: str | None) -> Notification:
        """Return a notification by its id, or its beginning; None: the latest.

        Raises NotFoundError, and InvalidInputError where more than one fits. It stays unread.
        """
        async with self._database.acting_as(user_id) as conn:
            if reference is not None:
                (found,) = await _find(conn, [reference])
                return found
            latest = await rows.list_notifications(conn, limit=1)
        return the_one("notification", "latest", latest, hint=_HINT)

    async def mark_read(self, user_id: UserId, references: Sequence[str] | None) -> int:
        """Mark notifications, by (the beginning of) their ids, as read; None: all.

        Returns how many were unread. Raises NotFoundError and marks none if one is not there.
        """
        async with self._database.acting_as(user_id) as conn:
            if references is None:
                return await rows.mark_read(conn, None)
            found = await _find(conn, references)
            return await rows.mark_read(conn, [one.id for one in found])

    async def _write_one(self, new: NewNotification, conn: Connection | None) -> NotificationId:
        if conn is None:
            async with self._database.transaction() as own:
                return await self._write_one(new, own)
        (notification_id,) = await self.write(conn, [new])
        return notification_id


async def _find(conn: Connection, references: Sequence[str]) -> tuple[Notification, ...]:
    """Return notifications by the beginnings of their ids; raises as `NotificationService.get`."""
    prefixes = {reference: id_prefix(reference) for reference in references}
    found = await rows.find_notifications(conn, [p for p in prefixes.values() if p], limit=ENOUGH)
    return tuple(
        the_one("notification", reference, found[prefix] if prefix else (), hint=_HINT)
        for reference, prefix in prefixes.items()
    )


def draft(
    user_id: UserId,
    title: str,
    body: str,
    *,
    category: Category = Category.INFO,
    metadata: Mapping[str, Any] | None = None,
    run_id: RunId | None = None,
) -> NewNotification:
    """Return a notification within its limits, to be written; see `notify_user`."""
    shown = cut(storable_text(body), NOTIFICATION_BODY_LIMIT)
    extra: dict[str, Any] = dict(metadata or {})
    text = shown.text
    if shown.truncated:
        whole = f" `rota results show {str(run_id)[:8]}` has all of it" if run_id else ""
        mark = f"\n[…{whole}]"
        text = cut(text, NOTIFICATION_BODY_LIMIT - len(mark)).text + mark
        extra["body_length"] = shown.original_length
    return NewNotification(
        user_id=user_id,
        category=Category(category),
        title=shorten(" ".join(storable_text(title).split()), TITLE_LIMIT),
        body=text,
        metadata=storable_json(extra),
        run_id=run_id,
    )


def draft_unknown_outcome(
    user_id: UserId,
    tool_name: str,
    action_id: ActionId,
    *,
    agent_name: str,
    arguments: Mapping[str, Any] | None = None,
    run_id: RunId | None = None,
) -> NewNotification:
    """Return what asks a person whether an approved action took effect."""
    call = call_in_brief(tool_name, arguments or {})
    return draft(
        user_id,
        f"Did {tool_name} take effect?",
        f"{agent_name} ran {call} with your approval, and ended before the tool "
        "answered. The call may have taken effect, and is not repeated automatically. "
        f"Check, then record what happened: `rota approvals settle {str(action_id)[:8]} "
        "happened|did-not|again`.",
        category=Category.APPROVAL_NEEDED,
        metadata={"action_id": str(action_id), "agent_name": agent_name},
        run_id=run_id,
    )


def draft_pending_actions(
    user_id: UserId,
    count: int,
    *,
    agent_name: str,
    run_id: RunId | None = None,
    requests: Sequence[ApprovalRequest] = (),
) -> NewNotification:
    """Return what tells a person that `count` actions of a run wait for a decision.

    `requests` are those actions, the riskiest first; a few of them are named.
    """
    actions = "action waits" if count == 1 else "actions wait"
    named = [_in_brief(request) for request in requests[:_NAMED]]
    summary = (
        f"{agent_name} wants to do something that it may not do without your approval: {count} "
        f"{actions}. Nothing has been done yet."
    )
    more = [f"and {count - _NAMED} more"] if count > _NAMED and named else []
    return draft(
        user_id,
        f"{count} {actions} for your approval",
        "\n".join([summary, *named, *more]),
        category=Category.APPROVAL_NEEDED,
        metadata={
            "pending_actions": count,
            "agent_name": agent_name,
            **({"risk": requests[0].risk} if requests else {}),
            **({"action_ids": [str(r.id) for r in requests[:_NAMED]]} if requests else {}),
        },
        run_id=run_id,
    )


def _in_brief(request: ApprovalRequest) -> str:
    """Name a request on one line, a mail with who gets it. What its agent says of it is quoted."""
    account = " ".join(request.account.split())
    quoted = f": it says \u201c{shorten(account, _LONGEST_ACCOUNT)}\u201d" if account else ""
    call = call_in_brief(request.tool_name, request.arguments)
    return f"- {call}, {request.risk} risk, {str(request.id)[:8]}{quoted}"
