"""Checkpoints: what stands for the part of a chain that was pruned, signed by the operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from rota.domain.audit import Checkpoint
from rota.domain.errors import SetupRequiredError
from rota.security.encryption import Cipher
from rota.security.signing import is_signed, sign
from rota.store import audit as rows
from rota.store.audit import Prunable
from rota.store.database import Connection

_PURPOSE: Final = "audit checkpoint"


@dataclass(frozen=True, slots=True)
class Pruning:
    """How much went."""

    blocks: int
    entries: int


class Checkpoints:
    """Makes checkpoints, and tells its own from others. The database never has the key."""

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher

    async def prune(
        self, conn: Connection, *, before: datetime, now: datetime, limit: int
    ) -> Pruning:
        """Delete blocks that were sealed before `before`, the oldest first, with their entries.

        About `limit` blocks, in the caller's transaction. Raises SetupRequiredError without a key.
        """
        found = await rows.find_prunable(conn, before=before, now=now, limit=limit)
        entries = 0
        for one in found:
            entries += await rows.prune(conn, self._signed(one))
        return Pruning(sum(one.block_count for one in found), entries)

    def is_signed(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint is as it was signed, with this key."""
        return self._cipher is not None and is_signed(
            checkpoint.signed(), checkpoint.signature, self._cipher, purpose=_PURPOSE
        )

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
        return replace(unsigned, signature=sign(unsigned.signed(), self._cipher, purpose=_PURPOSE))
