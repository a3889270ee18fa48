"""A second event loop, in a thread of its own, for agents.

PgQueuer's heartbeats live on the worker's loop; an agent or a tool that blocks its loop must not
silence them, or a healthy run would be given to another worker.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

CANCEL_GRACE: Final = 2.0
"""Seconds that cancelled work has to write down what it did."""


class AgentLoop:
    """An event loop in a daemon thread: a tool that never returns cannot keep a process alive."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="rota-agents", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this loop from another.

        Cancelling the caller cancels the work and waits for it, `CANCEL_GRACE` at most.
        """
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self._loop.create_task(work)
            task.add_done_callback(lambda done: _settle(done, outcome))
            tasks.append(task)

        self._loop.call_soon_threadsafe(begin)
        waiter = asyncio.wrap_future(outcome)
        try:
            return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            if not waiter.done():
                self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
                await asyncio.wait({waiter}, timeout=CANCEL_GRACE)
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # retrieved: the caller's cancellation is what is raised
            raise

    async def stop(self) -> None:
        """Cancel what is left and end the thread, waiting a second at most."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, 1.0)

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


def _settle(done: asyncio.Task[T], outcome: concurrent.futures.Future[T]) -> None:
    if done.cancelled():
        outcome.cancel()
    elif (error := done.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(done.result())
