"""Requests that are done once: of repeats with the same key, each gets the first one's answer.

Answers are sealed, as one may hold a new token, and are kept for a day.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rota.domain.errors import SetupRequiredError
from rota.domain.ids import UserId
from rota.security.secrets.encryption import Cipher
from rota.store import idempotency as rows
from rota.store.database import Database
from rota.store.idempotency import HELD_FOR, Claim, work_under

__all__ = [
    "HELD_FOR",
    "Claim",
    "IdempotencyService",
    "Kept",
    "NoAnswer",
    "OtherRequest",
    "UnderWay",
    "work_under",
]

LONGEST_ANSWER: Final = 250_000
"""Bytes of an answer that is kept; of a longer one a repeat is told that it was given."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that a request with this key was given."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class OtherRequest:
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The request with this key is still under way."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request is over, and its answer is not there: it was too long, or was never stored."""

    status: int | None


class IdempotencyService:
    """Acts as the backend: nobody else reads what is kept."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    async def claim(
        self, user_id: UserId, key: str, request: bytes
    ) -> Claim | Kept | OtherRequest | UnderWay | NoAnswer:
        """Take a person's key for a request, or say what became of the one that has it.

        `request` is the SHA-256 of what is asked.
        """
        wanted = Claim(user_id, key)
        async with self._database.connection() as conn:
            if await rows.claim(conn, wanted, request):
                return wanted
            found = await rows.fetch(conn, user_id, key)
        if found is None:
            return UnderWay()  # it was given back just now
        if found.request != request:
            return OtherRequest()
        if found.status is None:
            return UnderWay() if found.is_held else NoAnswer(None)
        kept = None if found.answer is None else self._opened(user_id, key, found.answer)
        return kept or NoAnswer(found.status)

    async def hold(self, claim: Claim) -> None:
        """Say that the request lives; at least each `HELD_FOR` seconds."""
        async with self._database.connection() as conn:
            await rows.hold(conn, claim)

    async def keep(self, claim: Claim, answer: Kept) -> None:
        """Keep an answer for repeats."""
        body = base64.b64encode(answer.body).decode()
        text = json.dumps([answer.status, dict(answer.headers), body])
        sealed = None
        if len(text) <= LONGEST_ANSWER:
            identity = _identity(claim.user_id, claim.key)
            sealed = self._cipher.encrypt(text, identity=identity)
        async with self._database.connection() as conn:
            await rows.keep_answer(conn, claim, answer.status, sealed)

    async def release(self, claim: Claim) -> None:
        """Give the key back, so that a repeat tries again; unless something was done."""
        async with self._database.connection() as conn:
            await rows.release(conn, claim)

    def _opened(self, user_id: UserId, key: str, sealed: bytes) -> Kept | None:
        try:
            text = self._cipher.decrypt(sealed, identity=_identity(user_id, key))
        except SetupRequiredError:  # sealed with a key that was removed within the day
            return None
        status, headers, body = json.loads(text)
        return Kept(status, headers, base64.b64decode(body))


def _identity(user_id: UserId, key: str) -> str:
    return f"idempotency:{user_id}:{key}"
