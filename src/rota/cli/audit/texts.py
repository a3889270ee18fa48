"""Prints the audit log: its entries, its heads, and the result of a check."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from rota.cli import output
from rota.domain.audit.chain import AuditEntry
from rota.domain.audit.checks import Verification
from rota.domain.audit.heads import KeptHead, read_heads
from rota.domain.errors import InvalidInputError

_ONE_LINE: Final = 150
"""Columns of a terminal from which on all of an entry has room in one line."""

_LONGEST_DETAIL: Final = 120
_ID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def print_entries(
    found: Sequence[AuditEntry], zone: str, names: Mapping[str, str], empty: str
) -> None:
    """Print entries, newest first; `names` are what people are called, by their ids.

    On a terminal each has a second line, of who did it, from where, and what is told of it.
    """
    width = output.terminal_width()
    if width is None or width >= _ONE_LINE:
        _print_one_line_each(found, zone, names, empty)
        return
    columns = ["ID", "WHEN", "AGENT", "TOOL", "DECISION", "OUTCOME"]
    rows = [
        (
            str(entry.id),
            _brief(entry, zone),
            entry.agent_name,
            entry.tool_name,
            entry.decision,
            entry.outcome,
        )
        for entry in found
    ]
    under = [_under(entry, names) for entry in found]
    output.table_with_lines(columns, rows, under, empty=empty)


def _print_one_line_each(
    found: Sequence[AuditEntry], zone: str, names: Mapping[str, str], empty: str
) -> None:
    output.table(
        ["ID", "WHEN", "AGENT", "TOOL", "DECISION", "OUTCOME", "BY", "FROM", "DETAIL"],
        [
            (
                entry.id,
                output.when(entry.called, zone) if entry.called else entry.called_at,
                entry.agent_name,
                entry.tool_name,
                entry.decision,
                entry.outcome,
                _actor(entry, names),
                entry.origin,
                output.first_line(_detail(entry)),
            )
            for entry in found
        ],
        empty=empty,
    )


def _under(entry: AuditEntry, names: Mapping[str, str]) -> str:
    detail = output.first_line(_detail(entry), _LONGEST_DETAIL)
    by = f"by {_actor(entry, names)}, from {entry.origin}"
    return f"{by}: {detail}" if detail not in {"", "{}"} else by


def _detail(entry: AuditEntry) -> str:
    """Return what is told of an entry, or its arguments; ids of ours as short as elsewhere."""
    if not entry.detail:
        return entry.arguments
    return _ID.sub(lambda found: output.short(UUID(found[0])), entry.detail)


def _actor(entry: AuditEntry, names: Mapping[str, str]) -> str:
    if entry.actor in names:
        return names[entry.actor]
    return output.short(UUID(entry.actor)) if _ID.fullmatch(entry.actor) else entry.actor


def _brief(entry: AuditEntry, zone: str) -> str:
    if entry.called is None:
        return entry.called_at
    return f"{output.local(entry.called, zone):%Y-%m-%d %H:%M}"


_SHOWN: Final = 20
"""How many problems are printed; --json prints all."""

_LONGEST_NAME: Final = 200


def heads_of(given: str) -> tuple[KeptHead, ...]:
    """Read a head, or those of a file; raises InvalidInputError."""
    try:
        text = Path(given).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{given} contains no head: it is not a text file.") from error
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
            text = f"{name} is not a head, and cannot be read as a file ({unread.strerror})."
        else:
            text = f"{name} is not a head, and there is no file with this name."
        raise InvalidInputError(text, field="head") from unread


def print_verification(found: Verification, heads: Sequence[KeptHead]) -> None:
    """Say what is wrong, how much there is, and whether all is in order."""
    for problem in found.problems[:_SHOWN]:
        output.say(problem.in_words())
    if len(found.problems) > _SHOWN:
        output.say(f"... and {len(found.problems) - _SHOWN} more; --json prints all.")
    for note in found.notes:
        output.say(f"{note}.")
    output.say("; ".join(_counts(found)) + ".")
    if found.problems:
        count = len(found.problems)
        output.say(
            f"The audit log is NOT in order: {count} problem{'' if count == 1 else 's'}.",
            style="bold red",
        )
    elif not heads:
        output.say(
            "The audit log is in order. Use --head with a head that you kept to find out "
            "whether the end was cut off, or the whole log was rewritten."
        )
    elif found.heads_there == len(heads):
        there = "the head is" if len(heads) == 1 else f"all {len(heads)} heads are"
        output.say(f"The audit log is in order, and {there} in it.", style="green")
    else:
        output.say(
            f"The audit log is in order as far back as it goes. Heads found: {found.heads_there}."
        )


def _counts(found: Verification) -> list[str]:
    def total(name: str) -> int:
        return sum(getattr(chain, name) for chain in found.chains)

    chains = sum(1 for chain in found.chains if chain.blocks or chain.pruned)
    late = sum(len(chain.late) for chain in found.chains)
    said = [f"entries: {total('entries')}, blocks: {total('blocks')}, chains: {chains}"]
    for count, text in (
        (total("pruned"), "pruned, with a signed checkpoint: {}"),
        (total("is_forgotten"), "chains of people who were deleted: {}"),
        (total("blanked"), "their entries, which are blank: {}"),
        (late, "sealed an hour or more after their time: {}"),
        (total("unsealed"), "not sealed yet: {}"),
    ):
        if count:
            said.append(text.format(count))
    return said
