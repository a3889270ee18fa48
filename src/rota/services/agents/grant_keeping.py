"""Keeps OAuth grants fresh: each is refreshed ahead of its end, by one task of one process.

Whoever refreshes a grant has its lease. A provider may give a new refresh token with each access
token, and take the old one for stolen where it comes again. So nobody else asks meanwhile, what
came is stored whatever becomes of the run that waits for it, and only in place of what was read.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar

from rota.domain.agents.grants import Grant, GrantIssuer
from rota.domain.errors import ConflictError, RotaError, UnavailableError
from rota.domain.ids import UserId
from rota.logs import LazyLogger
from rota.security.secrets.encryption import Cipher
from rota.store.agents import connections as rows
from rota.store.agents.connections import Lease, SealedConnection
from rota.store.database import Database

LEASE: Final = 5.0
"""Seconds that a lease lasts without being renewed: a holder that was killed is replaced then."""

AHEAD: Final = timedelta(minutes=5)
"""How long before its end an access token is refreshed; with a short life, in its last third."""

_RENEWED_EVERY: Final = LEASE / 5
_LOOKS_EVERY: Final = 0.1
_PATIENCE: Final = 30.0
"""Seconds that a run waits for whoever refreshes the grant that it needs."""

_ENOUGH: Final = timedelta(seconds=30)
"""Left of an access token, it is still good for a request."""

_STORED_WITHIN: Final = 60.0
"""Seconds for which storing is tried again: a refresh token that is not stored is lost."""

Issuers: TypeAlias = Callable[[], AbstractAsyncContextManager[GrantIssuer]]
T = TypeVar("T")
log = LazyLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenGrant:
    """A grant, and the row that it was read from."""

    grant: Grant
    sealed: SealedConnection

    def is_due(self, now: datetime, refused: str = "") -> bool:
        """Return whether it is to be refreshed; as where its access token was refused."""
        if refused and self.grant.access_token == refused:
            return True
        ends_at, refresh_at = self.grant.access_ends_at, self.sealed.refresh_at
        return any(at is not None and at <= now for at in (ends_at, refresh_at))

    def is_good(self, now: datetime, refused: str = "") -> bool:
        """Return whether its access token serves for one more request."""
        ends_at = self.grant.access_ends_at
        is_new = self.grant.access_token not in {"", refused}
        return is_new and (ends_at is None or ends_at - now >= _ENOUGH)


def refresh_at(grant: Grant, now: datetime) -> datetime | None:
    """Return when a grant that was just given is to be refreshed; None: its token does not end."""
    if grant.access_ends_at is None:
        return None
    return grant.access_ends_at - min(AHEAD, (grant.access_ends_at - now) / 3)


def issuers(clock: Callable[[], datetime], endpoints: Mapping[str, str]) -> Issuers:
    """Return what opens an issuer that speaks to the providers."""

    @asynccontextmanager
    async def issuer() -> AsyncIterator[GrantIssuer]:
        # httpx and Authlib, for those only that speak to a provider.
        import httpx  # noqa: PLC0415

        from rota.agents.tools.oauth.issuer import OAuthIssuer  # noqa: PLC0415

        async with httpx.AsyncClient() as http:
            yield OAuthIssuer(http, clock=clock, endpoints=endpoints)

    return issuer


class GrantKeeper:
    """Refreshes the grants in rows of connections."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        *,
        clock: Callable[[], datetime],
        issuers: Issuers,
    ) -> None:
        """`clock` says when tokens end; leases go by the database's, which all processes share."""
        self._database = database
        self._cipher = cipher
        self._clock = clock
        self._issuers = issuers
        self._under_way: set[asyncio.Task[Any]] = set()

    async def fresh(
        self, user_id: UserId, name: str, sealed: SealedConnection, *, refused: str = ""
    ) -> OpenGrant:
        """Return the grant in a row, refreshed if that is due; waits for whoever does that now.

        It is due, too, where its access token is one that was `refused`. Raises as
        `GrantIssuer.refresh`. A refresh that fails and may pass is no error while the access token
        is good.
        """
        found = self._open(user_id, name, sealed)
        waited_since = time.monotonic()
        while found.is_due(self._clock(), refused):
            # A run that is cancelled while the provider answers must not lose the answer.
            made = await self._to_its_end(self._refresh_alone(user_id, name, refused))
            if made is not None:
                return made
            if found.is_good(self._clock(), refused):
                return found
            if time.monotonic() - waited_since > _PATIENCE:
                raise UnavailableError(
                    f"Another process has been refreshing {name} for {_PATIENCE:g} s. Try again "
                    "later.",
                    service=sealed.kind,
                )
            await asyncio.sleep(_LOOKS_EVERY)
            async with self._database.connection() as conn:
                read = await rows.fetch_sealed(conn, user_id, name)
            if read is None:
                raise _changed(name)
            found = self._open(user_id, name, read)
        return found

    async def revoke(self, user_id: UserId, name: str, sealed: SealedConnection) -> None:
        """End a grant at its provider; raises as `GrantIssuer.revoke`."""
        async with self._issuers() as issuer:
            await issuer.revoke(self._open(user_id, name, sealed).grant)

    async def _refresh_alone(self, user_id: UserId, name: str, refused: str) -> OpenGrant | None:
        """Refresh a grant unless it was meanwhile; None where somebody else has the lease."""
        lease = Lease(user_id, name, uuid.uuid4())
        async with self._database.transaction() as conn:
            sealed = await rows.take_lease(conn, lease, seconds=LEASE)
        if sealed is None:
            return None
        try:
            found = self._open(user_id, name, sealed)
            if not found.is_due(self._clock(), refused):
                return found
            try:
                async with self._issuers() as issuer:
                    grant = await self._while_leased(lease, issuer.refresh(found.grant))
            except UnavailableError as error:
                if not found.is_good(self._clock(), refused):
                    raise
                log.warning("refresh_failed", connection=name, error=error.message)
                return found
            return await self._while_leased(lease, self._store(lease, found, grant))
        finally:
            with suppress(RotaError):  # then it ends by itself
                async with self._database.transaction() as conn:
                    await rows.release_lease(conn, lease)

    async def _store(self, lease: Lease, found: OpenGrant, grant: Grant) -> OpenGrant:
        """Store a refreshed grant in place of the one that was read, and return it.

        Where the row holds another grant by now, because its owner connected anew, that stays.
        """
        at, was = self._clock(), found.sealed.secret
        sealed = sealed_grant(self._cipher, lease.user_id, lease.name, found.sealed, grant, at=at)
        given_up_at = time.monotonic() + _STORED_WITHIN
        while True:
            try:
                async with self._database.transaction() as conn:
                    if await rows.replace_grant(
                        conn, lease.user_id, lease.name, sealed, was=was, at=at
                    ):
                        return OpenGrant(grant, sealed)
                    read = await rows.fetch_sealed(conn, lease.user_id, lease.name)
            except UnavailableError:
                if time.monotonic() > given_up_at:
                    raise
                await asyncio.sleep(_LOOKS_EVERY)
                continue
            if read is None:
                raise _changed(lease.name)
            now_there = self._open(lease.user_id, lease.name, read)
            if now_there.grant == grant:  # stored already: only the answer was lost
                return now_there
            if now_there.grant != found.grant:
                return now_there
            was = read.secret  # the same, encrypted with another key meanwhile

    async def _while_leased(self, lease: Lease, work: Coroutine[Any, Any, T]) -> T:
        """Await work, and renew the lease meanwhile.

        A lease that was lost all the same, as after a standstill of this machine, changes nothing:
        the answer is worth storing, if the row is as it was.
        """
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=_RENEWED_EVERY))[0]:
                try:
                    async with self._database.transaction() as conn:
                        await rows.renew_lease(conn, lease, seconds=LEASE)
                except RotaError as error:  # the work itself says what to do without a database
                    log.warning("lease_not_renewed", connection=lease.name, error=error.message)
            return task.result()
        finally:
            task.cancel()

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def _open(self, user_id: UserId, name: str, sealed: SealedConnection) -> OpenGrant:
        secret = self._cipher.decrypt(sealed.secret, identity=connection_identity(user_id, name))
        return OpenGrant(Grant.from_secret(secret), sealed)


def sealed_grant(
    cipher: Cipher,
    user_id: UserId,
    name: str,
    row: SealedConnection,
    grant: Grant,
    *,
    at: datetime,
) -> SealedConnection:
    """Return a row with a grant that was given at `at`."""
    return replace(
        row,
        secret=cipher.encrypt(grant.as_secret(), identity=connection_identity(user_id, name)),
        key_id=cipher.key_id,
        scopes=grant.scopes,
        expires_at=grant.ends_at,
        refresh_at=refresh_at(grant, at),
    )


def connection_identity(user_id: UserId, name: str) -> str:
    """Return what a connection's secret is bound to."""
    return f"connections/{user_id}/{name}"


def _changed(name: str) -> ConflictError:
    return ConflictError(f"The connection {name} was removed meanwhile.")
