"""Heads that were kept elsewhere: reads them, and looks for them in the chains."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

from rota.domain.audit.chain import DIGEST_BYTES, Head
from rota.domain.audit.checks import ChainVerification, Problem
from rota.domain.errors import InvalidInputError

_SHOWN: Final = 80
"""Characters of what is no head that a message repeats."""


@dataclass(frozen=True, slots=True)
class BareHead:
    """Only the hash of a chain's last block. Its chain, and its place there, are not known."""

    hash: bytes


KeptHead: TypeAlias = Head | BareHead


@dataclass(frozen=True, slots=True)
class HeadsFound:
    """The result of looking for heads: how many were found, and notes and problems."""

    there: int = 0
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_heads(text: str) -> tuple[KeptHead, ...]:
    """Read heads: 64 hexadecimal digits each, or JSON as `rota audit head` and `export` write.

    Objects of other types, as an export has them, are passed over. Raises InvalidInputError.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if text.lstrip().startswith("["):
        values = _read_json(text)
    else:
        values = [_read_json(line) if line.startswith("{") else line for line in lines]
    heads = tuple(
        _head(value)
        for value in values
        if not isinstance(value, dict) or value.get("type") == "head"
    )
    if not heads:
        raise InvalidInputError("The file contains no head.", field="head")
    return heads


def strange_heads(heads: Iterable[KeptHead], chains: Iterable[UUID]) -> tuple[Head, ...]:
    """Return the heads that are of none of these chains."""
    known = set(chains)
    return tuple(h for h in heads if isinstance(h, Head) and h.chain_id not in known)


def look_for(heads: Iterable[KeptHead], chains: Iterable[ChainVerification]) -> HeadsFound:
    """Return whether heads are in their chains, or may be with what a checkpoint stands for."""
    checked = {chain.head.chain_id: chain for chain in chains}
    there = 0
    notes: list[str] = []
    problems: list[Problem] = []
    for head in heads:
        name = f"the head {head.hash.hex()}"
        own = [checked.get(head.chain_id)] if isinstance(head, Head) else list(checked.values())
        if any(chain is not None and head.hash in chain.seen for chain in own):
            there += 1
        elif isinstance(head, BareHead):
            was_pruned = any(chain is not None and chain.pruned_through for chain in own)
            said = "was not found; it may have been pruned" if was_pruned else _GONE
            problems.append(Problem(None, f"{name} {said}"))
        elif own[0] is not None and head.seq < own[0].pruned_through:
            notes.append(f"{name} was pruned; it cannot be checked any more")
        else:
            problems.append(Problem(head.chain_id, f"{name} {_GONE}"))
    return HeadsFound(there, tuple(notes), tuple(problems))


_GONE: Final = "is not there: the chain was cut off or rewritten"


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{_short(text)} is not JSON, and no head.", field="head"
        ) from error


def _head(value: Any) -> KeptHead:
    if isinstance(value, str):
        return BareHead(_hash(value))
    if not isinstance(value, dict):
        raise InvalidInputError(f"{_short(json.dumps(value))} is not a head.", field="head")
    seq = value.get("seq")
    try:
        chain = UUID(value.get("chain"))
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidInputError(
            "The chain of this head is not a valid chain id.", field="head"
        ) from error
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
        raise InvalidInputError(
            "The seq of a head must be the number of a block, 1 or more.", field="head"
        )
    return Head(chain, seq, _hash(value.get("hash")))


def _hash(text: Any) -> bytes:
    try:
        found = bytes.fromhex(text)
    except (ValueError, TypeError):
        found = b""
    if len(found) != DIGEST_BYTES:
        raise InvalidInputError(
            f"{_short(str(text))} is not a head. A head is 64 hexadecimal digits, or "
            "JSON as `rota audit head` prints it.",
            field="head",
        )
    return found


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
