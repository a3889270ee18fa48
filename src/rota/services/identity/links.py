"""Links that sign a person in once: printed by `rota up` and `rota sign-in`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rota.domain.errors import NotSignedInError
from rota.domain.identity.sessions import LINK_LASTS, SignInLink
from rota.domain.ids import UserId
from rota.security.secrets.one_time import hash_of, new_secret
from rota.store.database import Database
from rota.store.identity import sessions as rows


class LinkService:
    """Acts as the backend: whoever may call `make` for a person is the operator."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def make(self, person: UserId) -> SignInLink:
        """Make a link that signs this person in once, within 15 minutes."""
        now = self._clock()
        link = SignInLink(new_secret(), now + LINK_LASTS)
        async with self._database.connection() as conn:
            await rows.insert_link(
                conn, person, hash_=hash_of(link.code), now=now, expires_at=link.expires_at
            )
        return link

    async def redeem(self, code: str) -> UserId:
        """Use a link up and return whose it is; raises NotSignedInError."""
        async with self._database.connection() as conn:
            found = await rows.use_link(conn, hash_of(code), self._clock())
        if found is None:
            raise NotSignedInError(
                "This link does not sign in any more: each works once, for 15 minutes. "
                "`rota sign-in` prints a new one."
            )
        return found
