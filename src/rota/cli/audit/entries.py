"""Entries of the audit log as people and programs read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rota.cli import output

if TYPE_CHECKING:
    from rota.domain.audit.chain import AuditEntry

_ONE_LINE: Final = 150
"""Columns of a terminal from which on all of an entry has room in one line."""

_LONGEST_DETAIL: Final = 120
_ID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def print_entries(found: Sequence[AuditEntry], zone: str, names: Mapping[str, str]) -> None:
    """Print entries, newest first; `names` are what people are called, by their ids.

    On a terminal each has a second line, of who did it, from where, and what is told of it.
    """
    width = output.terminal_width()
    if width is None or width >= _ONE_LINE:
        _print_one_line_each(found, zone, names)
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
    output.table_with_lines(columns, rows, under, empty=_EMPTY)


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as JSON; its times say that they are in UTC."""
    return {
        **asdict(entry),
        "called_at": entry.called or entry.called_at,
        "created_at": entry.created or entry.created_at,
    }


_EMPTY: Final = "There is no entry."


def _print_one_line_each(found: Sequence[AuditEntry], zone: str, names: Mapping[str, str]) -> None:
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
        empty=_EMPTY,
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
    return f"{entry.called.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
