"""Identities: which person a subject of an issuer is. The operator links them.

Addresses decide nothing unless the operator allowed it: whoever runs an issuer can claim any.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime

from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError, NotSignedInError
from rota.domain.identity.identities import Identity
from rota.domain.ids import UserId
from rota.domain.text.shortening import quoted
from rota.store import users
from rota.store.database import Database
from rota.store.identity import identities as rows


class IdentityService:
    """Acts as the backend, because only the operator says who somebody is."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def all(self, user_id: UserId) -> tuple[Identity, ...]:
        """Return a person's identities."""
        async with self._database.connection() as conn:
            return await rows.list_all(conn, user_id)

    async def link(self, user_id: UserId, issuer: str, subject: str) -> None:
        """Say that this subject is this person.

        Raises InvalidInputError, and ConflictError where it is somebody else.
        """
        for field, text in (("issuer", issuer), ("subject", subject)):
            if not 0 < len(text) <= 1_000 or text != text.strip():
                raise InvalidInputError(
                    f"{quoted(text, 60)} is no {field}: it has 1 to 1,000 characters.", field=field
                )
        if not issuer.startswith(("https://", "http://")):
            raise InvalidInputError("An issuer is a URL, as ROTA_OIDC_ISSUER.", field="issuer")
        now = self._clock()
        async with self._database.transaction() as conn:
            if await rows.insert(conn, issuer, subject, user_id, now=now):
                return
            known = await rows.find(conn, issuer, subject)
        if known is None or known.user_id != user_id:
            raise ConflictError(
                f"Subject {quoted(subject)} of this issuer is another person. "
                "`rota people unlink` takes that back."
            )

    async def unlink(self, user_id: UserId, issuer: str, subject: str) -> None:
        """Take that back; sessions go on until they end. Raises NotFoundError."""
        async with self._database.connection() as conn:
            if not await rows.delete(conn, issuer, subject, user_id):
                raise NotFoundError("identity", subject, hint="See `rota people identities`.")

    async def person(
        self, issuer: str, subject: str, *, email: str | None, match_email: bool
    ) -> UserId:
        """Return who has signed in at an issuer.

        `email` is an address that the issuer has verified, None where it has not. With
        `match_email` a person with that address, who has no identity at the issuer yet, is linked
        to the subject. Raises NotSignedInError for an unknown subject.
        """
        async with self._database.transaction() as conn:
            known = await rows.find(conn, issuer, subject)
            if known is not None:
                return known.user_id
            if match_email and email is not None:
                found = await users.find_user(conn, email.lower())
                if found is not None and await rows.insert_of_email(
                    conn, issuer, subject, found, now=self._clock()
                ):
                    return found
        raise NotSignedInError(
            f"Nobody here is subject {quoted(subject, 200)} of {issuer}. The operator links you: "
            f"{_command(issuer, subject)}"
        )


def _command(issuer: str, subject: str) -> str:
    """Return what the operator types, quoted for a shell: an issuer may say any subject."""
    return (
        f"`rota people link EMAIL --issuer {shlex.quote(issuer)} --subject {shlex.quote(subject)}`."
    )
