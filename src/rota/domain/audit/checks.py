"""Recomputes a chain block by block, and reports where it is not as it was sealed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from rota.domain.audit.chain import (
    AuditEntry,
    Block,
    Chain,
    Checkpoint,
    CoveredEntry,
    Head,
    digest,
    instant,
    person_hash,
)

SEALED_LATE: Final = timedelta(hours=1)
"""An entry that is sealed longer after the time that it gives deserves a look."""

UNSEALED_TOO_LONG: Final = timedelta(minutes=5)
"""An entry that waits longer to be sealed deserves a look: where a scheduler runs, none does."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A place that is not as it was sealed. Block and entry are None if the whole chain is meant.

    `chain_id` is None for a head whose chain is not known.
    """

    chain_id: UUID | None
    text: str
    block: int | None = None
    entry: int | None = None

    def in_words(self) -> str:
        """Name the place, and say what is wrong there."""
        places = (("block", self.block), ("entry", self.entry))
        place = ", ".join(f"{what} {number}" for what, number in places if number is not None)
        if not place and self.chain_id is not None:
            place = f"chain {self.chain_id}"
        return f"{place}: {self.text}" if place else self.text


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """The result of checking one chain. The chain is in order if there is no problem.

    Counts of entries: `pruned` are in blocks up to `pruned_through`, and only the checkpoint
    vouches for them. `blanked` belonged to a person who was deleted. `late` were sealed an hour or
    more after their own time. `unsealed` will be sealed within seconds.

    `seen` are the kept heads that were found. `sealed_at` is the time of the last block.
    `unsealed_since` is the time of the first unsealed entry.
    """

    head: Head
    is_forgotten: bool
    sealed_at: str | None
    blocks: int
    entries: int
    pruned: int
    pruned_through: int
    blanked: int
    late: tuple[int, ...]
    unsealed: int
    unsealed_since: datetime | None
    seen: frozenset[bytes]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking chains, and of looking for kept heads.

    `notes` are worth knowing, and are no problems.
    """

    chains: tuple[ChainVerification, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    heads_there: int = 0


@dataclass(slots=True)
class ChainCheck:
    """Checks one chain: `block` for each of its blocks in order, then `end`.

    `is_signed` says of a checkpoint whether its signature is this installation's.
    """

    chain: Chain
    checkpoint: Checkpoint | None
    is_signed: Callable[[Checkpoint], bool]
    wanted: frozenset[bytes] = frozenset()
    problems: list[Problem] = field(default_factory=list)
    _at: Head = field(init=False)
    _sealed_at: str | None = None
    _blocks: int = 0
    _entries: int = 0
    _blanked: int = 0
    _late: list[int] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Begin at the chain's beginning, or at what was pruned of it."""
        chain = self.chain
        if chain.user_id is not None and (
            chain.salt is None or person_hash(chain.salt, chain.user_id) != chain.person_hash
        ):
            self._problem("the chain was made for somebody else, or its beginning was changed")
        self._at = Head(chain.id, 0, chain.genesis)
        if self.checkpoint is not None:
            if not self.is_signed(self.checkpoint):
                self._problem(
                    "the signature of the checkpoint is not by this rota's key: what was pruned "
                    "cannot be told from what was cut off"
                )
            self._at = Head(chain.id, self.checkpoint.through_seq, self.checkpoint.hash)
        self._arrive()

    @property
    def at(self) -> Head:
        """The last block that was checked, or what was pruned last."""
        return self._at

    def block(self, block: Block, entries: Iterable[AuditEntry]) -> None:
        """Check the next block against the entries that are there of those that it covers."""
        there = {entry.id: entry for entry in entries}
        if block.seq != self._at.seq + 1:
            self._missing(self._at.seq + 1, block.seq - 1)
        elif block.previous != self._at.hash:
            self._problem("it does not follow from the block before it", block=block.seq)
        is_whole = block.computed_hash() == block.hash
        if not is_whole:
            self._problem("the block was changed", block=block.seq)
        for covered in block.covers:
            found = there.get(covered.id)
            text = self._difference(covered, found)
            if text is not None:
                self._problem(text, block=block.seq, entry=covered.id)
            elif is_whole and found is not None and _is_late(found, block):
                self._late.append(found.id)
        self._at = Head(self.chain.id, block.seq, block.hash)
        self._arrive()
        self._sealed_at = block.sealed_at
        self._blocks += 1
        self._entries += len(block.covers)

    def end(
        self,
        left_out: Iterable[int],
        unsealed: Collection[str] = (),
        *,
        past_end: int = 0,
        is_stuck: bool = False,
    ) -> ChainVerification:
        """Return what was found.

        `left_out` are entries that are in no block although everything up to them is sealed;
        `unsealed` are the times of those that are to be sealed; `past_end` is how many blocks
        there are past the chain's own end; `is_stuck` says that the chain could not be sealed.
        """
        for entry in left_out:
            self._problem(
                "it is in no block, though everything up to it is sealed: it was put in afterwards,"
                " or taken from somebody else, or its block was deleted",
                entry=entry,
            )
        if self._at != self.chain.end:
            if self._at.seq < self.chain.length:
                self._missing(self._at.seq + 1, self.chain.length)
            else:
                self._problem("the chain's own account of its last block was changed")
        if past_end:
            self._problem("there are blocks past the chain's end", block=self.chain.length + 1)
        if is_stuck and unsealed:
            self._problem(f"the chain cannot be sealed; entries that wait for it: {len(unsealed)}")
        waiting = [time for text in unsealed if (time := instant(text)) is not None]
        return ChainVerification(
            head=self._at,
            is_forgotten=self.chain.is_forgotten,
            sealed_at=self._sealed_at,
            blocks=self._blocks,
            entries=self._entries,
            pruned=self.checkpoint.row_count if self.checkpoint is not None else 0,
            pruned_through=self.checkpoint.through_seq if self.checkpoint is not None else 0,
            blanked=self._blanked,
            late=tuple(self._late),
            unsealed=len(unsealed),
            unsealed_since=min(waiting, default=None),
            seen=frozenset(self._seen),
            problems=tuple(self.problems),
        )

    def _difference(self, covered: CoveredEntry, found: AuditEntry | None) -> str | None:
        if found is None:
            return "the entry was deleted, or given to somebody else"
        if found.user_id != self.chain.user_id:
            return "the entry was given to somebody else"
        if digest(found.content()) != covered.content:
            if not (self.chain.is_forgotten and found.is_blank):
                return "the entry's content was changed"
            self._blanked += 1
        if digest(found.record(covered.content)) != covered.digest:
            return "the entry was changed"
        return None

    def _arrive(self) -> None:
        if self._at.hash in self.wanted:
            self._seen.add(self._at.hash)

    def _missing(self, first: int, last: int) -> None:
        if last < first:
            self._problem("the numbers of the blocks do not follow one another", block=last + 1)
        elif first == last:
            self._problem("the block is missing", block=first)
        else:
            self._problem(f"blocks {first} to {last} are missing", block=first)

    def _problem(self, text: str, *, block: int | None = None, entry: int | None = None) -> None:
        self.problems.append(Problem(self.chain.id, text, block, entry))


def waiting_for_a_scheduler(chains: Iterable[ChainVerification], now: datetime) -> tuple[str, ...]:
    """Say since when entries wait to be sealed, where that is long."""
    times = [chain.unsealed_since for chain in chains if chain.unsealed_since is not None]
    if not times or now - min(times) <= UNSEALED_TOO_LONG:
        return ()
    since = f"{min(times):%Y-%m-%d %H:%M} UTC"
    return (f"entries have not been sealed since {since}: does a scheduler run?",)


def taken_from_their_people(
    chains: Iterable[ChainVerification], told: Collection[str], nobodys: Checkpoint | None
) -> tuple[Problem, ...]:
    """Return which chains have no person although nobody's log does not say that one was deleted.

    `told` are the ids of those of which it does. What was pruned of nobody's log may have told of
    chains that have nothing younger.
    """
    pruned_until = instant(nobodys.sealed_at) if nobodys is not None else None

    def may_have_been_told(chain: ChainVerification) -> bool:
        if pruned_until is None:
            return False
        last = instant(chain.sealed_at) if chain.sealed_at is not None else None
        return chain.blocks == 0 or (last is not None and last <= pruned_until)

    return tuple(
        Problem(
            chain.head.chain_id,
            "the chain was taken from its person: nobody's log does not say that they were deleted",
        )
        for chain in chains
        if chain.is_forgotten
        and str(chain.head.chain_id) not in told
        and not may_have_been_told(chain)
    )


def _is_late(entry: AuditEntry, block: Block) -> bool:
    sealed, created = instant(block.sealed_at), instant(entry.created_at)
    return sealed is None or created is None or sealed - created >= SEALED_LATE


@dataclass(frozen=True, slots=True)
class UncoveredEntry:
    """An entry in no block. `is_late`: it should be in one by now."""

    id: int
    is_late: bool
    created_at: str
