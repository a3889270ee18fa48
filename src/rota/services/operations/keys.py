"""Rotates the encryption key, and finds secrets that no key decrypts.

Each secret is encrypted anew in a transaction of its own, so an interrupted rotation can be
continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from rota.domain.errors import SetupRequiredError
from rota.domain.ids import ActionId
from rota.security.secrets.encryption import Cipher
from rota.security.secrets.sealing import action_identity
from rota.services.agents.grant_keeping import connection_identity
from rota.services.audit.checkpoints import Checkpoints
from rota.store.database import Connection, Database
from rota.store.operations.sealed import Kind, Sealed, each_sealed, reseal
from rota.store.users import fetch_address

_ROUNDS: Final = 5
"""Rotations at most: what a worker seals with the old key meanwhile is sealed anew in the next."""


@dataclass(frozen=True, slots=True)
class Unopened:
    """A secret that none of the keys decrypts."""

    kind: Kind
    found: Sealed
    address: str | None
    """Of the person whose it is."""

    @property
    def whose(self) -> str:
        """Return the address of the person whose it is, or else their id."""
        return self.address or str(self.found.user_id)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did, and the secrets that no key decrypts."""

    resealed: int
    signed: int
    left: tuple[Unopened, ...]


async def rotate(database: Database, cipher: Cipher) -> Rotation:
    """Seal and sign with the newest key what an older one did; as the owner of the tables."""
    resealed = 0
    async with database.connection() as conn:
        for _ in range(_ROUNDS):
            done, left = await _round(conn, cipher)
            resealed += done
            if done == 0:
                break
        signed = await Checkpoints(cipher).sign_anew(conn)
    return Rotation(resealed, signed, left)


async def is_unfinished(database: Database, cipher: Cipher) -> bool:
    """Return whether anything is sealed with another key than the newest, and one opens it."""
    async with database.connection() as conn:
        for kind in Kind:
            async for found in each_sealed(conn, kind):
                if (opened := _open(cipher, kind, found)) is not None and not opened[1]:
                    return True
    return False


async def unopened(conn: Connection, cipher: Cipher | None) -> tuple[Unopened, ...]:
    """Return the secrets that no key opens, of calls those that are not over; without one, all."""
    return await _with_addresses(
        conn,
        [
            (kind, found)
            for kind in Kind
            async for found in each_sealed(conn, kind, open_only=True)
            if cipher is None or _open(cipher, kind, found) is None
        ],
    )


async def _with_addresses(
    conn: Connection, left: Sequence[tuple[Kind, Sealed]]
) -> tuple[Unopened, ...]:
    people = {found.user_id for _, found in left}
    addresses = {user_id: await fetch_address(conn, user_id) for user_id in people}
    return tuple(Unopened(kind, found, addresses[found.user_id]) for kind, found in left)


async def opens_none(conn: Connection, cipher: Cipher) -> bool:
    """Return whether secrets are stored, and no key opens any of those that are still needed."""
    is_any = False
    for kind in Kind:
        async for found in each_sealed(conn, kind, open_only=True):
            if _open(cipher, kind, found) is not None:
                return False
            is_any = True
    return is_any


async def _round(conn: Connection, cipher: Cipher) -> tuple[int, tuple[Unopened, ...]]:
    done = 0
    left: list[tuple[Kind, Sealed]] = []
    for kind in Kind:
        async for found in each_sealed(conn, kind):
            opened = _open(cipher, kind, found)
            if opened is None:
                left.append((kind, found))
                continue
            secret, is_newest = opened
            if not is_newest:
                anew = cipher.encrypt(secret, identity=_identity(kind, found))
                done += await reseal(conn, kind, found, anew, key_id=cipher.key_id)
    return done, await _with_addresses(conn, left)


def _open(cipher: Cipher, kind: Kind, found: Sealed) -> tuple[str, bool] | None:
    try:
        return cipher.open(found.sealed, identity=_identity(kind, found))
    except SetupRequiredError:
        return None


def _identity(kind: Kind, found: Sealed) -> str:
    match kind:
        case Kind.CONNECTION:
            return connection_identity(found.user_id, found.name)
        case Kind.CALL:
            return action_identity(ActionId(found.id))
        case _:
            assert_never(kind)
