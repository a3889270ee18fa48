"""A second event loop, in a thread of its own, for agents.

PgQueuer sends its heartbeats from the worker's loop. If an agent or a tool blocked that loop, the
heartbeats would stop, and the queue would give a healthy run to another worker.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

from rota.domain.errors import UnavailableError

T = TypeVar("T")

CANCEL_GRACE: Final = 2.0
"""Seconds that cancelled work has to write down what it did."""

_LAST_WITHIN: Final = 10.0
"""Seconds that closing what a loop had open may take."""

_STACK: Final = 6
"""Frames of a blocked thread that are worth telling."""


class Work(Generic[T]):
    """A coroutine that runs on another loop; `done` is a future of the loop that began it."""

    def __init__(self, loop: AgentLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.coroutine = coroutine
        self.task: asyncio.Task[T] | None = None
        self._loop = loop

    def cancel(self) -> None:
        """Cancel it there; `done` is cancelled once it has ended."""
        self._loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class AgentLoop:
    """An event loop in a daemon thread: a tool that never returns cannot keep a process alive.

    Pieces of work are handed over together, and their results come back together. Waking the other
    thread costs more than most callables do.
    """

    def __init__(self, *, threads: int = 32) -> None:
        self._loop = asyncio.new_event_loop()
        # Threads of synchronous tools that hang are lost; there is room for some of them.
        self._loop.set_default_executor(
            ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rota-tool")
        )
        self._thread = threading.Thread(target=self._serve, name="rota-agents", daemon=True)
        self._incoming: deque[Work[Any]] = deque()
        self._outgoing: deque[Work[Any]] = deque()
        self._woken = False
        self._told = False
        self._under_way: set[Work[Any]] = set()
        self._is_over = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Work[T]:
        """Begin a coroutine on this loop, from another one; raises UnavailableError at its end."""
        if self._is_over:
            coroutine.close()
            raise _over()
        work = Work(self, coroutine)
        self._under_way.add(work)
        self._incoming.append(work)
        if not self._woken:
            self._woken = True
            self.call_soon(self._begin_all)
        return work

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this loop from another.

        Cancelling the caller cancels the work and waits for it, `CANCEL_GRACE` at most. Raises
        UnavailableError where it is the loop that comes to its end.
        """
        work = self.begin(coroutine)
        try:
            return await asyncio.shield(work.done)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if work.done.cancelled() and (caller is None or not caller.cancelling()):
                raise _over() from None
            if not work.done.done():
                work.cancel()
                await asyncio.wait({work.done}, timeout=CANCEL_GRACE)
            if work.done.done() and not work.done.cancelled():
                work.done.exception()  # retrieved: the caller's cancellation is what is raised
            raise

    def call_soon(self, function: Any) -> None:
        """Call a function on this loop soon, from any thread; a loop that has ended calls none."""
        with suppress(RuntimeError):  # it is closed, from one moment to the next
            self._loop.call_soon_threadsafe(function)

    async def answers(self) -> None:
        """Return once the loop has come round: not while a tool blocks it."""
        await asyncio.shield(self.begin(asyncio.sleep(0)).done)

    def where(self) -> str:
        """Return what the thread is doing, innermost call last: for whoever must find a blocker."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001  the only way
        if frame is None:
            return "the thread has ended"
        stack = traceback.extract_stack(frame)[-_STACK:]
        return " > ".join(f"{entry.filename}:{entry.lineno} {entry.name}" for entry in stack)

    async def stop(self) -> None:
        """Cancel what is left and end the thread, waiting a second at most."""
        self._is_over = True
        if not self._thread.is_alive():
            return
        self.call_soon(self._loop.stop)
        await asyncio.to_thread(self._thread.join, 1.0)

    def abandon(self, last: Callable[[], Awaitable[None]]) -> None:
        """Give up what is under way: for its callers it is cancelled now.

        As soon as whatever blocks the thread lets go, it is cancelled there too, `last` is awaited,
        and the thread ends.
        """
        self._is_over = True
        self.call_soon(partial(self._end, last))
        for work in list(self._under_way):
            work.done.cancel()
        self._under_way.clear()

    def _begin_all(self) -> None:
        self._woken = False
        while self._incoming:
            work = self._incoming.popleft()
            work.task = self._loop.create_task(work.coroutine)
            self._tasks.add(work.task)
            work.task.add_done_callback(partial(self._ended, work))

    def _end(self, last: Callable[[], Awaitable[None]]) -> None:
        self._ending = self._loop.create_task(self._end_with(last))

    async def _end_with(self, last: Callable[[], Awaitable[None]]) -> None:
        try:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=CANCEL_GRACE)
            async with asyncio.timeout(_LAST_WITHIN):
                await last()
        finally:
            self._loop.stop()

    def _ended(self, work: Work[Any], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._outgoing.append(work)
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the caller's loop is closed: nobody waits any more
                work.done.get_loop().call_soon_threadsafe(self._tell_all)

    def _tell_all(self) -> None:
        """Settle the futures of what has ended; called on the loop that began it."""
        self._told = False
        while self._outgoing:
            work = self._outgoing.popleft()
            self._under_way.discard(work)
            if work.task is not None and not work.done.done():
                _settle(work.task, work.done)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            if pending:
                self._loop.run_until_complete(asyncio.wait(pending, timeout=0.5))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


def _over() -> UnavailableError:
    return UnavailableError("The loop that agents run on has ended.", service="agents")


def _settle(ended: asyncio.Task[T], done: asyncio.Future[T]) -> None:
    if ended.cancelled():
        done.cancel()
    elif (error := ended.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(ended.result())
