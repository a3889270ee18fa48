"""Hands the events of people to those who follow them live, in the order of commits.

Triggers write events into `person_events`. While somebody listens, one task of this process looks:
it numbers what is committed and has no number yet, reads what is new for all who listen, and hands
it to their listeners. It looks when it is notified, and each second in any case, because
notifications do not arrive behind a transaction pooler. Several processes may do so on one
database: all hand out the same numbers. A process without listeners does nothing.

A listener first reads what it missed from the table, as its person. Then it takes what it is
handed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from rota.domain.errors import RotaError
from rota.domain.ids import RunId, UserId
from rota.domain.operations.events import KEPT_FOR, Event, EventKind
from rota.domain.runs.run import OVER
from rota.domain.runs.views import RunView
from rota.engine.patience import Patience
from rota.services.operations.chores import first_of
from rota.services.runs.finding import find_run
from rota.store.database import Connection, Database, listen
from rota.store.operations import events as rows
from rota.store.operations.events import Span

CHANNEL: Final = "rota_events"
LOOK_EVERY: Final = 1.0
"""Seconds between two looks, where no notification comes."""

SHORTEST_REST: Final = 0.05
"""Seconds from one look to the next at least, however much is written."""

HEARD_FOR: Final = 30.0
"""Seconds for which one says that one hears notifications; said again in time."""

AT_ONCE: Final = 1_000
"""Events that one statement numbers, reads or deletes at most."""

MOST_WAITING: Final = 2_000
"""Events that wait for one listener at most: then it is given up, and its client resumes."""


class Listener:
    """One who follows a person's events, or those of one run of theirs.

    `position` is the number up to which everything was taken. `is_reset` says that events before
    that may be gone. `run` is as it was at the beginning. `is_over`: it is, and all was told.
    """

    def __init__(self, feed: EventFeed, user_id: UserId, kinds: frozenset[EventKind]) -> None:
        self._feed = feed
        self.user_id: Final = user_id
        self.kinds: Final = kinds
        self.run: RunView | None = None
        self.position = 0
        self.is_reset = False
        self.is_over = False
        self.is_given_up = False
        self.woken = asyncio.Event()
        self._waiting: deque[Event] = deque()

    @property
    def run_id(self) -> RunId | None:
        """The run that is followed; None: everything is."""
        return None if self.run is None else RunId(self.run.id)

    def begin(self, span: Span, after: int | None) -> None:
        """Set where it begins: after this number, else now; a run from its beginning."""
        beginning = span.last if self.run is None else span.pruned
        if after is not None and span.pruned <= after <= span.last:
            self.position = after
            return
        self.position = beginning
        is_kept = self.run is None or self.run.created_at >= span.kept_from
        self.is_reset = after is not None or not is_kept

    def ends_with(self, events: Sequence[Event]) -> bool:
        """Return whether the run that is followed is over with one of these."""
        run_id = self.run_id
        return run_id is not None and any(event.ends(run_id) for event in events)

    def hand(self, event: Event) -> None:
        """Have an event wait, if it is one that is wanted."""
        if self.is_given_up or (self.kinds and event.kind not in self.kinds):
            return
        if self.run is not None and event.run_id != self.run.id:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.give_up()
            return
        self._waiting.append(event)
        self.woken.set()

    def give_up(self) -> None:
        """End: its client is too slow, or events were lost. It resumes, or is told to read anew."""
        self.is_given_up = True
        self._waiting.clear()
        self.woken.set()

    def take(self) -> tuple[Event, ...]:
        """Take what waits and was not read from the table before."""
        taken = tuple(event for event in self._waiting if event.number > self.position)
        self._waiting.clear()
        if not self.is_given_up:
            self.woken.clear()
        return taken

    def close(self) -> None:
        """Listen no more."""
        self._feed.forget(self)


class EventFeed:
    """The events that this process hands to its listeners.

    It reads as the backend for all who listen, and as the person what somebody missed.
    """

    def __init__(
        self, database: Database, *, at_once: int = AT_ONCE, look_every: float = LOOK_EVERY
    ) -> None:
        self._database = database
        self._at_once = at_once
        self._look_every = look_every
        self._listeners: dict[UserId, set[Listener]] = {}
        self._position: int | None = None
        self._wake = asyncio.Event()
        self._openers: list[asyncio.Future[None]] = []
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._heard_at: float | None = None

    def count(self, user_id: UserId | None = None) -> int:
        """Return how many listen: for a person, or in all."""
        if user_id is not None:
            return len(self._listeners.get(user_id, ()))
        return sum(map(len, self._listeners.values()))

    async def open(
        self,
        user_id: UserId,
        *,
        after: int | None = None,
        run: str | None = None,
        kinds: Collection[EventKind] = (),
    ) -> Listener:
        """Begin to listen: after an event's number, or from now on; to a run from its beginning.

        `run` is its id, or the beginning of the id. Whoever opens a listener closes it. Raises
        NotFoundError for a run, UnavailableError.
        """
        listener = Listener(self, user_id, frozenset(kinds))
        self._listeners.setdefault(user_id, set()).add(listener)
        if not self._tasks:
            self._tasks = (asyncio.create_task(self._run()), asyncio.create_task(self._listen()))
        try:
            if run is not None:
                # Before the look, which numbers the end of a run that is over by now.
                async with self._database.acting_as(user_id) as conn:
                    listener.run = await find_run(conn, run)
            await self._look_from_now_on()
            async with self._database.connection() as conn:
                span = await rows.fetch_span(conn, kept_for=KEPT_FOR)
        except BaseException:
            listener.close()
            raise
        listener.begin(span, after)
        return listener

    async def follow(
        self, listener: Listener, stop: asyncio.Event, *, heartbeat: float
    ) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what comes, and nothing after `heartbeat` seconds without anything.

        Ends once a run is over and all of it was told, when `stop` is set, and where the listener
        is given up. Raises UnavailableError.
        """
        is_over = listener.run is not None and listener.run.status in OVER
        async for missed in self._missed(listener):
            is_over = is_over or listener.ends_with(missed)
            yield missed
        while not is_over and not stop.is_set():
            taken = listener.take()
            if taken:
                listener.position = taken[-1].number
                is_over = listener.ends_with(taken)
                yield taken
                continue
            if listener.is_given_up:
                return
            await first_of(stop, listener.woken, seconds=heartbeat)
            if not listener.woken.is_set() and not stop.is_set():
                # Whatever was handed out up to here was taken.
                listener.position = max(listener.position, self._position or 0)
                yield ()
        if is_over and not stop.is_set():
            await self._look_from_now_on()
            async for rest in self._missed(listener):
                yield rest
            listener.is_over = True

    async def _missed(self, listener: Listener) -> AsyncIterator[tuple[Event, ...]]:
        """Yield what the table has after where the listener is, read as its person."""
        while True:
            async with self._database.acting_as(listener.user_id) as conn:
                found = await rows.list_own(
                    conn,
                    after=listener.position,
                    run_id=listener.run_id,
                    kinds=listener.kinds,
                    at_most=self._at_once,
                )
            if found:
                listener.position = found[-1].number
                yield found
            if len(found) < self._at_once:
                return

    def forget(self, listener: Listener) -> None:
        """Hand a listener nothing more; without any, this process does nothing more."""
        of_person = self._listeners.get(listener.user_id, set())
        of_person.discard(listener)
        if not of_person:
            self._listeners.pop(listener.user_id, None)
        if not self._listeners and self._tasks:
            for task in self._tasks:
                task.cancel()
            self._tasks = ()
            self._position = self._heard_at = None

    async def prune(self, now: datetime) -> int:
        """Delete what was written more than an hour before `now`; returns how many events."""
        pruned = 0
        while True:
            async with self._database.connection() as conn:
                count = await rows.prune(conn, before=now - KEPT_FOR, at_most=self._at_once)
            pruned += count
            if count < self._at_once:
                return pruned
            await asyncio.sleep(0.02)

    async def _look_from_now_on(self) -> None:
        """Return once a look is over that began after this call; raises what it failed with."""
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._openers.append(asked)
        self._wake.set()
        await asked

    async def _run(self) -> None:
        """Look for ever, and hand out what is new."""
        patience = Patience("events_lost_database")
        while True:
            self._wake.clear()
            began = time.monotonic()
            asked, self._openers = self._openers, []
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001
                # Nobody awaits this task: without it nobody would be told anything, unseen.
                pause = patience.failed(error)
                _settle(asked, error)
            else:
                patience.succeeded()
                pause = self._look_every
                _settle(asked, None)
            await first_of(self._wake, seconds=pause)
            if (rest := began + SHORTEST_REST - time.monotonic()) > 0:
                await asyncio.sleep(rest)

    async def _look(self) -> None:
        """Give numbers to what is new, and hand it to those who listen."""
        async with self._database.connection() as conn:
            now = time.monotonic()
            if self._heard_at is None or now - self._heard_at > HEARD_FOR / 3:
                await rows.mark_heard(conn, seconds=HEARD_FOR)
                self._heard_at = now
            more = True
            while more:
                more = await rows.number(conn, at_most=self._at_once) >= self._at_once
                more = await self._hand_out(conn) or more

    async def _hand_out(self, conn: Connection) -> bool:
        """Hand out what has a number; returns whether there may be more."""
        if self._position is None:
            self._position = (await rows.fetch_span(conn, kept_for=KEPT_FOR)).last
            return False
        people = list(self._listeners)
        new = await rows.list_new(conn, people, after=self._position, at_most=self._at_once)
        if new.pruned > self._position:  # gone before anybody was told
            for listener in self._each_listener():
                listener.give_up()
        for user_id, event in new.events:
            for listener in self._listeners.get(user_id, ()):
                listener.hand(event)
        is_cut = len(new.events) >= self._at_once
        self._position = new.events[-1][1].number if is_cut else new.last
        return is_cut

    def _each_listener(self) -> Iterator[Listener]:
        for of_person in self._listeners.values():
            yield from of_person

    async def _listen(self) -> None:
        """Look at once when somebody notifies."""
        patience = Patience("events_lost_listener")
        while True:
            pause = self._look_every
            try:
                async with self._database.dedicated(listening=True) as conn:
                    await listen(conn, CHANNEL)
                    patience.succeeded()
                    self._wake.set()  # whatever came while nobody listened
                    async for _ in conn.notifies():
                        self._wake.set()
            except RotaError as error:
                pause = patience.failed(error)
            await asyncio.sleep(pause)


def _settle(asked: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for one in asked:
        if one.done():  # its caller was cancelled
            continue
        if error is None:
            one.set_result(None)
        else:
            one.set_exception(error)
