"""Connections: a person's accounts elsewhere, stored encrypted.

A connection is decrypted only for tools that run for its owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rota.domain.agents.connections import (
    MOST_REFUSALS,
    ConnectionInfo,
    ConnectionState,
    LoginRefusedError,
)
from rota.domain.agents.mail_accounts import ImapAccount
from rota.domain.errors import (
    InvalidInputError,
    NotFoundError,
    RotaError,
    SetupRequiredError,
    UnavailableError,
)
from rota.domain.ids import UserId
from rota.domain.text.storable import cut
from rota.security.secrets.encryption import Cipher
from rota.store.agents import connections as rows
from rota.store.database import Database

SERVICES: Final = ("gmail", "imap")
"""Kinds of connections: what a tool of rota's asks for."""

_NAMES: Final = {"gmail": "Gmail", "imap": "A mailbox"}
_LONGEST_PROBLEM: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Went:
    """The outcome of one use of a connection."""

    state: ConnectionState = ConnectionState.OK
    problem: str = ""
    is_refusal: bool = False


class ConnectionService:
    """Stores, lists, removes and opens connections."""

    def __init__(
        self, database: Database, cipher: Cipher, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._clock = clock

    async def add(
        self,
        user_id: UserId,
        service: str,
        secret: str,
        *,
        account: str = "",
        expires_at: datetime | None = None,
    ) -> None:
        """Seal and store a token, replacing an earlier one; raises InvalidInputError."""
        if service not in SERVICES:
            raise InvalidInputError(
                f"There is no service {service!r}; rota connects to {', '.join(SERVICES)}.",
                field="service",
            )
        if not secret.strip():
            raise InvalidInputError("No token was given.", field="secret")
        if any(c.isspace() for c in secret.strip()):
            raise InvalidInputError("A token is one word; this one is not.", field="secret")
        await self._store(
            user_id, service, secret.strip(), account=account, expires_at=expires_at, at=None
        )

    async def add_mailbox(self, user_id: UserId, account: ImapAccount, *, shown: str = "") -> int:
        """Store a mailbox that can be read, replacing an earlier one; return how much is in it.

        It is signed in to first. Raises as `ImapMailbox.check`, and then stores nothing.
        """
        found = await _messages(account)
        await self._store(
            user_id,
            "imap",
            account.as_secret(),
            account=shown or account.user,
            expires_at=None,
            at=self._clock(),
        )
        return found

    async def mailbox(self, user_id: UserId) -> ImapAccount | None:
        """Return the mailbox that a person connected, with its password; None where there is none.

        Raises SetupRequiredError where it was encrypted with another key.
        """
        sealed = await self._sealed(user_id, "imap")
        return (
            None if sealed is None else ImapAccount.from_secret(self._open(user_id, "imap", sealed))
        )

    async def check(self, user_id: UserId) -> int:
        """Sign in to the connected mailbox, and note how that went; return how much is in it.

        Raises NotFoundError where none is connected, and as `ImapMailbox.check`.
        """
        async with self.using(user_id, "imap", is_check=True) as secret:
            if secret is None:
                raise not_connected("imap")
            return await _messages(ImapAccount.from_secret(secret))

    async def all(self, user_id: UserId) -> tuple[ConnectionInfo, ...]:
        """Return a person's connections, without secrets."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_connections(conn)

    async def remove(self, user_id: UserId, service: str) -> None:
        """Delete a connection; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            if not await rows.delete_connection(conn, service):
                raise not_connected(service)

    async def secret(self, user_id: UserId, service: str) -> str:
        """Return the token for a run of this person's; raises SetupRequiredError."""
        sealed = await self._sealed(user_id, service)
        if sealed is None:
            raise SetupRequiredError(
                f"{_NAMES.get(service, service)} is not connected. Connect it with "
                f"`rota connections add {service}`.",
                what=f"connection:{service}",
            )
        if sealed.expires_at is not None and sealed.expires_at <= self._clock():
            raise SetupRequiredError(
                f"The {_NAMES.get(service, service)} connection has expired. Connect it again with "
                f"`rota connections add {service}`.",
                what=f"connection:{service}",
            )
        return self._open(user_id, service, sealed)

    @asynccontextmanager
    async def using(
        self, user_id: UserId, service: str, *, is_check: bool = False
    ) -> AsyncIterator[str | None]:
        """Give the secret of a connection, None where there is none, and note how the block went.

        After `MOST_REFUSALS` logins that were refused, one after another, it raises
        SetupRequiredError: a server that is asked too often locks the account.
        """
        sealed = await self._sealed(user_id, service)
        if sealed is None:
            yield None
            return
        if sealed.refused_logins >= MOST_REFUSALS:
            raise SetupRequiredError(
                f"{sealed.problem} rota has stopped trying after {MOST_REFUSALS} refusals, so that "
                "the account is not locked.",
                what=f"connection:{service}",
            )
        try:
            yield self._open(user_id, service, sealed)
        except RotaError as error:
            await self._note(user_id, service, sealed, _went(error), is_check=is_check)
            raise
        await self._note(user_id, service, sealed, _Went(), is_check=is_check)

    async def _note(
        self,
        user_id: UserId,
        service: str,
        sealed: rows.SealedConnection,
        went: _Went,
        *,
        is_check: bool,
    ) -> None:
        at = self._clock()
        async with self._database.transaction() as conn:
            await rows.note(
                conn,
                user_id,
                service,
                sealed.secret,
                state=went.state,
                problem=went.problem,
                is_refusal=went.is_refusal,
                used_at=None if is_check else at,
                checked_at=at if is_check else None,
            )

    async def _store(
        self,
        user_id: UserId,
        service: str,
        secret: str,
        *,
        account: str,
        expires_at: datetime | None,
        at: datetime | None,
    ) -> None:
        encrypted = self._cipher.encrypt(secret, identity=connection_identity(user_id, service))
        sealed = rows.SealedConnection(encrypted, self._cipher.key_id, expires_at, account)
        async with self._database.transaction() as conn:
            await rows.upsert_sealed(conn, user_id, service, sealed, checked_at=at)

    async def _sealed(self, user_id: UserId, service: str) -> rows.SealedConnection | None:
        async with self._database.connection() as conn:
            return await rows.fetch_sealed(conn, user_id, service)

    def _open(self, user_id: UserId, service: str, sealed: rows.SealedConnection) -> str:
        return self._cipher.decrypt(sealed.secret, identity=connection_identity(user_id, service))


async def _messages(account: ImapAccount) -> int:
    # IMAPClient, for those commands only that need it.
    from rota.agents.tools.mail.imap import ImapMailbox  # noqa: PLC0415

    return await asyncio.to_thread(ImapMailbox(account).check)


def _went(error: RotaError) -> _Went:
    """Tell from an error how a connection does; what is not about it leaves it in order."""
    problem = cut(error.message, _LONGEST_PROBLEM).text
    if isinstance(error, SetupRequiredError):
        is_refusal = isinstance(error, LoginRefusedError)
        return _Went(ConnectionState.NEEDS_YOU, problem, is_refusal)
    if isinstance(error, UnavailableError):
        return _Went(ConnectionState.BROKEN, problem)
    return _Went()


def not_connected(service: str) -> NotFoundError:
    """Return the error for a connection that is not there: how it is made, too."""
    return NotFoundError(
        "connection", service, hint="`rota connections add imap` or `add gmail` makes one."
    )


def connection_identity(user_id: UserId, service: str) -> str:
    """Return what a connection's secret is bound to."""
    return f"connections/{user_id}/{service}"
