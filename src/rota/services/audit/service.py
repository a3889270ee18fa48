"""Reads, checks and exports the audit log: a person's own, or everybody's for the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from rota.domain.audit.chain import NOBODYS, AuditEntry, Block, Chain, Checkpoint, Head
from rota.domain.audit.checks import (
    ChainCheck,
    ChainVerification,
    Problem,
    UncoveredEntry,
    Verification,
    taken_from_their_people,
    waiting_for_a_scheduler,
)
from rota.domain.audit.heads import KeptHead, look_for, strange_heads
from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.services.audit.checkpoints import Checkpoints
from rota.store.audit import rows
from rota.store.database import Connection, Database


class AuditService:
    """Acts as the person. With `user_id` None it acts as the operator, for everybody's log."""

    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database = database
        self._checkpoints = checkpoints

    async def entries(
        self,
        user_id: UserId,
        *,
        run: str | None = None,
        action: str | None = None,
        tool: str | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[AuditEntry, ...]:
        """Return a person's entries, newest first; `run` and `action` are beginnings of ids.

        `before` is the id of the last one of the page before.
        """
        wanted = _filter(run, action, tool, since)
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_entries(conn, wanted, before=before, limit=limit)

    async def count(
        self,
        user_id: UserId,
        *,
        run: str | None = None,
        action: str | None = None,
        tool: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """Return how many entries `entries` finds on all pages."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.count_entries(conn, _filter(run, action, tool, since))

    async def heads(self, user_id: UserId | None) -> tuple[Head, ...]:
        """Return the last block of each chain that has one."""
        async with self._reading(user_id) as conn:
            return tuple(c.end for c in await rows.list_chains(conn) if c.length)

    async def verify(
        self, user_id: UserId | None, *, now: datetime, heads: Sequence[KeptHead] = ()
    ) -> Verification:
        """Recompute chains, and compare them with what is stored.

        Each of `heads`, which were kept elsewhere, must be there, or have been pruned. Raises
        InvalidInputError for one of a chain that is somebody else's.
        """
        async with self._reading(user_id) as conn:
            chains = await rows.list_chains(conn)
            without = await rows.people_without_chain(conn) if user_id is None else ()
        if user_id is not None:
            without = () if chains else (user_id,)
            if strange := strange_heads(heads, [chain.id for chain in chains]):
                raise InvalidInputError(
                    f"The chain {strange[0].chain_id} of a head is not yours, or no "
                    "longer exists. The operator can check all chains with --all.",
                    field="head",
                )
        wanted = frozenset(head.hash for head in heads)
        verified = [await self._verify_chain(user_id, chain, wanted) for chain in chains]
        verified += [await self._verify_without_chain(user_id, person) for person in without]
        beside: tuple[Problem, ...] = ()
        if user_id is None:
            if NOBODYS not in {chain.id for chain in chains}:
                verified.append(await self._verify_without_chain(None, None))
                beside = (Problem(NOBODYS, "the chain of what is nobody's was deleted"),)
            async with self._database.transaction() as conn:  # last: they may be deleted meanwhile
                told = await rows.forgotten_chains(conn)
                nobodys = await rows.fetch_checkpoint(conn, NOBODYS)
            beside += taken_from_their_people(verified, told, nobodys)
        found = look_for(heads, verified)
        of_chains = [problem for chain in verified for problem in chain.problems]
        return Verification(
            chains=tuple(verified),
            problems=(*of_chains, *beside, *found.problems),
            notes=(*found.notes, *waiting_for_a_scheduler(verified, now)),
            heads_there=found.there,
        )

    async def export(self, user_id: UserId | None) -> AsyncIterator[dict[str, Any]]:
        """Yield chains as JSON objects: the chain, its entries and blocks in order, its head.

        One without a block has no head. With the recipe in docs/explanation/audit.md
        they are checked without rota.
        """
        async with self._reading(user_id) as conn:
            for chain in await rows.list_chains(conn):
                checkpoint = await rows.fetch_checkpoint(conn, chain.id)
                yield _chain_line(chain)
                if checkpoint is not None:
                    yield _checkpoint_line(checkpoint)
                last = chain.end
                async for block, entries in rows.walk_blocks(conn, chain.id, through=chain.length):
                    for line in _block_lines(block, entries):
                        yield line
                    last = Head(chain.id, block.seq, block.hash)
                if last.seq:
                    yield head_line(last)

    def _reading(self, user_id: UserId | None) -> AbstractAsyncContextManager[Connection]:
        if user_id is None:
            return self._database.transaction()
        return self._database.acting_as(user_id)

    async def _verify_chain(
        self, user_id: UserId | None, chain: Chain, wanted: frozenset[bytes]
    ) -> ChainVerification:
        """Check a chain; once more where it was pruned, or its person deleted, meanwhile."""
        while True:
            async with self._database.connection() as conn:
                cursor = await rows.fetch_cursor(conn)  # first: what it says is sealed by then
            async with self._reading(user_id) as conn:
                (chain,) = await rows.list_chains(conn, chain.id)
                checkpoint = await rows.fetch_checkpoint(conn, chain.id)
                check = ChainCheck(chain, checkpoint, self._checkpoints.is_signed, wanted)
                async for block, entries in rows.walk_blocks(conn, chain.id, through=chain.length):
                    check.block(block, entries)
                left_out: tuple[UncoveredEntry, ...] = ()
                if not chain.is_forgotten:
                    left_out = await rows.find_uncovered(
                        conn, chain.user_id, None if chain.id == NOBODYS else chain.id, cursor
                    )
                past_end = await rows.count_past_end(conn, chain.id)
                again = await rows.list_chains(conn, chain.id)
                is_steady = [c.user_id for c in again] == [
                    chain.user_id
                ] and await rows.fetch_checkpoint(conn, chain.id) == checkpoint
            if is_steady:
                return check.end(
                    *_split(left_out), past_end=past_end, is_stuck=chain.id in cursor.stuck
                )

    async def _verify_without_chain(
        self, user_id: UserId | None, person: UserId | None
    ) -> ChainVerification:
        """Check somebody, or nobody, who has no chain: no entry may be as old as sealed ones."""
        async with self._database.connection() as conn:
            cursor = await rows.fetch_cursor(conn)
        async with self._reading(user_id) as conn:
            left_out = await rows.find_uncovered(conn, person, None, cursor)
        nothing = Chain(uuid4() if person is not None else NOBODYS, None, None, None, 0, None)
        check = ChainCheck(nothing, None, self._checkpoints.is_signed)
        return replace(check.end(*_split(left_out)), is_forgotten=False)


def _filter(
    run: str | None, action: str | None, tool: str | None, since: datetime | None
) -> rows.EntryFilter:
    return rows.EntryFilter(
        run.lower() if run else None, action.lower() if action else None, tool, since
    )


def _split(left_out: Sequence[UncoveredEntry]) -> tuple[list[int], list[str]]:
    """Return which entries are in no block that should be, and the times of those that wait."""
    late = [entry.id for entry in left_out if entry.is_late]
    return late, [entry.created_at for entry in left_out if not entry.is_late]


def _chain_line(chain: Chain) -> dict[str, Any]:
    return {
        "type": "chain",
        "chain": str(chain.id),
        "person": chain.person_hash.hex() if chain.person_hash is not None else None,
        "user_id": str(chain.user_id) if chain.user_id is not None else None,
        "salt": chain.salt,
    }


def _checkpoint_line(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "type": "checkpoint",
        "chain": str(checkpoint.chain_id),
        "through_seq": checkpoint.through_seq,
        "hash": checkpoint.hash.hex(),
        "row_count": checkpoint.row_count,
        "sealed_at": checkpoint.sealed_at,
        "pruned_at": checkpoint.pruned_at,
        "key_id": checkpoint.key_id,
        "signature": checkpoint.signature.hex(),
    }


def _block_lines(block: Block, entries: tuple[AuditEntry, ...]) -> Iterator[dict[str, Any]]:
    there = {entry.id: entry for entry in entries}
    for covered in block.covers:
        if (entry := there.get(covered.id)) is not None:
            yield {"type": "entry", **entry.record(covered.content), "of": dict(entry.content())}
    yield {
        "type": "block",
        "chain": str(block.chain_id),
        "seq": block.seq,
        "previous": block.previous.hex(),
        "ids": [covered.id for covered in block.covers],
        "rows": [covered.digest.hex() for covered in block.covers],
        "sealed_at": block.sealed_at,
        "hash": block.hash.hex(),
    }


def head_line(head: Head) -> dict[str, Any]:
    """Return a head as it is exported."""
    return {
        "type": "head",
        "chain": str(head.chain_id),
        "seq": head.seq,
        "hash": head.hash.hex(),
    }
