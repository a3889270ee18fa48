"""What people and programs read: tables and text for the former, JSON for the latter.

Whatever an agent, a tool or a mail wrote passes through `plain`: it can neither move the cursor nor
colour, hide or reorder what stands beside it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_NEVER_WRAPPED: Final = frozenset({"ID", "WHEN", "NEXT FIRE", "FIRE TIME", "SINCE", "STATUS"})
_PLAIN_WIDTH: Final = 1_000  # where nobody's terminal wraps, nothing is cut


def plain(text: object) -> str:
    """Return text with control and bidirectional characters written out, newlines and tabs kept."""
    shown = str(text).replace("\r\n", "\n")
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", shown)


def console() -> Console:
    """Return a console on standard output: coloured and wrapped on a terminal, else plain."""
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def say(text: str = "", *, style: str | None = None) -> None:
    """Print a line of ours, or of anybody's: both are neutralised, neither is markup."""
    console().print(Text(plain(text)), style=style, soft_wrap=not sys.stdout.isatty())


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(plain(text), file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under columns, or a sentence where there are none."""
    listed = [[plain(cell) for cell in row] for row in rows]
    if not listed:
        say(empty)
        return
    made = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in _NEVER_WRAPPED)
    for row in listed:
        made.add_row(*(Text(cell) for cell in row))
    console().print(made)


def print_json(value: object) -> None:
    """Print a value as JSON and nothing else; times are ISO 8601 in UTC, durations seconds."""
    print(json.dumps(_jsonable(value), ensure_ascii=False, indent=2))


def moment(instant: datetime | None, zone: str) -> str:
    """Show an instant in a zone, with the zone's abbreviation."""
    if instant is None:
        return "-"
    return f"{instant.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M:%S %Z}"


def when(instant: datetime | None, zone: str) -> str:
    """Show an instant in a zone so that it fits a table: to the minute."""
    return "-" if instant is None else f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"


def short(identifier: UUID) -> str:
    """Show the beginning of an id on a terminal, and all of it elsewhere."""
    return str(identifier)[:8] if sys.stdout.isatty() else str(identifier)


def first_line(text: str, limit: int = 60) -> str:
    """Return the first line that says something, cut to fit a table."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _jsonable(value: object) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return _jsonable(asdict(value))
    return _scalar(value)


def _scalar(value: object) -> str | int | float | None:
    match value:
        case Enum():
            return str(value.value)
        case None | str() | int() | float():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case _:
            return str(value)
