"""Sessions of people at browsers: begun at sign-in, ended by time, sign-out or revocation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from rota.domain.errors import NotFoundError
from rota.domain.identity.sessions import (
    ABSOLUTE_END,
    IDLE_END,
    LONGEST_USER_AGENT,
    NewSession,
    Session,
    SignedInBy,
)
from rota.domain.ids import UserId
from rota.domain.text.unseen import spell_out
from rota.security.secrets.one_time import hash_of, new_secret
from rota.store.database import Database
from rota.store.identity import sessions as rows

MOST_SESSIONS: Final = 50
"""Sessions that a person may have; a new one ends the one that was not seen for longest."""

SEEN_IS_WRITTEN_EACH: Final = timedelta(minutes=1)


class SessionService:
    """Acts as the backend: nobody but rota reads these rows. Each call names the person."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def begin(
        self, user_id: UserId, *, by: SignedInBy, user_agent: str, former: str | None = None
    ) -> NewSession:
        """Begin a session with a new secret. `former`: the cookie's until now, whose session ends.

        So nobody who set or saw a cookie before the sign-in is signed in by it.
        """
        now = self._clock()
        secret = new_secret()
        told = spell_out(user_agent).replace("\n", " ")[:LONGEST_USER_AGENT]
        async with self._database.transaction() as conn:
            if former is not None:
                await rows.delete_of_cookie(conn, hash_of(former))
            made = await rows.insert(
                conn,
                user_id,
                hash_=hash_of(secret),
                signed_in_by=by,
                user_agent=told,
                now=now,
                idle_ends_at=now + IDLE_END,
                ends_at=now + ABSOLUTE_END,
            )
            await rows.delete_beyond(conn, user_id, most=MOST_SESSIONS)
        return NewSession(made, secret)

    async def find(self, secret: str) -> Session | None:
        """Return the session of a cookie, and note that it was seen; None where it is over."""
        now = self._clock()
        async with self._database.connection() as conn:
            return await rows.use(
                conn,
                hash_of(secret),
                now=now,
                a_minute_ago=now - SEEN_IS_WRITTEN_EACH,
                idle_ends_at=now + IDLE_END,
            )

    async def all(self, user_id: UserId) -> tuple[Session, ...]:
        """Return a person's sessions that are not over, the one seen last first."""
        async with self._database.connection() as conn:
            return await rows.list_all(conn, user_id, self._clock())

    async def end(self, user_id: UserId, session_id: UUID) -> None:
        """End a session: its cookie is worth nothing from now on. Raises NotFoundError."""
        async with self._database.connection() as conn:
            if not await rows.delete(conn, user_id, session_id):
                raise NotFoundError("session", str(session_id))
