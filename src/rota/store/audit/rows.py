"""The audit log's entries, its chains, blocks and checkpoints, as values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final
from uuid import UUID

from rota.domain.audit.chain import (
    DIGEST_BYTES,
    NOBODYS,
    AuditEntry,
    Block,
    Chain,
    Checkpoint,
    CoveredEntry,
)
from rota.domain.audit.checks import UncoveredEntry
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.records import records, row_of
from rota.store.statements import Row, execute, has_effect, many, one, one_or_none, value, values

BLOCKS_AT_ONCE: Final = 50
"""Blocks that are read at once; each may cover as many entries as are sealed at once."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry about a call that a person made without a run. `actor` is that person."""

    user_id: UserId
    agent_name: str
    tool_name: str
    tier: str
    decision: str
    outcome: str
    arguments: Mapping[str, Any]
    arguments_hash: str
    detail: str
    called_at: datetime
    actor: str
    origin: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """The progress of sealing, as snapshots of the server's transactions.

    All entries visible in `sealed` are sealed; None: this server has no record of it. All entries
    visible in `visible` can be sealed now. `stuck` are chains that could not be sealed at the last
    try.
    """

    sealed: str | None
    visible: str
    may_be_more: bool
    stuck: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Unsealed:
    """An entry that is to be sealed, and the transaction that wrote it."""

    id: int
    user_id: UserId | None
    written_in: str


@dataclass(frozen=True, slots=True)
class Prunable:
    """The part of a chain that may be pruned. `rows_in_all` includes rows pruned earlier."""

    chain_id: UUID
    through_seq: int
    hash: bytes
    block_count: int
    rows_in_all: int
    sealed_at: str
    pruned_at: str


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries a list is of; None: any. `run` and `action` are the beginnings of ids."""

    run: str | None
    action: str | None
    tool: str | None
    since: datetime | None


async def insert_entry(conn: Connection, entry: NewEntry) -> None:
    """Write an entry about a call that no run made."""
    await execute(conn, "audit/insert_audit_entry", **row_of(entry))


async def lock_sealing(conn: Connection) -> bool:
    """Become the one who seals until the transaction's end; False while somebody else does."""
    return await value(conn, "audit/lock_audit_sealing", bool)


async def fetch_cursor(conn: Connection) -> Cursor:
    """Return how far sealing has come on this server."""
    return await one(conn, "audit/fetch_audit_cursor", Cursor)


async def move_cursor(conn: Connection, sealed: str) -> None:
    """Take note that everything visible in this snapshot is sealed."""
    await execute(conn, "audit/move_audit_cursor", sealed=sealed)


async def mark_stuck(conn: Connection, owners: Collection[UserId | None]) -> None:
    """Take note whose chains could not be sealed; None: nobody's."""
    await execute(
        conn,
        "audit/mark_audit_stuck",
        user_ids=[owner for owner in owners if owner is not None],
        nobodys=NOBODYS if None in owners else None,
    )


async def find_unsealed(
    conn: Connection, sealed: str | None, after: Unsealed | None, *, limit: int
) -> tuple[Unsealed, ...]:
    """Return the next entries that are not sealed, of those that were not visible in `sealed`."""
    return await many(
        conn,
        "audit/find_unsealed_audit" if sealed is not None else "audit/find_unsealed_audit_anew",
        Unsealed,
        sealed=sealed,
        written_in=after.written_in if after is not None else "0",
        audit_id=after.id if after is not None else 0,
        limit=limit,
    )


async def ensure_chains(conn: Connection, user_ids: Collection[UserId]) -> None:
    """Make the chains of people that have none, and nobody's where that is gone."""
    await execute(conn, "audit/ensure_audit_chains", user_ids=user_ids, nobodys=NOBODYS)


async def lock_chains(conn: Connection, user_ids: Collection[UserId]) -> tuple[Chain, ...]:
    """Return the chains of these people, and nobody's; no person of them is deleted meanwhile."""
    return await many(conn, "audit/lock_audit_chains", Chain, user_ids=user_ids, nobodys=NOBODYS)


async def fetch_entries(conn: Connection, ids: Sequence[int]) -> tuple[AuditEntry, ...]:
    """Return those of these entries that are there, in the order in which they are sealed."""
    return await many(conn, "audit/fetch_audit_entries", AuditEntry, ids=ids)


async def list_entries(
    conn: Connection, wanted: EntryFilter, *, before: int | None, limit: int
) -> tuple[AuditEntry, ...]:
    """Return entries that the transaction's person sees, newest first.

    `before` is the id of the last one of the page before.
    """
    return await many(
        conn, "audit/list_audit", AuditEntry, before=before, limit=limit, **row_of(wanted)
    )


async def count_entries(conn: Connection, wanted: EntryFilter) -> int:
    """Return how many such entries the transaction's person sees."""
    return await value(conn, "audit/count_audit", int, **row_of(wanted))


async def insert_blocks(conn: Connection, blocks: Iterable[Block]) -> None:
    """Append blocks, one to a chain at most; fails where an entry is sealed already."""
    await execute(
        conn,
        "audit/insert_audit_blocks",
        blocks=records(
            {
                "chain_id": block.chain_id,
                "seq": block.seq,
                "previous": block.previous.hex(),
                "hash": block.hash.hex(),
                "row_ids": [covered.id for covered in block.covers],
                "contents": b"".join(covered.content for covered in block.covers).hex(),
                "digests": b"".join(covered.digest for covered in block.covers).hex(),
                "sealed_at": block.sealed_at + "Z",
            }
            for block in blocks
        ),
    )


async def list_chains(conn: Connection, chain_id: UUID | None = None) -> tuple[Chain, ...]:
    """Return the chains that the transaction's person sees, or one of them."""
    return await many(conn, "audit/list_audit_chains", Chain, chain_id=chain_id)


async def people_without_chain(conn: Connection) -> tuple[UserId, ...]:
    """Return people who have entries and no chain; reads the whole log."""
    return await values(conn, "audit/list_audit_people_without_chain", UserId)


async def forgotten_chains(conn: Connection) -> frozenset[str]:
    """Return the ids of the chains of which nobody's log says that their person was deleted."""
    return frozenset(await values(conn, "audit/list_forgotten_audit_chains", str))


async def fetch_checkpoint(conn: Connection, chain_id: UUID) -> Checkpoint | None:
    """Return what was pruned of a chain."""
    return await one_or_none(conn, "audit/fetch_audit_checkpoint", Checkpoint, chain_id=chain_id)


async def list_checkpoints(conn: Connection) -> tuple[Checkpoint, ...]:
    """Return all checkpoints."""
    return await many(conn, "audit/list_audit_checkpoints", Checkpoint)


async def resign(conn: Connection, checkpoint: Checkpoint, *, earlier: bytes) -> bool:
    """Store another signature of a checkpoint; False where it is not the one of before.

    Only the owner of the tables may.
    """
    return await has_effect(
        conn,
        "audit/resign_audit_checkpoint",
        chain_id=checkpoint.chain_id,
        key_id=checkpoint.key_id,
        signature=checkpoint.signature,
        earlier=earlier,
    )


async def walk_blocks(
    conn: Connection, chain_id: UUID, *, through: int
) -> AsyncIterator[tuple[Block, tuple[AuditEntry, ...]]]:
    """Yield a chain's blocks in order, with those of the entries that they cover that are there."""
    after = 0
    place = {"chain_id": chain_id, "through": through, "limit": BLOCKS_AT_ONCE}
    while found := await many(conn, "audit/list_audit_blocks", _block, after=after, **place):
        for block in found:
            yield block, await fetch_entries(conn, [covered.id for covered in block.covers])
        after = found[-1].seq


async def count_past_end(conn: Connection, chain_id: UUID) -> int:
    """Return how many blocks a chain has that come after its last."""
    return await value(conn, "audit/count_audit_blocks_past_end", int, chain_id=chain_id)


async def find_uncovered(
    conn: Connection, user_id: UserId | None, chain_id: UUID | None, cursor: Cursor
) -> tuple[UncoveredEntry, ...]:
    """Return entries of a person, or nobody's, in no block of a chain (None: of any)."""
    return await many(
        conn,
        "audit/find_audit_left_out",
        UncoveredEntry,
        user_id=user_id,
        chain_id=chain_id,
        sealed=cursor.sealed,
    )


async def written_time(conn: Connection, at: datetime) -> str:
    """Return an instant as entries and blocks have it."""
    return await value(conn, "audit/written_time", str, at=at)


async def lock_pruning(conn: Connection) -> None:
    """Become the one who prunes until the transaction's end."""
    await execute(conn, "audit/lock_audit_pruning")


async def find_prunable(
    conn: Connection, *, before: datetime, now: datetime, limit: int, without: Collection[UUID] = ()
) -> tuple[Prunable, ...]:
    """Return what of the chains was sealed before `before`, up to about `limit` blocks in all.

    `without` are chains that are passed over.
    """
    return await many(
        conn,
        "audit/find_prunable_audit",
        Prunable,
        before=before,
        now=now,
        limit=limit,
        without=without,
    )


async def prune(conn: Connection, checkpoint: Checkpoint) -> int:
    """Delete what a checkpoint stands for; returns how many entries went."""
    return await value(conn, "audit/prune_audit", int, **row_of(checkpoint))


def _block(row: Row) -> Block:
    covers = zip_longest(row["row_ids"], _parts(row["contents"]), _parts(row["digests"]))
    return Block(
        chain_id=row["chain_id"],
        seq=row["seq"],
        previous=row["previous"],
        covers=tuple(
            CoveredEntry(entry or 0, content or b"", digest or b"")
            for entry, content, digest in covers
        ),
        sealed_at=row["sealed_at"],
        hash=row["hash"],
    )


def _parts(joined: bytes) -> list[bytes]:
    """Split digests. Lists of a block that differ in length do not hash to what it was."""
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
