"""API tokens: made for programs, shown once, and looked up by their hash."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from rota.domain.errors import ConflictError, InvalidInputError
from rota.domain.identity.scopes import Scope
from rota.domain.identity.tokens import (
    TOKEN_PREFIX,
    ApiToken,
    NewToken,
    TokenBearer,
    check_token_name,
)
from rota.domain.ids import UserId
from rota.security.secrets.one_time import hash_of, new_secret
from rota.services.references import id_prefix, the_one
from rota.store.database import Database
from rota.store.identity import tokens as rows

MOST_TOKENS: Final = 100
"""Tokens that a person may have."""

LONGEST_LIFE: Final = timedelta(days=3_660)

USE_IS_WRITTEN_EACH: Final = timedelta(minutes=1)


class TokenService:
    """Acts as the backend: nobody but rota reads these rows. Each call names the person."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def create(
        self,
        user_id: UserId,
        name: str,
        scopes: Collection[Scope],
        *,
        lasts: timedelta | None,
    ) -> NewToken:
        """Make a token; `lasts` None: until it is revoked.

        Raises InvalidInputError, and ConflictError where the person has one of that name, or 100.
        """
        name = check_token_name(name)
        if not scopes:
            raise InvalidInputError("A token needs a scope at least.", field="scopes")
        if lasts is not None and not timedelta(0) < lasts <= LONGEST_LIFE:
            raise InvalidInputError(
                f"A token lasts up to {LONGEST_LIFE.days:,} days, or until it is revoked.",
                field="expires",
            )
        now = self._clock()
        secret = new_secret(TOKEN_PREFIX)
        async with self._database.transaction() as conn:
            made = await rows.insert(
                conn,
                user_id,
                name,
                hash_=hash_of(secret),
                scopes=scopes,
                now=now,
                expires_at=None if lasts is None else now + lasts,
                most=MOST_TOKENS,
            )
        if made is None:
            raise ConflictError(f"{MOST_TOKENS} tokens are the most: revoke some first.")
        return NewToken(made, secret)

    async def all(self, user_id: UserId) -> tuple[ApiToken, ...]:
        """Return a person's tokens by their names, expired ones too."""
        async with self._database.connection() as conn:
            return await rows.list_all(conn, user_id)

    async def revoke(self, user_id: UserId, reference: str) -> ApiToken:
        """Delete a token by its name, its id, or the beginning of its id; from now on it is none.

        Raises NotFoundError.
        """
        async with self._database.transaction() as conn:
            there = await rows.list_all(conn, user_id)
            named = [one for one in there if one.name == reference]
            prefix = id_prefix(reference)
            found = named or [one for one in there if prefix and str(one.id).startswith(prefix)]
            token = the_one("token", reference, found, hint="See `rota tokens list`.")
            await rows.delete(conn, user_id, token.id)
        return token

    async def bearer(self, secret: str) -> TokenBearer | None:
        """Return whom a token belongs to, and note that it was used; None where it is not valid."""
        now = self._clock()
        async with self._database.connection() as conn:
            return await rows.use(
                conn, hash_of(secret), now=now, a_minute_ago=now - USE_IS_WRITTEN_EACH
            )
