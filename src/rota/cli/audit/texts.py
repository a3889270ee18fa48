"""What `rota audit verify` says of what it found, and the heads that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rota.cli import output
from rota.domain.audit.checks import Verification
from rota.domain.audit.heads import KeptHead, read_heads
from rota.domain.errors import InvalidInputError
from rota.services.audit.service import head_line

_SHOWN: Final = 20
"""Problems that are printed; --json has all."""

_LONGEST_NAME: Final = 200


def heads_of(given: str) -> tuple[KeptHead, ...]:
    """Read a head, or those of a file; raises InvalidInputError."""
    try:
        text = Path(given).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{given} holds no head: it is not a text.") from error
    except (OSError, ValueError) as error:  # a ValueError: no file can have that name
        return _heads_written_out(given, error)
    try:
        return read_heads(text)
    except InvalidInputError as error:
        raise InvalidInputError(f"In {given}: {error.message}") from error


def _heads_written_out(given: str, unread: Exception) -> tuple[KeptHead, ...]:
    try:
        return read_heads(given)
    except InvalidInputError:
        if given.lstrip().startswith(("{", "[")):
            raise
        name = given if len(given) <= _LONGEST_NAME else f"{given[:_LONGEST_NAME]}…"
        if isinstance(unread, IsADirectoryError | PermissionError):
            text = f"{name} cannot be read ({unread.strerror}), and it is no head."
        else:
            text = f"There is no file {name}, and it is no head."
        raise InvalidInputError(text, field="head") from unread


def print_verification(found: Verification, heads: Sequence[KeptHead]) -> None:
    """Say what is wrong, how much there is, and whether all is in order."""
    for problem in found.problems[:_SHOWN]:
        output.say(problem.in_words())
    if len(found.problems) > _SHOWN:
        output.say(f"... and {len(found.problems) - _SHOWN} more; --json has all.")
    for note in found.notes:
        output.say(f"{note}.")
    output.say("; ".join(_counts(found)) + ".")
    if found.problems:
        count = len(found.problems)
        output.say(f"NOT in order: {count} problem{'' if count == 1 else 's'}.", style="bold red")
    elif not heads:
        output.say(
            "In order. Without --head, a chain that was cut or rewritten whole looks so too."
        )
    elif found.heads_there == len(heads):
        there = "the head is" if len(heads) == 1 else f"all {len(heads)} heads are"
        output.say(f"In order, and {there} there.", style="green")
    else:
        output.say(f"In order as far as it goes back: heads there: {found.heads_there}.")


def _counts(found: Verification) -> list[str]:
    def total(name: str) -> int:
        return sum(getattr(chain, name) for chain in found.chains)

    chains = sum(1 for chain in found.chains if chain.blocks or chain.pruned)
    late = sum(len(chain.late) for chain in found.chains)
    said = [f"entries: {total('entries')}, blocks: {total('blocks')}, chains: {chains}"]
    for count, text in (
        (total("pruned"), "{} entries were pruned, as a signed checkpoint says"),
        (total("is_forgotten"), "chains of people who were deleted: {}"),
        (total("blanked"), "{} entries belonged to them, and are blank"),
        (late, "{} were sealed an hour or more after the time that they give"),
        (total("unsealed"), "{} are not sealed yet"),
    ):
        if count:
            said.append(text.format(count))
    return said


def written(found: Verification) -> dict[str, object]:
    """Return what was found as JSON has it."""
    return {
        "problems": [asdict(problem) for problem in found.problems],
        "notes": list(found.notes),
        "heads_there": found.heads_there,
        "chains": [
            {
                "head": head_line(chain.head),
                "is_forgotten": chain.is_forgotten,
                "blocks": chain.blocks,
                "entries": chain.entries,
                "pruned": chain.pruned,
                "blanked": chain.blanked,
                "late": list(chain.late),
                "unsealed": chain.unsealed,
            }
            for chain in found.chains
        ],
    }
