"""Keeps connections alive while nobody looks: refreshes, checks, and tells their owners.

Schedulers do it as chores. Each refresh, check and notice is done by one of them: the first goes by
a lease, the others are claimed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from rota.domain.agents.connections import KINDS
from rota.domain.agents.grants import why_it_ends
from rota.domain.errors import RotaError
from rota.domain.notifications.notification import Category
from rota.logs import LazyLogger
from rota.services.agents.connections import ConnectionService
from rota.services.notifications.service import NotificationService
from rota.store.agents import connections as rows
from rota.store.agents.connections import ConnectionKey, Telling
from rota.store.database import Database

REFRESH_EVERY: Final = 5.0
"""Seconds between two looks for grants to refresh."""

CHECK_EVERY: Final = 15.0
"""Seconds between two looks for connections to check."""

TELL_EVERY: Final = 5.0
"""Seconds between two looks for what people are to be told."""

ENDS_SOON: Final = timedelta(days=3)
"""How long before its end the owner of a connection is told of it."""

BROKEN_FOR_LONG: Final = timedelta(days=1)
"""How long a connection does not work before its owner is told, where that may pass by itself."""

_AT_ONCE: Final = 5
_BATCH: Final = 100
_LONGEST: Final = 120.0
"""Seconds after which one connection holds the others up no longer."""

_TRIED_AGAIN_AFTER: Final = timedelta(hours=1)
"""When a check that was begun, and whose process died, is made by another."""

log = LazyLogger(__name__)


class ConnectionUpkeep:
    """What is done for all connections, of all people, at a time."""

    def __init__(
        self,
        database: Database,
        connections: ConnectionService,
        notifications: NotificationService,
        *,
        key_ids: Callable[[], Sequence[str]],
    ) -> None:
        """`key_ids`: the keys of this process. It leaves alone what another one encrypted."""
        self._key_ids = key_ids
        self._database = database
        self._connections = connections
        self._notifications = notifications

    async def refresh(self, now: datetime) -> int:
        """Refresh the grants that are due, and return how many."""
        async with self._database.connection() as conn:
            due = await rows.list_due_refreshes(
                conn, key_ids=self._key_ids(), now=now, limit=_BATCH
            )

        async def refresh(key: ConnectionKey) -> None:
            await self._connections.refresh(key.user_id, key.name)

        await _each(due, refresh, "connection_not_refreshed")
        return len(due)

    async def check(self, now: datetime) -> int:
        """Check the connections whose time it is, and return how many; how it went is noted."""
        async with self._database.transaction() as conn:
            due = await rows.claim_due_checks(
                conn,
                key_ids=self._key_ids(),
                now=now,
                again_at=now + _TRIED_AGAIN_AFTER,
                limit=_BATCH,
            )

        async def check(key: ConnectionKey) -> None:
            await self._connections.check(key.user_id, key.name)

        await _each(due, check, "connection_does_not_work")
        return len(due)

    async def tell(self, now: datetime) -> int:
        """Tell people once of each connection that ends soon, needs them, or works again."""
        async with self._database.transaction() as conn:
            found = await rows.claim_tellings(
                conn,
                now=now,
                broken_before=now - BROKEN_FOR_LONG,
                ends_before=now + ENDS_SOON,
                limit=_BATCH,
            )
            for telling in found:
                if (said := _said(telling)) is not None:
                    category, title, body = said
                    await self._notifications.notify_user(
                        telling.user_id,
                        title,
                        body,
                        category=category,
                        metadata={"connection": telling.name, "state": telling.is_now or "ok"},
                        conn=conn,
                    )
        return len(found)


async def _each(
    due: Sequence[ConnectionKey], work: Callable[[ConnectionKey], Awaitable[None]], event: str
) -> None:
    """Do the work for each connection, a few at once. One that fails is logged, and noted."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(key: ConnectionKey) -> None:
        async with places:
            try:
                async with asyncio.timeout(_LONGEST):
                    await work(key)
            except (RotaError, TimeoutError) as error:
                log.warning(event, connection=key.name, user_id=str(key.user_id), error=str(error))

    await asyncio.gather(*map(one, due))


def _said(told: Telling) -> tuple[Category, str, str] | None:
    """Return category, title and body of a notification; None where there is nothing to say."""
    noun = KINDS[told.kind].noun if told.kind in KINDS else told.kind
    account = f" ({told.account})" if told.account else ""
    which = f"The connection {told.name}: {noun}{account}."
    reconnect = f"`rota connections reconnect {told.name}`"
    ends = told.expires_at is not None and why_it_ends(told.kind)
    why = f"{ends} " if ends else ""
    match told.is_now:
        case "needs you":
            problem = told.problem or f"{why}It has ended. Connect it again with {reconnect}."
            more = "Schedules whose runs fail for it pause. They continue when it works again."
            title = f"Your connection {told.name} needs you"
            return Category.ERROR, title, f"{which}\n{problem}\n{more}"
        case "broken":
            body = (
                f"It has not worked since {told.troubled_since:%Y-%m-%d %H:%M} UTC: "
                f"{told.problem}\nrota tries it each hour; `rota connections check {told.name}` "
                "tries it now."
            )
            return Category.ERROR, f"Your connection {told.name} does not work", f"{which}\n{body}"
        case "expiring":
            body = (
                f"It ends at {told.expires_at:%Y-%m-%d %H:%M} UTC, and runs that use it fail after "
                f"that. {why}Before then, connect it again with {reconnect}."
            )
            title = f"Your connection {told.name} ends on {told.expires_at:%Y-%m-%d}"
            return Category.INFO, title, f"{which}\n{body}"
        case _ if told.was in {"needs you", "broken"}:
            return (
                Category.INFO,
                f"Your connection {told.name} works again",
                f"{which}\nSchedules that rota paused for it continue.",
            )
        case _:
            return None
