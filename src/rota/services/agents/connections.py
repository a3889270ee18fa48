"""A person's accounts elsewhere: kept sealed, opened only for that person's own tools."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rota.domain.agents.connections import ConnectionInfo
from rota.domain.errors import InvalidInputError, NotFoundError, SetupRequiredError
from rota.domain.ids import UserId
from rota.security.secrets.encryption import Cipher
from rota.store.agents import connections as rows
from rota.store.database import Database

SERVICES = ("gmail",)
"""Services that a tool of rota's asks a connection for."""


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
        """Seal and store a secret, replacing an earlier one; raises InvalidInputError."""
        if service not in SERVICES:
            raise InvalidInputError(
                f"There is no service {service!r}; rota connects to {', '.join(SERVICES)}.",
                field="service",
            )
        if not secret.strip():
            raise InvalidInputError("No token was given.", field="secret")
        if any(c.isspace() for c in secret.strip()):
            raise InvalidInputError("A token is one word; this one is not.", field="secret")
        encrypted = self._cipher.encrypt(
            secret.strip(), identity=connection_identity(user_id, service)
        )
        sealed = rows.SealedConnection(encrypted, self._cipher.key_id, expires_at)
        async with self._database.transaction() as conn:
            await rows.upsert_sealed(conn, user_id, service, account, sealed)

    async def all(self, user_id: UserId) -> tuple[ConnectionInfo, ...]:
        """Return a person's connections, without secrets."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_connections(conn)

    async def remove(self, user_id: UserId, service: str) -> None:
        """Delete a connection; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            if not await rows.delete_connection(conn, service):
                raise NotFoundError("connection", service)

    async def secret(self, user_id: UserId, service: str) -> str:
        """Return the token for a run of this person's; raises SetupRequiredError."""
        async with self._database.connection() as conn:
            sealed = await rows.fetch_sealed(conn, user_id, service)
        if sealed is None:
            raise SetupRequiredError(
                f"{service.capitalize()} is not connected. Connect it with "
                f"`rota connections add {service}`.",
                what=f"connection:{service}",
            )
        if sealed.expires_at is not None and sealed.expires_at <= self._clock():
            raise SetupRequiredError(
                f"The {service.capitalize()} connection has expired. Connect it again with "
                f"`rota connections add {service}`.",
                what=f"connection:{service}",
            )
        return self._cipher.decrypt(sealed.secret, identity=connection_identity(user_id, service))


def connection_identity(user_id: UserId, service: str) -> str:
    """Return what a connection's secret is bound to."""
    return f"connections/{user_id}/{service}"
