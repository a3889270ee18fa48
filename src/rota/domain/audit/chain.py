"""The audit log's values and their hashes: entries, blocks, chains, checkpoints.

Everything that is hashed is text or whole numbers, so that its canonical JSON (RFC 8785) is the
same in every program. Times are ISO 8601 in UTC without an offset, as PostgreSQL writes them in
JSON. Arguments are the text of the `jsonb`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

from rota.domain.ids import UserId

NOBODYS: Final = UUID(int=0)
"""The chain of entries that belong to no person."""

DIGEST_BYTES: Final = 32

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""What an entry gives as its time is from then and before then: in any zone, it has a date."""

_NAMELESS: Final = frozenset({"agent", "rota", "operator", "person"})

CanonicalFields: TypeAlias = Mapping[str, "str | int | list[str] | None"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of `audit_logs`. Its times are text (see the module); `called` is the instant."""

    id: int
    user_id: UserId | None
    run_id: str | None
    action_id: str | None
    agent_name: str
    tool_name: str
    tier: str
    decision: str
    outcome: str
    arguments: str
    arguments_hash: str
    detail: str
    actor: str
    origin: str
    called_at: str
    created_at: str
    written_in: str
    entry_key: str

    @property
    def called(self) -> datetime | None:
        """When the call was made, or the decision taken; None where that is no time."""
        return instant(self.called_at)

    @property
    def created(self) -> datetime | None:
        """When it was written; None likewise."""
        return instant(self.created_at)

    @property
    def is_blank(self) -> bool:
        """Whether it is what the deletion of its person left of it."""
        return (
            (self.agent_name, self.arguments, self.arguments_hash, self.detail)
            == ("", "{}", "", "")
            and self.user_id is None
            and self.actor in _NAMELESS
        )

    def content(self) -> CanonicalFields:
        """Return what is its person's, with a salt: it goes when the person is deleted."""
        return {
            "actor": self.actor,
            "agent_name": self.agent_name,
            "arguments": self.arguments,
            "arguments_hash": self.arguments_hash,
            "detail": self.detail,
            "entry_key": self.entry_key,
        }

    def record(self, content: bytes) -> CanonicalFields:
        """Return what is said of it besides its content, which is there as its digest."""
        return {
            "action_id": self.action_id,
            "called_at": self.called_at,
            "content": content.hex(),
            "created_at": self.created_at,
            "decision": self.decision,
            "id": self.id,
            "origin": self.origin,
            "outcome": self.outcome,
            "run_id": self.run_id,
            "tier": self.tier,
            "tool_name": self.tool_name,
            "written_in": self.written_in,
        }


@dataclass(frozen=True, slots=True)
class CoveredEntry:
    """An entry as a block holds it: its id, the digest of its content, and its own digest."""

    id: int
    content: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """Entries of one chain that were sealed together. The next block refers to `hash`."""

    chain_id: UUID
    seq: int
    previous: bytes
    covers: tuple[CoveredEntry, ...]
    sealed_at: str
    hash: bytes

    def computed_hash(self) -> bytes:
        """Return what its hash has to be."""
        return digest(
            {
                "chain": str(self.chain_id),
                "previous": self.previous.hex(),
                "rows": [covered.digest.hex() for covered in self.covers],
                "sealed_at": self.sealed_at,
                "seq": self.seq,
            }
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of a person, or of nobody. `user_id` and `salt` are None for a deleted person."""

    id: UUID
    user_id: UserId | None
    salt: str | None
    person_hash: bytes | None
    length: int
    head: bytes | None

    @property
    def is_forgotten(self) -> bool:
        """Whether its person was deleted."""
        return self.user_id is None and self.id != NOBODYS

    @property
    def genesis(self) -> bytes:
        """What its first block refers to."""
        person = self.person_hash.hex() if self.person_hash is not None else None
        return digest({"chain": str(self.id), "person": person})

    @property
    def end(self) -> Head:
        """Its head by its own account."""
        return Head(self.id, self.length, self.head or self.genesis)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A record of pruned blocks: all up to `through_seq`, with `row_count` entries together."""

    chain_id: UUID
    through_seq: int
    hash: bytes
    row_count: int
    sealed_at: str
    pruned_at: str
    key_id: str
    signature: bytes

    def signed(self) -> bytes:
        """Return what its signature is of."""
        return canonical(
            {
                "chain": str(self.chain_id),
                "hash": self.hash.hex(),
                "key_id": self.key_id,
                "pruned_at": self.pruned_at,
                "row_count": self.row_count,
                "sealed_at": self.sealed_at,
                "through_seq": self.through_seq,
            }
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The last block of a chain. Whoever has kept it can check all blocks before it."""

    chain_id: UUID
    seq: int
    hash: bytes


def canonical(value: CanonicalFields) -> bytes:
    """Return canonical JSON, RFC 8785, of text and whole numbers under ASCII names.

    For these it is what the standard library writes, at a tenth of the time; a test compares.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: CanonicalFields) -> bytes:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(value)).digest()


def person_hash(salt: str, user_id: UserId) -> bytes:
    """Whose a chain is, as its genesis has it."""
    return hashlib.sha256(f"{salt}:{user_id}".encode()).digest()


def cover(entry: AuditEntry) -> CoveredEntry:
    """Return an entry as a block has it."""
    content = digest(entry.content())
    return CoveredEntry(entry.id, content, digest(entry.record(content)))


def block_after(end: Head, entries: tuple[AuditEntry, ...], sealed_at: str) -> Block:
    """Return the block that follows `end` and covers these entries."""
    block = Block(
        chain_id=end.chain_id,
        seq=end.seq + 1,
        previous=end.hash,
        covers=tuple(cover(entry) for entry in entries),
        sealed_at=sealed_at,
        hash=b"",
    )
    return replace(block, hash=block.computed_hash())


def instant(text: str) -> datetime | None:
    """Return a time of an entry or a block as an instant, None if it is out of range.

    The table takes none before 2000, and no infinite one; whoever owns it can change that.
    """
    try:
        found = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
    return found if EARLIEST <= found < LATEST else None
