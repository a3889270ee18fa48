"""Calls of a run from other threads, for frameworks that run in a thread of their own.

A run's tools and models work on the run's event loop. A caller in another thread, synchronous or
with its own loop, waits for the answer there. When the run is stopped, its wait ends, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from rota.domain.errors import RotaError

T = TypeVar("T")

_LAST_WITHIN: Final = 2.0
"""Seconds that calls which are broken off have to write down what they did."""


class NotFromHereError(RotaError):
    """A call was made where it cannot wait: on the event loop itself, or after the run."""


class CallsFromThreads:
    """Makes the calls of one run on its loop, for threads that wait for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._under_way: set[asyncio.Task[Any]] = set()
        self._is_over = False

    def call(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Do the work on the run's loop and wait for it; raises what it raises.

        Raises NotFromHereError on the loop's own thread, which nobody may block, and after the run.
        """
        try:
            is_own = asyncio.get_running_loop() is self._loop
        except RuntimeError:  # no loop runs in this thread
            is_own = False
        if is_own:
            work.close()
            raise NotFromHereError(
                f"{name} was called synchronously on the worker's event loop, and did not run. "
                "Await its asynchronous form, or run what calls it in a thread: "
                "`await asyncio.to_thread(...)`."
            )
        return asyncio.run_coroutine_threadsafe(self._counted(name, work), self._loop).result()

    async def acall(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Do the work on the run's loop and await it, on that loop or on another; raises as `call`.

        Frameworks run loops of their own, in threads of their own.
        """
        if self._is_over:
            work.close()
            raise _run_is_over(name)
        if asyncio.get_running_loop() is self._loop:
            return await work
        begun = asyncio.run_coroutine_threadsafe(self._counted(name, work), self._loop)
        return await asyncio.wrap_future(begun)

    async def close(self) -> None:
        """Break off what is under way, and refuse what comes later."""
        self._is_over = True
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=_LAST_WITHIN)

    async def _counted(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        if self._is_over or task is None:
            work.close()
            raise _run_is_over(name)
        self._under_way.add(task)
        try:
            return await work
        finally:
            self._under_way.discard(task)


def _run_is_over(name: str) -> NotFromHereError:
    return NotFromHereError(f"The run is over; {name} did not run.")
