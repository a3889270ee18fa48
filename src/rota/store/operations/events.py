"""Events of people: numbered, listed and pruned. Triggers write them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rota.domain.ids import RunId, UserId
from rota.domain.operations.events import Event, EventKind
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.statements import Row, execute, many, one, value


@dataclass(frozen=True, slots=True)
class Span:
    """The greatest number that was given, and the one up to which events may be gone.

    What was written since `kept_from` is there.
    """

    last: int
    pruned: int
    kept_from: datetime


@dataclass(frozen=True, slots=True)
class New:
    """What is new for some people: whose each event is, and the numbers as in a span."""

    last: int
    pruned: int
    events: Sequence[tuple[UserId, Event]]


async def number(conn: Connection, *, at_most: int) -> int:
    """Give numbers to events that are committed and have none; returns how many."""
    return await value(conn, "operations/number_events", int, at_most=at_most)


async def mark_heard(conn: Connection, *, seconds: float) -> None:
    """Have whoever writes events notify for so long."""
    await execute(conn, "operations/mark_events_heard", seconds=seconds)


async def fetch_span(conn: Connection, *, kept_for: timedelta) -> Span:
    """Return which numbers there are, and what is not yet to be pruned."""
    return await one(conn, "operations/fetch_event_span", Span, kept_for=kept_for)


async def list_new(
    conn: Connection, people: Collection[UserId], *, after: int, at_most: int
) -> New:
    """Return the events of some people after a number, by number."""
    rows = await many(
        conn, "operations/list_events", _row, people=people, after=after, at_most=at_most
    )
    found = [
        (UserId(row["user_id"]), read(Event, row)) for row in rows if row["number"] is not None
    ]
    return New(rows[0]["last"], rows[0]["pruned"], found)


async def list_own(
    conn: Connection,
    *,
    after: int,
    run_id: RunId | None,
    kinds: Collection[EventKind],
    at_most: int,
) -> tuple[Event, ...]:
    """Return the events after a number of whom the transaction acts as, by number.

    None: of all runs, and of what belongs to none. No kinds: all of them.
    """
    return await many(
        conn,
        "operations/list_own_events",
        Event,
        after=after,
        run_id=run_id,
        kinds=[kind.value for kind in kinds],
        at_most=at_most,
    )


async def prune(conn: Connection, *, before: datetime, at_most: int) -> int:
    """Delete events that were written before a time, the oldest first; returns how many."""
    return await value(conn, "operations/prune_events", int, before=before, at_most=at_most)


def _row(row: Row) -> Row:
    return row
