"""Where a worker runs agents: a loop in a thread of its own, replaced when a tool blocks it.

background_tasks.py starts runs on the current host, and hands over the runs of a blocked host. The
event loop and its thread are in engine/agent_loop.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from rota.domain.errors import RotaError
from rota.engine.agent_loop import AgentLoop
from rota.services.runs.scheduled_execution_service import ScheduledExecutionService

BLOCKED_AFTER: Final = 10.0
"""Seconds that a loop may be silent. Then a tool blocks it, and with it every other run there."""

_CLOSED_WITHIN: Final = 5.0
"""Seconds that closing a host may take; a process that is to end does not wait for a blocker."""

_LOOK_EVERY: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class AgentHost:
    """A loop, and the service that executes runs on it; `close` is awaited on that loop."""

    loop: AgentLoop
    execution: ScheduledExecutionService
    close: Callable[[], Coroutine[Any, Any, None]]


class AgentHosts:
    """Keeps one host open; `open_host` makes one whose loop has been started."""

    def __init__(
        self,
        open_host: Callable[[], Awaitable[AgentHost]],
        *,
        blocked_after: float = BLOCKED_AFTER,
    ) -> None:
        self._open_host = open_host
        self._blocked_after = blocked_after
        self._current: AgentHost | None = None

    @property
    def current(self) -> AgentHost:
        """The host that new runs go to."""
        if self._current is None:
            raise RuntimeError("no host is open")
        return self._current

    async def open(self) -> None:
        """Open the first host."""
        self._current = await self._open_host()

    async def close(self) -> None:
        """Close the host and end its thread; what is left on it is cancelled."""
        host, self._current = self.current, None
        try:
            async with asyncio.timeout(_CLOSED_WITHIN):
                await host.loop.run(host.close())
        except TimeoutError:
            log.warning("agent_loop_blocked_at_the_end", where=host.loop.where())
        finally:
            await host.loop.stop()

    async def come_round(self) -> None:
        """Return once the current host keeps up (ScheduledExecutionService.come_round)."""
        host = self.current
        await host.loop.run(host.execution.come_round())

    async def watch(self, lost: Callable[[AgentHost], None]) -> None:
        """Replace a host whose loop is blocked, for ever; `lost` is told, to hand its runs over."""
        while True:
            host = self.current
            try:
                async with asyncio.timeout(self._blocked_after):
                    await host.loop.answers()
            except TimeoutError:
                log.error(  # noqa: TRY400  the traceback is of no interest
                    "agent_loop_blocked",
                    seconds=self._blocked_after,
                    where=host.loop.where(),
                    hint="a tool or a callable blocks its event loop. Make it asynchronous, "
                    "or a plain function, which runs in a thread. The worker goes on "
                    "with a new loop.",
                )
                await self._replace(host, lost)
            await asyncio.sleep(_LOOK_EVERY)

    async def _replace(self, host: AgentHost, lost: Callable[[AgentHost], None]) -> None:
        try:
            self._current = await self._open_host()
        except RotaError as error:  # tried again at the next look
            log.warning("agent_loop_not_replaced", error=str(error))
            return
        lost(host)
        host.loop.abandon(host.close)
