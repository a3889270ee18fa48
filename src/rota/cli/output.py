"""What people and programs read: tables and text for the former, JSON for the latter.

Whatever an agent, a tool or a mail wrote passes through `plain`: it can neither move the cursor nor
colour, hide or reorder what stands beside it. `say_line`, `say_field` and `say_block` also keep it
from standing where a line of ours would.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rota.cli.as_json import jsonable
from rota.domain.text.unseen import spell_out
from rota.domain.text.zones import OTHER_ZONE, zone_shown

T = TypeVar("T")

_NEVER_WRAPPED: Final = frozenset(
    {
        *("ID", "FIRST", "COUNT", "RISK", "UNTIL", "WHEN", "NEXT FIRE", "FIRE TIME", "SINCE"),
        *("STATUS", "DECISION", "OUTCOME"),
    }
)
_BAR: Final = "  | "
_UNDER_FIELD: Final = " " * 12 + "| "
_NARROW: Final = 40
_LEAST: Final = 6  # cells that a column keeps, however narrow the terminal is
_PLAIN_WIDTH: Final = 1_000  # where nobody's terminal wraps, nothing is cut


def plain(text: object) -> str:
    """Return text with all that is unseen or moves what is seen written out.

    Newlines and tabs are kept.
    """
    return spell_out(str(text).replace("\r\n", "\n"))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `rota.cli.main`, as it is for what is printed otherwise."""
        raise  # noqa: PLE0704  rich calls this while it handles the error


def console() -> Console:
    """Return a console on standard output: coloured and wrapped on a terminal, else plain."""
    return _Console(highlight=False, markup=False, emoji=False, width=_width())


def say(text: str = "", *, style: str | None = None) -> None:
    """Print a line of ours, or of anybody's: both are neutralised, neither is markup."""
    console().print(Text(plain(text)), style=style, soft_wrap=not sys.stdout.isatty())


def say_line(text: str, *, style: str | None = None) -> None:
    """Print a line of ours that holds somebody else's text: what does not fit goes on behind a bar.

    So do `say_field` and `say_block`. No line on a terminal begins with a foreign text.
    """
    _say_wrapped(text, "", _BAR, _BAR, style)


def say_field(name: str, value: str) -> None:
    """Print a value beside its name, and under itself."""
    under = _UNDER_FIELD if _width() >= _NARROW else _BAR
    _say_wrapped(value, f"{name:13} ", under, under, None)


def say_block(text: str) -> None:
    """Print a text of several lines, each indented."""
    _say_wrapped(text, "  ", "  ", _BAR, None)


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


def print_list(
    found: Sequence[T],
    columns: Mapping[str, Callable[[T], object]],
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Print what a command found: as JSON, or else as a table of what `columns` say of each."""
    if as_json:
        print_json(found)
    else:
        rows = [[cell(one) for cell in columns.values()] for one in found]
        table(list(columns), rows, empty=empty)


def table_with_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], under: Sequence[str], *, empty: str
) -> None:
    """Print rows under columns, each with a line of its own below; a cell is cut to fit."""
    if not rows:
        say(empty)
        return
    listed = [[plain(cell).replace("\n", " ") for cell in row] for row in (columns, *rows)]
    widths = _widths(columns, listed, _width() - 1)
    head, *others = (
        "  ".join(set_cell_size(*cell) for cell in zip(row, widths, strict=True)).rstrip()
        for row in (_cut(row, widths) for row in listed)
    )
    console().print(Text(head), style="bold", soft_wrap=True)
    for line, more in zip(others, under, strict=True):
        console().print(Text(line), soft_wrap=True)
        _say_wrapped(more, "      ", "      ", "    | ", None)


def _cut(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell if cell_len(cell) <= width else f"{set_cell_size(cell, width - 1)}…"
        for cell, width in zip(row, widths, strict=True)
    ]


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return how wide columns are: the widest of those that may be cut gives way first."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > room:
        may_be_cut = [n for n, name in enumerate(columns) if name not in _NEVER_WRAPPED]
        widest = max(may_be_cut, key=lambda n: widths[n], default=None)
        if widest is None or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths


def print_json(value: object) -> None:
    """Print a value as JSON and nothing else; times are ISO 8601 in UTC, durations seconds.

    A program gets the characters as they are; a terminal could obey them.
    """
    print(json.dumps(jsonable(value), ensure_ascii=sys.stdout.isatty(), indent=2))


def print_json_line(value: object) -> None:
    """Print a value as one line of JSON, at once: for what comes bit by bit."""
    print(json.dumps(jsonable(value), ensure_ascii=sys.stdout.isatty()), flush=True)


def print_done(sentence: str, value: object, *, as_json: bool) -> None:
    """Say what a command did; as JSON: what it did it to, as that is now (or was, if removed)."""
    if as_json:
        print_json(value)
    else:
        say_line(sentence)


def terminal_width() -> int | None:
    """Return how wide the terminal is, None where we do not print to one."""
    return _width() if sys.stdout.isatty() else None


def is_conversation() -> bool:
    """Return whether a person can be asked: they read what we print, and type."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def local(instant: datetime, zone: str) -> datetime:
    """Return an instant on the clock of a zone; in UTC, and saying so, where it is unknown."""
    return instant.astimezone(_zone(zone))


@cache
def _zone(name: str) -> ZoneInfo:
    """Return what times are shown in; a zone that is unknown is told of once."""
    found = zone_shown(name)
    if found.key != name:
        warn(f"{name[:60]!r} is not a time zone; times are in UTC. {OTHER_ZONE}")
    return found


def moment(instant: datetime | None, zone: str) -> str:
    """Show an instant in a zone, with the zone's abbreviation."""
    if instant is None:
        return "-"
    return f"{local(instant, zone):%a %Y-%m-%d %H:%M:%S %Z}"


def when(instant: datetime | None, zone: str) -> str:
    """Show an instant in a zone so that it fits a table: to the minute."""
    return "-" if instant is None else f"{local(instant, zone):%Y-%m-%d %H:%M %Z}"


def short(identifier: UUID) -> str:
    """Show the beginning of an id on a terminal, and all of it elsewhere."""
    return str(identifier)[:8] if sys.stdout.isatty() else str(identifier)


def first_line(text: str, limit: int = 60) -> str:
    """Return the first line that says something, cut to fit a table."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _width() -> int:
    """Return how wide a line may be. What the environment says does not widen a terminal."""
    if not sys.stdout.isatty():
        return _PLAIN_WIDTH
    width = Console().width
    try:
        real = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:  # it is called a terminal, and is none that can be asked
        real = 0
    return min(width, real) if real else width


def _say_wrapped(text: str, first: str, next_: str, more: str, style: str | None) -> None:
    """Print lines: the first behind `first`, others behind `next_`, what goes on behind `more`."""
    is_wrapped = sys.stdout.isatty()
    room = _width() - 1  # some terminals go on to the next line once the last cell is filled
    lines: list[str] = []
    lead = first
    for line in plain(text).split("\n"):
        pieces = (
            wrapped(line, first=room - len(lead), rest=room - len(more)) if is_wrapped else [line]
        )
        for piece in pieces:
            lines.append(f"{lead}{piece}")
            lead = more
        lead = next_
    console().print(Text("\n".join(lines)), style=style, soft_wrap=True)


_SELECTS_EMOJI = "\ufe0f"


def wrapped(text: str, *, first: int, rest: int) -> Iterator[str]:
    """Yield a line in pieces that fit: the first in `first` cells, the others in `rest`.

    Nothing is left out, spaces neither: whoever pads a line is seen to pad it. Breaks after a space
    where one is near, else anywhere.
    """
    text = text.expandtabs()
    position, room = 0, max(first, 1)
    while True:
        end = _fitting_end(text, position, room)
        if end < len(text):
            space = text.rfind(" ", position + room // 2, end)
            end = space + 1 if space > 0 else end
        yield text[position:end]
        position, room = end, max(rest, 1)
        if position >= len(text):
            return


def _fitting_end(text: str, start: int, room: int) -> int:
    """Return how far a text gets in so many cells; one character at least."""
    if text[start : start + room].isascii():
        return min(start + room, len(text))
    end = start
    while end < len(text) and (room := room - _cells(text[end])) >= 0:
        end += 1
    return max(end, start + 1)


def _cells(c: str) -> int:
    """Return the most cells that a terminal may give a character: they differ on symbols."""
    if c.isascii():
        return 1
    category = unicodedata.category(c)
    if category in {"Mn", "Me", "Cf"}:
        return int(c == _SELECTS_EMOJI or ord(c) > 0xFFFF)
    is_wide = unicodedata.east_asian_width(c) in {"W", "F"} or category.startswith("S")
    return 2 if is_wide else 1
