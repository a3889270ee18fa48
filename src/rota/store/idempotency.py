"""Keys of requests that are done once, and the answers that their repeats get.

A request holds its key for as long as it runs. Where its process dies, another request with the
same key takes it over after `HELD_FOR`. Each transaction that writes something notes this in the
key's row before it commits, and is rolled back if the key has another holder by then. So the work
is never done by two requests, however long one of them stood still.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

from rota.domain.errors import ConflictError
from rota.domain.ids import RunId, UserId
from rota.store.database import Connection, before_commits
from rota.store.statements import execute, has_effect, many, one_or_none, value

KEPT_FOR: Final = 86_400.0
"""Seconds that a key and its answer are kept."""

HELD_FOR: Final = 30.0
"""Seconds after which a key counts as left by its request, unless that says that it lives."""


@dataclass(slots=True)
class Claim:
    """A key that a request holds. `run_id`: what an earlier request asked for, and never told."""

    user_id: UserId
    key: str
    run_id: RunId | None = None
    holder: UUID = field(default_factory=uuid4)
    requested: list[RunId] = field(default_factory=list)

    @property
    def named(self) -> dict[str, object]:
        """Return what finds its row, as long as it is the holder."""
        return {"user_id": self.user_id, "key": self.key, "holder": self.holder}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key that cannot be claimed. `status` and `answer` are None while there is no answer."""

    request: bytes
    is_held: bool
    status: int | None
    answer: bytes | None


_claim: ContextVar[Claim | None] = ContextVar("claim", default=None)


async def claim(conn: Connection, wanted: Claim, request: bytes) -> bool:
    """Take the key, if it is free; returns whether it is taken now."""
    found = await many(
        conn,
        "claim_idempotency_key",
        lambda row: row["run_id"],
        request=request,
        seconds=HELD_FOR,
        kept=KEPT_FOR,
        **wanted.named,
    )
    if found and found[0] is not None:
        wanted.run_id = RunId(found[0])
    return bool(found)


async def fetch(conn: Connection, user_id: UserId, key: str) -> KeyRow | None:
    """Return the row of a key."""
    return await one_or_none(conn, "fetch_idempotency_key", KeyRow, user_id=user_id, key=key)


async def hold(conn: Connection, held: Claim) -> None:
    """Say that the request lives."""
    await execute(conn, "hold_idempotency_key", seconds=HELD_FOR, **held.named)


async def keep_answer(conn: Connection, held: Claim, status: int, answer: bytes | None) -> None:
    """Keep the answer of the request; None: it is too long."""
    await execute(conn, "keep_idempotent_answer", status=status, answer=answer, **held.named)


async def release(conn: Connection, held: Claim) -> None:
    """Give a key back whose answer is not kept."""
    await execute(conn, "release_idempotency_key", **held.named)


async def prune(conn: Connection, *, limit: int) -> int:
    """Delete keys that are a day old; returns how many."""
    return await execute(conn, "prune_idempotency_keys", kept=KEPT_FOR, limit=limit)


def work_under(held: Claim | None) -> None:
    """Have this task's transactions note their effects under a claim from now on; None: no more."""
    _claim.set(held)
    before_commits(None if held is None else _note_effect)


async def ask_once(ask: Callable[[], Awaitable[RunId]]) -> RunId:
    """Ask for a run, unless an earlier request with this task's key did: then return that one."""
    held = _claim.get()
    if held is None:
        return await ask()
    run_id, held.run_id = held.run_id or await ask(), None
    held.requested.append(run_id)
    return run_id


async def _note_effect(conn: Connection) -> None:
    """Note before a commit that something is written, if it is.

    Raises ConflictError where another request has the key by now, so that nothing is written.
    """
    held = _claim.get()
    if held is None or not await value(conn, "has_written", bool):
        return
    role = await value(conn, "fetch_role", str)
    await execute(conn, "set_role", role="none")
    only = held.requested[0] if len(held.requested) == 1 else None
    if not await has_effect(conn, "note_effect_of_idempotency_key", run_id=only, **held.named):
        raise ConflictError("Another request with this Idempotency-Key has gone on with it.")
    await execute(conn, "set_role", role=role)
