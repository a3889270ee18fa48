"""Removes connections: a grant is ended at its provider, then what rota keeps of it goes.

A provider that cannot be reached stops no removal: what is left there is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rota.domain.agents.connections import KINDS, ConnectedBy
from rota.domain.agents.grants import Grant, is_grant
from rota.domain.errors import RotaError
from rota.domain.ids import UserId
from rota.services.agents.connections import ConnectionService


@dataclass(frozen=True, slots=True)
class RemovedConnection:
    """What became of a connection's rights elsewhere.

    `is_revoked`: its grant was ended at the provider. `left` says what is still valid, and what to
    do; empty where nothing is.
    """

    name: str
    left: str = ""
    is_revoked: bool = False


class ConnectionRemoval:
    """Ends grants and deletes connections."""

    def __init__(self, connections: ConnectionService) -> None:
        self._connections = connections

    async def remove(self, user_id: UserId, name: str) -> RemovedConnection:
        """End and delete a connection; raises NotFoundError."""
        kind = (await self._connections.get(user_id, name)).kind
        removed = await self._ended(user_id, name, kind, others=await self._others(user_id, name))
        await self._connections.remove(user_id, name)
        return removed

    async def end_all(self, user_id: UserId) -> tuple[RemovedConnection, ...]:
        """End all grants of a person, whose connections are deleted with them."""
        return tuple(
            [
                await self._ended(user_id, one.name, one.kind, others=())
                for one in await self._connections.all(user_id)
            ]
        )

    async def _ended(
        self, user_id: UserId, name: str, kind: str, *, others: Sequence[tuple[str, Grant]]
    ) -> RemovedConnection:
        by = KINDS[kind].by if kind in KINDS else None
        try:
            secret = await self._connections.open(user_id, name)
            if not is_grant(secret):
                return RemovedConnection(name, _LEFT[by] if by is not None else "")
            grant = Grant.from_secret(secret)
            if grant.service_account:
                return RemovedConnection(name, "The service account's key is still valid.")
            sharing = [other for other, of in others if _ends_with(grant, of)]
            if sharing:
                return RemovedConnection(
                    name,
                    "It was not revoked at the provider: that would end "
                    f"{', '.join(sharing)}, too, which has the same account and client.",
                )
            await self._connections.revoke(user_id, name)
        except RotaError as error:
            return RemovedConnection(
                name, f"It could not be revoked at the provider: {error.message}"
            )
        return RemovedConnection(name, is_revoked=True)

    async def _others(self, user_id: UserId, name: str) -> list[tuple[str, Grant]]:
        """Return the person's other grants that can be read."""
        found = []
        for one in await self._connections.all(user_id):
            if one.name == name:
                continue
            try:
                secret = await self._connections.open(user_id, one.name)
            except RotaError:  # of a key that is lost: it does not work either
                continue
            if is_grant(secret):
                found.append((one.name, Grant.from_secret(secret)))
        return found


_LEFT = {
    ConnectedBy.GRANT: "Its access token may still be valid for an hour.",
    ConnectedBy.PASSWORD: "Its password is still valid. Delete it at the provider if rota alone "
    "used it.",
    ConnectedBy.ADDRESS: "Its address is still valid. Reset it at the provider if nothing else "
    "uses it.",
}


def _ends_with(grant: Grant, other: Grant) -> bool:
    """Whether revoking the first ends the other: providers end all that a client may."""
    return not other.service_account and (
        grant.provider,
        grant.client_id,
        grant.account.lower(),
    ) == (other.provider, other.client_id, other.account.lower())
