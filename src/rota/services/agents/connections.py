"""Connections: a person's accounts elsewhere, stored encrypted.

A connection is decrypted only for tools that run for its owner.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rota.domain.agents.connections import (
    KINDS,
    MOST_REFUSALS,
    ConnectedAccount,
    ConnectionInfo,
    ConnectionState,
    LoginRefusedError,
    ReconnectRequiredError,
    connection_name,
    kind_named,
    what_to_set_up,
)
from rota.domain.agents.grants import Grant, is_grant, why_it_ends
from rota.domain.agents.mail_accounts import ImapAccount
from rota.domain.errors import (
    ConflictError,
    NotFoundError,
    RotaError,
    SetupRequiredError,
    UnavailableError,
)
from rota.domain.ids import UserId
from rota.domain.text.storable import cut
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connection_checks import CHECKS, check_sending
from rota.services.agents.grant_keeping import (
    GrantKeeper,
    Issuers,
    connection_identity,
    refresh_at,
)
from rota.services.agents.grant_keeping import issuers as oauth_issuers
from rota.store.agents import connections as rows
from rota.store.database import Database

CHECKED_EVERY: Final = timedelta(days=1)
TROUBLED_CHECKED_EVERY: Final = timedelta(hours=1)
"""Between two checks of one that does not work: what passes is soon seen to have passed."""

REFRESH_TRIED_AGAIN_AFTER: Final = timedelta(minutes=1)
"""Where a provider did not answer; one that says no is asked with the daily check."""

_LONGEST_PROBLEM: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Went:
    """The outcome of one use of a connection."""

    state: ConnectionState = ConnectionState.OK
    problem: str = ""
    is_refusal: bool = False

    def next_check(self, at: datetime) -> datetime:
        """Return when to check it again: not all at once, so up to a tenth of the time earlier.

        A password that was refused will be refused again, and each refusal counts.
        """
        is_ill = self.state is not ConnectionState.OK and not self.is_refusal
        pause = TROUBLED_CHECKED_EVERY if is_ill else CHECKED_EVERY
        return at + pause * random.uniform(0.9, 1)


@dataclass(slots=True)
class _Opened:
    """What a tool gets of a connection, and the row that it came from."""

    secret: str
    sealed: rows.SealedConnection


class ConnectionService:
    """Stores, lists, checks, opens and removes connections, each by its person and name."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        *,
        clock: Callable[[], datetime],
        endpoints: Mapping[str, str] | None = None,
        issuers: Issuers | None = None,
    ) -> None:
        """`endpoints` are the operator's other base URLs, by the name of an API.

        `issuers` opens what speaks to the providers of grants, in place of that which really does.
        """
        self._database = database
        self._cipher = cipher
        self._clock = clock
        self._endpoints = endpoints or {}
        self._keeper = GrantKeeper(
            database,
            cipher,
            clock=clock,
            issuers=issuers or oauth_issuers(clock, self._endpoints),
        )

    async def add_mailbox(
        self,
        user_id: UserId,
        account: ImapAccount,
        *,
        name: str = "",
        shown: str = "",
        has_to_send: bool = False,
    ) -> str:
        """Store a mailbox that can be read, as `keep`, and return what is in it ("3 messages").

        It is signed in to first. Raises as `ImapMailbox.check`, and then stores nothing; with
        `has_to_send` also as `SmtpServer.check`. Otherwise what is returned says why it cannot
        send.
        """
        name = await self.free_name(user_id, "imap", name)
        secret = account.as_secret()
        found = await CHECKS["imap"](secret, self._endpoints)
        if account.smtp_host:
            try:
                await check_sending(account)
            except RotaError as error:
                if has_to_send:
                    raise
                found = f"{found}; it cannot send: {error.message.rstrip('.')}"
        await self.keep(
            user_id,
            "imap",
            secret,
            name=name,
            account=shown or account.user,
            scopes=account.scopes,
            is_checked=True,
        )
        return found

    async def connect(
        self, user_id: UserId, kind: str, secret: str, *, name: str = "", account: str = ""
    ) -> str:
        """Store a connection that works, as `keep`, and return what is in it ("3 messages").

        It is tried first. Raises as its check does, and then stores nothing.
        """
        name = await self.free_name(user_id, kind, name)
        found = await CHECKS[kind](secret, self._endpoints)
        await self.keep(user_id, kind, secret, name=name, account=account, is_checked=True)
        return found

    async def add_grant(
        self,
        user_id: UserId,
        kind: str,
        grant: Grant,
        *,
        name: str = "",
        account: str = "",
        is_checked: bool = False,
    ) -> str:
        """Store a grant that was just given, as `keep`; return the connection's name."""
        return await self.keep(
            user_id,
            kind,
            grant.as_secret(),
            name=name,
            account=account or grant.account,
            scopes=grant.scopes,
            expires_at=grant.ends_at,
            refresh_at=refresh_at(grant, self._clock()),
            is_checked=is_checked,
        )

    async def keep(
        self,
        user_id: UserId,
        kind: str,
        secret: str,
        *,
        name: str = "",
        account: str = "",
        scopes: tuple[str, ...] = (),
        expires_at: datetime | None = None,
        refresh_at: datetime | None = None,
        is_checked: bool = False,
    ) -> str:
        """Seal and store a connection, replacing one of its name and kind; return the name.

        Raises InvalidInputError, and ConflictError where the name is that of another kind.
        """
        kind_named(kind)
        name = connection_name(name, kind)
        at = self._clock()
        sealed = rows.SealedConnection(
            kind,
            self._cipher.encrypt(secret, identity=connection_identity(user_id, name)),
            self._cipher.key_id,
            expires_at,
            account=account,
            scopes=scopes,
            refresh_at=refresh_at,
        )
        async with self._database.transaction() as conn:
            if not await rows.upsert_sealed(
                conn,
                user_id,
                name,
                sealed,
                checked_at=at if is_checked else None,
                check_at=_Went().next_check(at),
            ):
                raise _name_taken(name)
        return name

    async def free_name(self, user_id: UserId, kind: str, name: str) -> str:
        """Return the name that a new connection would have; raises as `keep`, before a sign-in."""
        name = connection_name(name, kind_named(kind).name)
        there = await self._sealed(user_id, name)
        if there is not None and there.kind != kind:
            raise _name_taken(name)
        return name

    async def open(self, user_id: UserId, name: str) -> str:
        """Return the whole secret of a connection, for whoever connects it anew.

        Raises NotFoundError, and SetupRequiredError where it was encrypted with another key.
        """
        sealed = await self._sealed(user_id, name)
        if sealed is None:
            raise not_connected(name)
        return self._decrypt(user_id, name, sealed)

    async def check(self, user_id: UserId, name: str) -> str:
        """Try a connection, and note how that went; return what was found ("3 messages").

        Raises NotFoundError where there is none, and as its tools do.
        """
        kind = kind_named((await self.get(user_id, name)).kind).name
        async with self.using(user_id, name, is_check=True) as secret:
            try:
                return await CHECKS[kind](secret, self._endpoints)
            except ReconnectRequiredError:
                other = await self.renew(user_id, name, secret)
                if other == secret:
                    raise
                return await CHECKS[kind](other, self._endpoints)

    async def all(self, user_id: UserId) -> tuple[ConnectionInfo, ...]:
        """Return a person's connections, without secrets."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_connections(conn)

    async def get(self, user_id: UserId, name: str) -> ConnectionInfo:
        """Return a connection by its name, without its secret; raises NotFoundError."""
        for found in await self.all(user_id):
            if found.name == name:
                return found
        raise not_connected(name)

    async def connected(self, user_id: UserId, gives: str) -> tuple[ConnectedAccount, ...]:
        """Return a person's connections that give mail, or calendars, for a tool to choose from."""
        return tuple(
            ConnectedAccount(one.name, one.kind, one.account, one.scopes)
            for one in await self.all(user_id)
            if one.is_active and one.kind in KINDS and KINDS[one.kind].gives == gives
        )

    async def revoke(self, user_id: UserId, name: str) -> None:
        """End the grant of a connection at its provider; raises as `GrantIssuer.revoke`."""
        await self._keeper.revoke(user_id, name, await self._connected(user_id, name))

    async def remove(self, user_id: UserId, name: str) -> None:
        """Delete a connection, and no more (see ConnectionRemoval); raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            if not await rows.delete_connection(conn, name):
                raise not_connected(name)

    async def refresh(self, user_id: UserId, name: str) -> None:
        """Refresh the grant of a connection if that is due, and note where that fails.

        Raises as `GrantIssuer.refresh`, and SetupRequiredError where there is no such connection.
        """
        sealed = await self._connected(user_id, name)
        try:
            await self._opened(user_id, name, sealed)
        except RotaError as error:
            named = _named(error, name)
            await self._note(user_id, name, sealed, named, is_unopened=True)
            raise named from error

    async def secret(self, user_id: UserId, name: str) -> str:
        """Return what a run of this person's gets of a connection; raises SetupRequiredError."""
        return (await self._opened(user_id, name, await self._connected(user_id, name))).secret

    async def renew(self, user_id: UserId, name: str, refused: str) -> str:
        """Return the secret to use in place of one that was refused, as where a token ended early.

        It is the same for what is no OAuth grant. Raises as `secret`.
        """
        sealed = await self._connected(user_id, name)
        secret = self._decrypt(user_id, name, sealed)
        if not is_grant(secret):
            return secret
        grant = Grant.from_secret(secret)
        is_refused = secret_for_tools(grant) == refused
        found = await self._keeper.fresh(
            user_id, name, sealed, refused=grant.access_token if is_refused else ""
        )
        return secret_for_tools(found.grant)

    @asynccontextmanager
    async def using(
        self, user_id: UserId, name: str, *, is_check: bool = False
    ) -> AsyncIterator[str]:
        """Give what a tool gets of a connection, and note how the block went.

        Raises SetupRequiredError where there is none; and after `MOST_REFUSALS` logins that were
        refused, one after another: a server that is asked too often locks the account. What the
        block raises for want of something to set up names this connection.
        """
        sealed = await self._connected(user_id, name)
        if sealed.refused_logins >= MOST_REFUSALS and sealed.refresh_at is None:
            raise SetupRequiredError(
                f"{sealed.problem} rota has stopped trying after {MOST_REFUSALS} refusals, so that "
                "the account is not locked.",
                what=what_to_set_up(name),
            )
        is_open = False
        try:
            opened = await self._opened(user_id, name, sealed)
            sealed, is_open = opened.sealed, True
            yield opened.secret
        except RotaError as error:
            named = _named(error, name)
            if is_open and (is_check or isinstance(error, ReconnectRequiredError)):
                sealed = await self._renewed(user_id, name, sealed)
            await self._note(
                user_id,
                name,
                sealed,
                named,
                is_use=not is_check,
                is_check=is_check,
                is_unopened=not is_open,
            )
            if named is error:
                raise
            raise named from error
        if is_check:
            sealed = await self._renewed(user_id, name, sealed)
        await self._note(user_id, name, sealed, None, is_use=not is_check, is_check=is_check)

    async def _renewed(
        self, user_id: UserId, name: str, sealed: rows.SealedConnection
    ) -> rows.SealedConnection:
        """Return the row of a grant as it is after `renew`: what is noted is about its token."""
        if sealed.refresh_at is None:
            return sealed
        return await self._sealed(user_id, name) or sealed

    async def _note(
        self,
        user_id: UserId,
        name: str,
        sealed: rows.SealedConnection,
        error: RotaError | None,
        *,
        is_use: bool = False,
        is_check: bool = False,
        is_unopened: bool = False,
    ) -> None:
        """Write how a use or check went; `is_unopened`: its grant could not be refreshed."""
        if error is not None and _is_about_another(error, name):
            return
        at, went = self._clock(), _went(error)
        again_at: datetime | None = None
        if sealed.refresh_at is not None and is_unopened:
            is_passing = isinstance(error, UnavailableError)
            again_at = at + (REFRESH_TRIED_AGAIN_AFTER if is_passing else CHECKED_EVERY)
        elif sealed.refresh_at is not None and is_use and isinstance(error, ReconnectRequiredError):
            again_at = at  # a provider that no longer takes a token may give another
        async with self._database.transaction() as conn:
            await rows.note(
                conn,
                user_id,
                name,
                sealed.secret,
                state=went.state,
                problem=went.problem,
                is_refusal=went.is_refusal,
                is_use=is_use,
                is_check=is_check,
                at=at,
                check_at=went.next_check(at),
                refresh_at=again_at,
            )

    async def _opened(self, user_id: UserId, name: str, sealed: rows.SealedConnection) -> _Opened:
        noun = KINDS[sealed.kind].noun if sealed.kind in KINDS else sealed.kind
        if sealed.expires_at is not None and sealed.expires_at <= self._clock():
            why = why_it_ends(sealed.kind) if sealed.refresh_at is not None else ""
            raise SetupRequiredError(
                f"{noun} ({name}) has expired. {why}{' ' if why else ''}Connect it again with "
                f"`rota connections reconnect {name}`.",
                what=what_to_set_up(name),
            )
        secret = self._decrypt(user_id, name, sealed)
        if is_grant(secret):
            found = await self._keeper.fresh(user_id, name, sealed)
            return _Opened(secret_for_tools(found.grant), found.sealed)
        return _Opened(secret, sealed)

    async def _connected(self, user_id: UserId, name: str) -> rows.SealedConnection:
        sealed = await self._sealed(user_id, name)
        if sealed is None:
            noun = KINDS[name].noun if name in KINDS else name
            kind = name if name in KINDS else "KIND"
            more = "" if name in KINDS else f" --name {name}"
            raise SetupRequiredError(
                f"{noun} is not connected. Connect it with `rota connections add {kind}{more}`.",
                what=what_to_set_up(name),
            )
        return sealed

    async def _sealed(self, user_id: UserId, name: str) -> rows.SealedConnection | None:
        async with self._database.connection() as conn:
            return await rows.fetch_sealed(conn, user_id, name)

    def _decrypt(self, user_id: UserId, name: str, sealed: rows.SealedConnection) -> str:
        return self._cipher.decrypt(sealed.secret, identity=connection_identity(user_id, name))


def secret_for_tools(grant: Grant) -> str:
    """Return what tools get of a grant: an access token, in a mail account or alone."""
    if grant.mailbox:
        return replace(ImapAccount.from_secret(grant.mailbox), token=grant.access_token).as_secret()
    return grant.access_token


def _named(error: RotaError, name: str) -> RotaError:
    """Return an error with the name of its connection, and the command that mends it."""
    what = what_to_set_up(name)
    if not isinstance(error, SetupRequiredError) or error.what not in {"connection", what}:
        return error
    message = error.message
    if isinstance(error, ReconnectRequiredError):
        message = f"{message} Connect it again with `rota connections reconnect {name}`."
    return type(error)(message, what=what)


def _is_about_another(error: RotaError, name: str) -> bool:
    """Tell whether an error says nothing of this connection, as where a process lacks the key."""
    if isinstance(error, SetupRequiredError):
        return error.what != what_to_set_up(name)
    return isinstance(error, UnavailableError) and error.service == "database"


def _went(error: RotaError | None) -> _Went:
    """Tell from an error how a connection does; what is not about it leaves it in order."""
    if error is None:
        return _Went()
    problem = cut(error.message, _LONGEST_PROBLEM).text
    if isinstance(error, SetupRequiredError):
        is_refusal = isinstance(error, LoginRefusedError)
        return _Went(ConnectionState.NEEDS_YOU, problem, is_refusal)
    if isinstance(error, UnavailableError):
        return _Went(ConnectionState.BROKEN, problem)
    return _Went()


def _name_taken(name: str) -> ConflictError:
    return ConflictError(
        f"A connection of another kind is named {name}. Choose another --name, or remove that one "
        f"with `rota connections remove {name}`."
    )


def not_connected(name: str) -> NotFoundError:
    """Return the error for a connection that is not there: how it is made, too."""
    return NotFoundError(
        "connection",
        name,
        hint="`rota connections list` shows yours; `rota connections add imap` or `add gmail` "
        "connects a mailbox, `add ics` or `add google-calendar` a calendar.",
    )
