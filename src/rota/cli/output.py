"""Prints output: tables and text for people, JSON for programs.

Text that an agent, a tool or a mail wrote passes through `plain`. So it cannot move the cursor,
change colours, or hide or reorder the text beside it. `say_line`, `say_field` and `say_block` also
keep such text from looking like a line that rota wrote.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from rota.cli.as_json import log_line, logs_json
from rota.domain.text.jsonable import jsonable
from rota.domain.text.shortening import quoted
from rota.domain.text.unseen import spell_out
from rota.domain.text.zones import OTHER_ZONE, zone_shown

T = TypeVar("T")

_NEVER_CUT: Final = frozenset(
    {
        *("ID", "FIRST", "COUNT", "RISK", "UNTIL", "WHEN", "NEXT", "LAST", "FIRE TIME", "SINCE"),
        *("STATUS", "STATE", "DECISION", "OUTCOME", "TRIGGER", "TOKENS", "COST", "CHECK"),
    }
)
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_BAR: Final = "  | "
_UNDER_FIELD: Final = " " * 12 + "| "
_NARROW: Final = 40
_LEAST: Final = 6  # cells that a column keeps, however narrow the terminal is
_LEAST_OF: Final = {"NAME": 24, "SCHEDULE": 16, "AGENT": 12, "TITLE": 20, "SERVICE": 12}
_LEAST_TEXT: Final = 24  # those of a column whose texts are wrapped
_WIDEST_ALIGNED: Final = 100  # a column of a few long cells would be mostly spaces
_PLAIN_WIDTH: Final = 1_000_000  # without a terminal, nothing is cut


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


def warn(text: str, *, level: str = "warning") -> None:
    """Print a line on standard error; one of JSON, of this level, where the log there is JSON."""
    if logs_json(sys.argv[1:], os.environ):
        print(log_line(text, level), file=sys.stderr, flush=True)
        return
    print(plain(text), file=sys.stderr, flush=True)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    empty: str,
    texts: Collection[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """Print rows under columns, or a sentence where there are none.

    On a terminal each row is a line that fits: columns of `optional` are left out, the first one
    first, then cells are cut (`…`). Those of the columns `texts` are wrapped instead: whole.
    """
    listed = [[_flat(cell) for cell in row] for row in rows]
    if not listed:
        say(empty)
        return
    width = _width()
    room = width - 1
    shown = _columns_that_fit(columns, listed, optional, room)
    listed = [[row[n] for n in shown] for row in listed]
    names = [columns[n] for n in shown]
    widths = _widths(names, [names, *listed], room, texts)
    if width == _PLAIN_WIDTH:  # no terminal: print it whole, with little padding
        lines = [_line(row, widths) for row in listed]
    else:
        lines = [line for row in listed for line in _lines(row, widths, names, texts)]
    console().print(Text(_line(_cut(names, widths), widths)), style="bold", soft_wrap=True)
    console().print(Text("\n".join(lines)), soft_wrap=True)


def print_list(
    found: Sequence[T],
    columns: Mapping[str, Callable[[T], object]],
    *,
    as_json: bool,
    empty: str,
    optional: Sequence[str] = (),
    zone: str | None = None,
) -> None:
    """Print what a command found: as JSON, or else as a table of what `columns` say of each.

    `optional` as in `table`; `zone` is said below, where the times are listed without it.
    """
    if as_json:
        print_json(found)
        return
    rows = [[cell(one) for cell in columns.values()] for one in found]
    table(list(columns), rows, empty=empty, optional=optional)
    if rows and zone is not None:
        say_zone(zone)


def say_zone(zone: str) -> None:
    """Say what zone times are listed in; elsewhere than on a terminal each says it."""
    if sys.stdout.isatty():
        say(f"Times in {_zone(zone).key}.", style="dim")


def table_with_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], under: Sequence[str], *, empty: str
) -> None:
    """Print rows under columns, each with a line of its own below; a cell is cut to fit."""
    if not rows:
        say(empty)
        return
    listed = [[_flat(cell) for cell in row] for row in rows]
    width = _width()
    widths = _widths(columns, [columns, *listed], width - 1)
    console().print(Text(_line(_cut(columns, widths), widths)), style="bold", soft_wrap=True)
    for row, more in zip(listed, under, strict=True):
        cells = row if width == _PLAIN_WIDTH else _cut(row, widths)
        console().print(Text(_line(cells, widths)), soft_wrap=True)
        _say_wrapped(more, "      ", "      ", "    | ", None)


def _flat(cell: object) -> str:
    return plain(cell).replace("\n", " ")


def _columns_that_fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], optional: Sequence[str], room: int
) -> list[int]:
    """Return the places of the columns that are shown: without optional ones, if need be."""
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    shown = list(range(len(columns)))
    for name in optional:
        if sum(widths[n] + 2 for n in shown) - 2 <= room:
            break
        shown.remove(columns.index(name))
    return shown


def _lines(
    row: Sequence[str], widths: Sequence[int], names: Sequence[str], texts: Collection[str]
) -> Iterator[str]:
    """Yield a row's lines: one, or as many as its texts take."""
    pieces = [
        list(wrapped(cell, first=width, rest=width)) if name in texts else [cell]
        for cell, width, name in zip(row, widths, names, strict=True)
    ]
    for n in range(max(map(len, pieces))):
        cells = [part[n].rstrip() if n < len(part) else "" for part in pieces]
        yield _line(_cut(cells, widths), widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cut(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Cut what is wider than its column."""
    return [
        cell if cell_len(cell) <= width else f"{set_cell_size(cell, width - 1)}…"
        for cell, width in zip(row, widths, strict=True)
    ]


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], room: int, texts: Collection[str] = ()
) -> list[int]:
    """Return how wide columns are: the widest of those that may be narrower gives way first."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if room >= _PLAIN_WIDTH - 1:
        return [min(width, _WIDEST_ALIGNED) for width in widths]
    may_be_cut = [n for n, name in enumerate(columns) if name not in _NEVER_CUT or name in texts]
    for least_of in (_LEAST_OF, {}):  # what people type is kept while anything else can give way
        least = [_LEAST_TEXT if c in texts else least_of.get(c, _LEAST) for c in columns]
        while sum(widths) + 2 * (len(widths) - 1) > room:
            wide = [n for n in may_be_cut if widths[n] > least[n]]
            if not wide:
                break
            widths[max(wide, key=lambda n: widths[n])] -= 1
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
        warn(f"{quoted(name)} is not a time zone; times are in UTC. {OTHER_ZONE}")
    return found


def moment(instant: datetime | None, zone: str) -> str:
    """Show an instant in a zone, with the zone's abbreviation."""
    if instant is None:
        return "-"
    return f"{local(instant, zone):%a %Y-%m-%d %H:%M:%S %Z}"


def when(instant: datetime | None, zone: str) -> str:
    """Show an instant in a zone so that it fits a table: to the minute."""
    return "-" if instant is None else f"{local(instant, zone):%Y-%m-%d %H:%M %Z}"


def listed(instant: datetime | None, zone: str, now: datetime) -> str:
    """Show an instant in a list: as short as can be on a terminal (`say_zone` names the zone)."""
    if instant is None or not sys.stdout.isatty():
        return when(instant, zone)
    at = local(instant, zone)
    is_of_this_year = at.year == local(now, zone).year
    return f"{at:%d %b %H:%M}" if is_of_this_year else f"{at:%Y-%m-%d %H:%M}"


def from_now(instant: datetime, now: datetime) -> str:
    """Say how far an instant is from now, in its largest unit: in 4 h, 3 d ago."""
    seconds = abs((instant - now).total_seconds())
    amount, unit = next(
        (int(seconds // length), name)
        for length, name in _UNITS
        if seconds >= length or name == "s"
    )
    return f"in {amount} {unit}" if instant > now else f"{amount} {unit} ago"


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
    except OSError:  # a terminal whose size cannot be read
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
    where one is near, else anywhere; not in a command in backticks that fits a line.
    """
    text = text.expandtabs()
    position, room = 0, max(first, 1)
    while True:
        end = _fitting_end(text, position, room)
        if end < len(text):
            space = text.rfind(" ", position + room // 2, end)
            end = space + 1 if space > 0 else end
            end = _before_command(text, position, end, max(rest, 1))
        yield text[position:end]
        position, room = end, max(rest, 1)
        if position >= len(text):
            return


def _before_command(text: str, start: int, end: int, room: int) -> int:
    """Return a break ahead of a command in backticks that one at `end` would cut in two."""
    if text.count("`", start, end) % 2 == 0:
        return end
    space = text.rfind(" ", start, text.rfind("`", start, end)) + 1
    closing = text.find("`", end)
    fits = closing > 0 and _fitting_end(text, space, room) > closing
    return space if space > start and fits else end


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
