"""Results and notifications as their owner reads them."""

from __future__ import annotations

from collections.abc import Sequence

from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.ids import NotificationId, UserId
from rota.domain.notifications.notification import Notification
from rota.store.database import Database
from rota.store.notifications import rows as notification_rows
from rota.store.runs import results as rows
from rota.store.runs.results import Result

SHORTEST_PREFIX = 4
"""Characters of an id that are enough, if they fit one alone."""


class ResultService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(
        self,
        user_id: UserId,
        *,
        agent_name: str | None = None,
        status: str | None = None,
        limit: int = 20,
    ) -> tuple[Result, ...]:
        """Return the person's results, newest first."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_results(conn, agent_name=agent_name, status=status, limit=limit)

    async def get(self, user_id: UserId, reference: str | None) -> Result:
        """Return a result by its id or its run's, or the beginning of one; None: the latest.

        Raises NotFoundError, and InvalidInputError where more than one fits.
        """
        async with self._database.acting_as(user_id) as conn:
            if reference is None:
                found = await rows.list_results(conn, agent_name=None, status=None, limit=1)
            elif len(reference) >= SHORTEST_PREFIX and _is_id(reference):
                found = await rows.fetch_result(conn, reference.lower())
            else:
                found = ()
        if not found:
            raise NotFoundError("result", reference or "latest", hint="See `rota results list`.")
        if len(found) > 1:
            raise InvalidInputError(f"{reference!r} fits more than one result; write more of it.")
        return found[0]

    async def notifications(
        self, user_id: UserId, *, unread_only: bool = False, limit: int = 20
    ) -> tuple[Notification, ...]:
        """Return the person's notifications, newest first."""
        async with self._database.acting_as(user_id) as conn:
            return await notification_rows.list_notifications(
                conn, unread_only=unread_only, limit=limit
            )

    async def mark_read(self, user_id: UserId, references: Sequence[str] | None) -> int:
        """Mark notifications, by (the beginning of) their ids, as read; None: all.

        Returns how many were unread. Raises NotFoundError and marks none if one is not there.
        """
        async with self._database.acting_as(user_id) as conn:
            if references is None:
                return await notification_rows.mark_read(conn, None)
            ids: list[NotificationId] = []
            for reference in references:
                valid = len(reference) >= SHORTEST_PREFIX and _is_id(reference)
                found = (
                    await notification_rows.find_notifications(conn, reference.lower())
                    if valid
                    else ()
                )
                if not found:
                    raise NotFoundError(
                        "notification", reference, hint="See `rota notifications list`."
                    )
                if len(found) > 1:
                    raise InvalidInputError(
                        f"{reference!r} fits more than one notification; write more of it."
                    )
                ids += found
            return await notification_rows.mark_read(conn, ids)


def _is_id(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF-" for character in text)
