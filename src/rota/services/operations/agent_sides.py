"""Where agents run: a loop in a thread of its own, replaced when a tool blocks it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from rota.domain.errors import RotaError
from rota.engine.agent_loop import AgentLoop
from rota.services.runs.scheduled_execution_service import ScheduledExecutionService

BLOCKED_AFTER: Final = 10.0
"""Seconds that a loop may be silent. Then a tool blocks it, and with it every other run there."""

_CLOSED_WITHIN: Final = 5.0
"""Seconds that closing a side may take; a process that is to end does not wait for a blocker."""

_LOOK_EVERY: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class AgentSide:
    """A loop, and the service that executes runs on it; `close` is awaited on that loop."""

    loop: AgentLoop
    execution: ScheduledExecutionService
    close: Callable[[], Awaitable[None]]


class AgentSides:
    """Keeps one side open; `open_side` makes one whose loop has been started."""

    def __init__(
        self,
        open_side: Callable[[], Awaitable[AgentSide]],
        *,
        blocked_after: float = BLOCKED_AFTER,
    ) -> None:
        self._open_side = open_side
        self._blocked_after = blocked_after
        self._current: AgentSide | None = None

    @property
    def current(self) -> AgentSide:
        """The side that new runs go to."""
        if self._current is None:
            raise RuntimeError("no side is open")
        return self._current

    async def open(self) -> None:
        """Open the first side."""
        self._current = await self._open_side()

    async def close(self) -> None:
        """Close the side and end its thread; what is left on it is cancelled."""
        side, self._current = self.current, None
        try:
            async with asyncio.timeout(_CLOSED_WITHIN):
                await side.loop.run(_closing(side))
        except TimeoutError:
            log.warning("agent_loop_blocked_at_the_end", where=side.loop.where())
        finally:
            await side.loop.stop()

    async def watch(self, lost: Callable[[AgentSide], None]) -> None:
        """Replace a side whose loop is blocked, for ever; `lost` is told, to hand its runs over."""
        while True:
            side = self.current
            try:
                async with asyncio.timeout(self._blocked_after):
                    await side.loop.answers()
            except TimeoutError:
                log.error(  # noqa: TRY400  where this stands is of no interest
                    "agent_loop_blocked",
                    seconds=self._blocked_after,
                    where=side.loop.where(),
                    hint="a tool or a callable blocks its event loop: make it asynchronous, or a "
                    "plain function, which runs in a thread. Its worker goes on with a new loop.",
                )
                await self._replace(side, lost)
            await asyncio.sleep(_LOOK_EVERY)

    async def _replace(self, side: AgentSide, lost: Callable[[AgentSide], None]) -> None:
        try:
            self._current = await self._open_side()
        except RotaError as error:  # tried again at the next look
            log.warning("agent_loop_not_replaced", error=str(error))
            return
        lost(side)
        side.loop.abandon(side.close)


async def _closing(side: AgentSide) -> None:
    await side.close()
