"""The audit log's entries, its chains, blocks and checkpoints, as values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
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
    Covered,
)
from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.records import records
from rota.store.statements import execute, statement

BLOCKS_AT_ONCE: Final = 50
"""Blocks that are read at once; each may cover as many entries as are sealed at once."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far sealing has come, as snapshots of the server's transactions.

    Everything visible in `sealed` is sealed; None: nothing is known of it on this server.
    Everything visible in `visible` can be sealed now. `stuck` are chains that could not be sealed
    when that was tried last.
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
class LeftOut:
    """An entry that is in no block; `is_late` if it should be in one."""

    id: int
    is_late: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Prunable:
    """What may be pruned of a chain: `rows_in_all` counts those that went before, too."""

    chain_id: UUID
    through_seq: int
    hash: bytes
    block_count: int
    rows_in_all: int
    sealed_at: str
    pruned_at: str


async def lock_sealing(conn: Connection) -> bool:
    """Become the one who seals until the transaction's end; False while somebody else does."""
    return bool(await _value(conn, "audit/lock_audit_sealing"))


async def fetch_cursor(conn: Connection) -> Cursor:
    """Return how far sealing has come on this server."""
    row = await (await conn.execute(statement("audit/fetch_audit_cursor"))).fetchone()
    if row is None:  # the migration writes it, and rota may not delete it
        raise RuntimeError("rota.audit_cursor has no row")
    sealed, visible, may_be_more, stuck = row
    return Cursor(sealed, visible, may_be_more, frozenset(stuck))


async def move_cursor(conn: Connection, sealed: str) -> None:
    """Take note that everything visible in this snapshot is sealed."""
    await conn.execute(statement("audit/move_audit_cursor"), {"sealed": sealed})


async def mark_stuck(conn: Connection, owners: Collection[UserId | None]) -> None:
    """Take note whose chains could not be sealed; None: nobody's."""
    await conn.execute(
        statement("audit/mark_audit_stuck"),
        {
            "user_ids": [owner for owner in owners if owner is not None],
            "nobodys": NOBODYS if None in owners else None,
        },
    )


async def find_unsealed(
    conn: Connection, sealed: str | None, after: Unsealed | None, *, limit: int
) -> tuple[Unsealed, ...]:
    """Return the next entries that are not sealed, of those that were not visible in `sealed`."""
    found = await conn.execute(
        statement(
            "audit/find_unsealed_audit" if sealed is not None else "audit/find_unsealed_audit_anew"
        ),
        {
            "sealed": sealed,
            "written_in": after.written_in if after is not None else "0",
            "audit_id": after.id if after is not None else 0,
            "limit": limit,
        },
    )
    return tuple(Unsealed(*row) for row in await found.fetchall())


async def ensure_chains(conn: Connection, user_ids: Iterable[UserId]) -> None:
    """Make the chains of people that have none, and nobody's where that is gone."""
    await execute(conn, "audit/ensure_audit_chains", user_ids=list(user_ids), nobodys=NOBODYS)


async def lock_chains(conn: Connection, user_ids: Iterable[UserId]) -> tuple[Chain, ...]:
    """Return the chains of these people, and nobody's; no person of them is deleted meanwhile."""
    cursor = await conn.execute(
        statement("audit/lock_audit_chains"), {"user_ids": list(user_ids), "nobodys": NOBODYS}
    )
    return tuple(_chain(row) for row in await cursor.fetchall())


async def fetch_entries(conn: Connection, ids: Sequence[int]) -> tuple[AuditEntry, ...]:
    """Return those of these entries that are there, in the order in which they are sealed."""
    cursor = await conn.execute(statement("audit/fetch_audit_entries"), {"ids": list(ids)})
    return tuple(AuditEntry(*row) for row in await cursor.fetchall())


async def list_entries(
    conn: Connection,
    *,
    run: str | None,
    action: str | None,
    tool: str | None,
    since: datetime | None,
    limit: int,
) -> tuple[AuditEntry, ...]:
    """Return entries that the transaction's person sees, newest first.

    `run` and `action` are the beginnings of ids.
    """
    cursor = await conn.execute(
        statement("audit/list_audit"),
        {"run": run, "action": action, "tool": tool, "since": since, "limit": limit},
    )
    return tuple(AuditEntry(*row) for row in await cursor.fetchall())


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
    cursor = await conn.execute(statement("audit/list_audit_chains"), {"chain_id": chain_id})
    return tuple(_chain(row) for row in await cursor.fetchall())


async def people_without_chain(conn: Connection) -> tuple[UserId, ...]:
    """Return people who have entries and no chain; reads the whole log."""
    cursor = await conn.execute(statement("audit/list_audit_people_without_chain"))
    return tuple(UserId(row[0]) for row in await cursor.fetchall())


async def forgotten_chains(conn: Connection) -> frozenset[str]:
    """Return the ids of the chains of which nobody's log says that their person was deleted."""
    cursor = await conn.execute(statement("audit/list_forgotten_audit_chains"))
    return frozenset([row[0] for row in await cursor.fetchall()])


async def fetch_checkpoint(conn: Connection, chain_id: UUID) -> Checkpoint | None:
    """Return what was pruned of a chain."""
    cursor = await conn.execute(statement("audit/fetch_audit_checkpoint"), {"chain_id": chain_id})
    row = await cursor.fetchone()
    if row is None:
        return None
    chain, through_seq, hashed, row_count, sealed_at, pruned_at, key_id, signature = row
    return Checkpoint(
        chain_id=chain,
        through_seq=through_seq,
        hash=bytes(hashed),
        row_count=row_count,
        sealed_at=sealed_at,
        pruned_at=pruned_at,
        key_id=key_id,
        signature=bytes(signature),
    )


async def list_blocks(
    conn: Connection, chain_id: UUID, *, after: int, through: int
) -> tuple[Block, ...]:
    """Return the next blocks of a chain that come after one, up to another."""
    cursor = await conn.execute(
        statement("audit/list_audit_blocks"),
        {"chain_id": chain_id, "after": after, "through": through, "limit": BLOCKS_AT_ONCE},
    )
    return tuple(_block(row) for row in await cursor.fetchall())


async def walk_blocks(
    conn: Connection, chain_id: UUID, *, through: int
) -> AsyncIterator[tuple[Block, tuple[AuditEntry, ...]]]:
    """Yield a chain's blocks in order, with those of the entries that they cover that are there."""
    after = 0
    while found := await list_blocks(conn, chain_id, after=after, through=through):
        for block in found:
            yield block, await fetch_entries(conn, [covered.id for covered in block.covers])
        after = found[-1].seq


async def count_past_end(conn: Connection, chain_id: UUID) -> int:
    """Return how many blocks a chain has that come after its last."""
    return int(await _value(conn, "audit/count_audit_blocks_past_end", {"chain_id": chain_id}))


async def find_left_out(
    conn: Connection, user_id: UserId | None, chain_id: UUID | None, cursor: Cursor
) -> tuple[LeftOut, ...]:
    """Return entries of a person, or nobody's, in no block of a chain (None: of any)."""
    found = await conn.execute(
        statement("audit/find_audit_left_out"),
        {"user_id": user_id, "chain_id": chain_id, "sealed": cursor.sealed},
    )
    return tuple(LeftOut(*row) for row in await found.fetchall())


async def written_time(conn: Connection, at: datetime) -> str:
    """Return an instant as entries and blocks have it."""
    return str(await _value(conn, "audit/written_time", {"at": at}))


async def lock_pruning(conn: Connection) -> None:
    """Become the one who prunes until the transaction's end."""
    await conn.execute(statement("audit/lock_audit_pruning"))


async def find_prunable(
    conn: Connection, *, before: datetime, now: datetime, limit: int, without: Collection[UUID] = ()
) -> tuple[Prunable, ...]:
    """Return what of the chains was sealed before `before`, up to about `limit` blocks in all.

    `without` are chains that are passed over.
    """
    cursor = await conn.execute(
        statement("audit/find_prunable_audit"),
        {"before": before, "now": now, "limit": limit, "without": list(without)},
    )
    return tuple(
        Prunable(row[0], row[1], bytes(row[2]), *row[3:]) for row in await cursor.fetchall()
    )


async def prune(conn: Connection, checkpoint: Checkpoint) -> int:
    """Delete what a checkpoint stands for; returns how many entries went."""
    return int(
        await _value(
            conn,
            "audit/prune_audit",
            {
                "chain_id": checkpoint.chain_id,
                "through_seq": checkpoint.through_seq,
                "rows_in_all": checkpoint.row_count,
                "pruned_at": checkpoint.pruned_at,
                "key_id": checkpoint.key_id,
                "signature": checkpoint.signature,
            },
        )
    )


async def _value(conn: Connection, name: str, parameters: dict[str, Any] | None = None) -> Any:
    row = await (await conn.execute(statement(name), parameters)).fetchone()
    if row is None:  # each of these statements returns one row
        raise RuntimeError(f"{name} returned no row")
    return row[0]


def _chain(row: Sequence[Any]) -> Chain:
    return Chain(
        row[0],
        UserId(row[1]) if row[1] is not None else None,
        row[2],
        bytes(row[3]) if row[3] is not None else None,
        row[4],
        bytes(row[5]) if row[5] is not None else None,
    )


def _block(row: Sequence[Any]) -> Block:
    return Block(
        chain_id=row[0],
        seq=row[1],
        previous=bytes(row[2]),
        covers=tuple(
            Covered(entry or 0, content or b"", digest or b"")
            for entry, content, digest in zip_longest(
                row[4], _parts(bytes(row[5])), _parts(bytes(row[6]))
            )
        ),
        sealed_at=row[7],
        hash=bytes(row[3]),
    )


def _parts(joined: bytes) -> list[bytes]:
    """Split digests. Lists of a block that differ in length do not hash to what it was."""
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
