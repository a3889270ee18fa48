"""Group commit: items that come close together share one transaction.

Taking runs, writing journals and storing results each use a `Batcher`. It knows nothing about the
content of an item.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from typing import Final, Generic, TypeVar

from rota.domain.errors import LostTransactionError, UnavailableError
from rota.domain.runs.run import RowsLockedError
from rota.engine.pace import BatchSize
from rota.store.database import despite_deadlocks

T = TypeVar("T")
R = TypeVar("R")

BATCH_SIZE: Final = 20
"""Items of a batch at most: more of them gain little and hold their locks longer."""

BATCH_WAIT: Final = 0.005
"""Seconds that an item waits for others to join it, where others are under way at all."""


class Locked(Enum):
    """Returned by `work` for an item whose rows another session has locked: nothing was done."""

    LOCKED = "locked"


SHORTEST_ASIDE: Final = 0.05
LONGEST_ASIDE: Final = 1.0
"""Seconds until a locked item is tried again: at first, and at most."""


class Batcher(Generic[T, R]):
    """Hands items to `work` in batches, and returns to each caller the outcome of its item.

    Only one batch is at work at a time; items that come meanwhile form the next batch.
    `more_to_come` says whether it is worth waiting for further items. If a batch fails, its items
    are tried one by one, so that a bad item fails alone. A locked item is set aside and tried
    again; no other item waits for it. After `patience` seconds (None: never) it fails with
    RowsLockedError. If a caller is cancelled, its item is still done. There are two exceptions: an
    item that is set aside, and, with `drop_cancelled`, an item whose batch has not begun.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R | Locked]]],
        *,
        size: int = BATCH_SIZE,
        wait: float = BATCH_WAIT,
        more_to_come: Callable[[int], bool] = lambda _waiting: True,
        drop_cancelled: bool = False,
        patience: float | None = None,
    ) -> None:
        self._work = work
        self._size = BatchSize(size)
        self._wait = wait
        self._more_to_come = more_to_come
        self._drop_cancelled = drop_cancelled
        self._patience = patience
        self._aside: set[asyncio.Future[R]] = set()
        self._waited: dict[asyncio.Future[R], float] = {}  # of those that were aside, seconds
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether more items wait than the next batch takes."""
        return len(self._waiting) > self._size.items

    async def submit(self, item: T) -> R:
        """Do an item in some batch; returns its outcome, raises its error."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._begin((item, future))
        return await future

    def _begin(self, one: tuple[T, asyncio.Future[R]]) -> None:
        self._waiting.append(one)
        if self._worker is None:
            self._worker = asyncio.create_task(self._drain())
        elif len(self._waiting) >= self._size.items or not self._more_to_come(len(self._waiting)):
            self._full.set()

    async def _drain(self) -> None:
        """Do batches until nothing waits."""
        try:
            while self._waiting:
                if len(self._waiting) < self._size.items and self._more_to_come(len(self._waiting)):
                    self._full.clear()
                    asyncio.get_running_loop().call_later(self._wait, self._full.set)
                    await self._full.wait()
                batch, self._waiting = (
                    self._waiting[: self._size.items],
                    self._waiting[self._size.items :],
                )
                if self._drop_cancelled:
                    batch = [one for one in batch if not one[1].cancelled()]
                if batch:
                    began = time.perf_counter()
                    await self._do(batch)
                    self._size.took(len(batch), time.perf_counter() - began)
        finally:
            self._worker = None
            _give_up(self._waiting)  # empty, unless this was cancelled: nobody is to wait for ever
            self._waiting = []

    async def _do(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            error = await self._try(batch)
            if error is not None and len(batch) > 1:
                for one in batch:
                    # Who is away for one is away for all: each would wait as long in vain.
                    is_away = isinstance(error, UnavailableError)
                    if not is_away or isinstance(error, LostTransactionError):
                        error = await self._try([one])
                    _fail(one, error)
            elif error is not None:
                _fail(batch[0], error)
        finally:
            _give_up([one for one in batch if one[1] not in self._aside])

    async def _try(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> Exception | None:
        """Do a batch; returns what went wrong."""
        try:
            outcomes = await self._done([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  handed to the callers, one by one
            return error
        for one, outcome in zip(batch, outcomes, strict=True):
            if one[1].done():
                continue
            if isinstance(outcome, Locked):
                self._set_aside(one)
            else:
                one[1].set_result(outcome)
        return None

    def _set_aside(self, one: tuple[T, asyncio.Future[R]]) -> None:
        """Try an item again after a pause that doubles, until the patience is over."""
        future = one[1]
        waited = self._waited.get(future, 0.0)
        if self._patience is not None and waited >= self._patience:
            future.set_exception(RowsLockedError())
            return
        if future not in self._waited:
            future.add_done_callback(self._forget)
        pause = min(LONGEST_ASIDE, max(SHORTEST_ASIDE, waited))
        self._waited[future] = waited + pause
        self._aside.add(future)
        asyncio.get_running_loop().call_later(pause, self._try_again, one)

    def _try_again(self, one: tuple[T, asyncio.Future[R]]) -> None:
        if one[1] in self._aside:  # its caller still waits for it
            self._aside.discard(one[1])
            self._begin(one)

    def _forget(self, future: asyncio.Future[R]) -> None:
        self._aside.discard(future)
        self._waited.pop(future, None)

    async def _done(self, items: Sequence[T]) -> Sequence[R | Locked]:
        try:
            outcomes = await despite_deadlocks(partial(self._work, items))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError("the work was cancelled, by none but itself") from error
        if len(outcomes) != len(items):
            raise RuntimeError(f"{len(items)} items came to {len(outcomes)} outcomes")
        return outcomes


def _fail(one: tuple[T, asyncio.Future[R]], error: Exception | None) -> None:
    if error is not None and not one[1].done():
        one[1].set_exception(error)


def _give_up(batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
    for _, future in batch:
        future.cancel()  # nothing, where it is done
