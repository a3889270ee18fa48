"""Checkpoints: signed records that replace the pruned part of an audit chain.

They are signed with the operator's key, so that a pruned chain can still be checked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from rota.domain.audit.chain import Checkpoint, Head
from rota.domain.audit.checks import ChainCheck
from rota.domain.errors import SetupRequiredError
from rota.logs import LazyLogger
from rota.security.secrets.encryption import Cipher
from rota.security.secrets.signing import is_signed, sign
from rota.store.audit import rows
from rota.store.audit.rows import Prunable
from rota.store.database import Connection

_PURPOSE: Final = "audit checkpoint"

log = LazyLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pruning:
    """Counts of what can be pruned, and the chains that are refused because they are broken."""

    blocks: int = 0
    entries: int = 0
    refused: tuple[UUID, ...] = ()


class Checkpoints:
    """Signs checkpoints, and verifies their signatures. The key never reaches the database."""

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher

    async def prune(
        self,
        conn: Connection,
        *,
        before: datetime,
        now: datetime,
        limit: int,
        without: Collection[UUID] = (),
    ) -> Pruning:
        """Delete blocks that were sealed before `before`, the oldest first, with their entries.

        About `limit` blocks, in the caller's transaction, and of no chain that is in `without`. A
        chain of which anything that would go is not what was sealed is refused: a signature says
        that it was in order. Raises SetupRequiredError without a key.
        """
        await rows.lock_pruning(conn)  # first: what is found is still there
        pruning = Pruning()
        for one in await rows.find_prunable(
            conn, before=before, now=now, limit=limit, without=without
        ):
            checkpoint = self._signed(one)
            problem = await self._problem(conn, one)
            if problem is not None:
                log.warning("audit_chain_not_pruned", chain=str(one.chain_id), problem=problem)
                pruning = replace(pruning, refused=(*pruning.refused, one.chain_id))
                continue
            pruning = replace(
                pruning,
                blocks=pruning.blocks + one.block_count,
                entries=pruning.entries + await rows.prune(conn, checkpoint),
            )
        return pruning

    async def _problem(self, conn: Connection, found: Prunable) -> str | None:
        """Return why a chain is not what was sealed, as far as it is to go; None: it is."""
        while True:
            chains = await rows.list_chains(conn, found.chain_id)
            if not chains:
                return "the chain was deleted"
            (chain,) = chains
            earlier = await rows.fetch_checkpoint(conn, chain.id)
            check = ChainCheck(chain, earlier, self.is_signed)
            counted = earlier.row_count if earlier is not None else 0
            async for block, entries in rows.walk_blocks(conn, chain.id, through=found.through_seq):
                check.block(block, entries)
                counted += len(block.covers)
            if [c.user_id for c in await rows.list_chains(conn, chain.id)] == [chain.user_id]:
                break  # else its person was deleted meanwhile
        if check.problems:
            return check.problems[0].in_words()
        if check.at != Head(chain.id, found.through_seq, found.hash):
            return f"block {found.through_seq} is not the last one of those that would go"
        if found.through_seq > chain.length:
            return "there are blocks past the chain's end"
        if counted != found.rows_in_all:
            return f"its blocks cover {counted} entries, not {found.rows_in_all}"
        return None

    def is_signed(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint is as it was signed, with this key."""
        return self._cipher is not None and is_signed(
            checkpoint.signed(), checkpoint.signature, self._cipher, purpose=_PURPOSE
        )

    async def sign_anew(self, conn: Connection) -> int:
        """Sign with the newest key what an older one signed, as the owner; returns how many.

        What none of the keys signed stays as it is, for `verify` to find.
        """
        signed = 0
        for checkpoint in await rows.list_checkpoints(conn):
            if self._cipher is None or checkpoint.key_id == self._cipher.key_id:
                continue
            if self.is_signed(checkpoint):
                anew = self._with_signature(checkpoint, self._cipher)
                signed += await rows.resign(conn, anew, earlier=checkpoint.signature)
        return signed

    @staticmethod
    def _with_signature(checkpoint: Checkpoint, cipher: Cipher) -> Checkpoint:
        unsigned = replace(checkpoint, key_id=cipher.key_id)
        return replace(unsigned, signature=sign(unsigned.signed(), cipher, purpose=_PURPOSE))

    def _signed(self, found: Prunable) -> Checkpoint:
        if self._cipher is None:
            raise SetupRequiredError(
                "The audit log is pruned only with a key to sign what went: set ROTA_SECRET_KEY.",
                what="secret_key",
            )
        unsigned = Checkpoint(
            chain_id=found.chain_id,
            through_seq=found.through_seq,
            hash=found.hash,
            row_count=found.rows_in_all,
            sealed_at=found.sealed_at,
            pruned_at=found.pruned_at,
            key_id=self._cipher.key_id,
            signature=b"",
        )
        return self._with_signature(unsigned, self._cipher)
