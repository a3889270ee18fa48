"""Notifications: stored ones, and new ones that are to be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from rota.domain.ids import NotificationId, RunId, UserId

TITLE_LIMIT: Final = 300
"""Code points; a longer title is cut."""


class Category(StrEnum):
    """SPEC-003's categories.

    >>> told = await app.notifications.latest(me)
    >>> rota.Category.APPROVAL_NEEDED in {one.category for one in told}
    True
    """

    HEARTBEAT = "heartbeat"
    APPROVAL_NEEDED = "approval_needed"
    AGENT_RESULT = "agent_result"
    ERROR = "error"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Notification:
    """One row of `notifications`. The body is untrusted text: escape it where it is shown.

    >>> unread = await app.notifications.latest(me, unread_only=True)
    >>> sorted(notification.title for notification in unread)
    ['1 action waits for your approval', 'clerk']
    """

    id: NotificationId
    user_id: UserId
    category: Category
    title: str
    body: str
    metadata: Mapping[str, Any]
    run_id: RunId | None
    read_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to write: texts that can be stored, within their limits."""

    user_id: UserId
    category: Category
    title: str
    body: str
    metadata: Mapping[str, Any]
    run_id: RunId | None
