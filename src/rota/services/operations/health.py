"""Detects that rota does not work, from two sides.

`SchedulerWatch`, a chore of workers, notices a silent scheduler. `DeadMansSwitch`, a chore of
schedulers, pings an external service, which gives the alarm when the pings stop. Missed fire times
are reported by services/notifications/incidents.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import httpx
import structlog

from rota.domain.ids import UserId
from rota.domain.operations.processes import SILENT_AFTER
from rota.domain.schedules.rules.intervals import length_in_words
from rota.services.notifications.incidents import IncidentService
from rota.store.database import Database
from rota.store.operations import processes

CHECK_EVERY: Final = 15.0

PING_EVERY: Final = 60.0
"""Seconds between two pings of the dead man's switch, however many schedulers run."""

_PING_TIMEOUT: Final = 10.0

log = structlog.get_logger(__name__)


class SchedulerWatch:
    """Notices, in a worker, that no scheduler is working, and tells the operators once."""

    def __init__(
        self,
        database: Database,
        incidents: IncidentService,
        *,
        operators: Sequence[UserId],
        silent_after: float = SILENT_AFTER,
    ) -> None:
        self._database = database
        self._incidents = incidents
        self._operators = tuple(operators)
        self._silent_after = silent_after
        self._waited = 0.0
        self._silent_looks = 0

    async def check(self) -> None:
        """Look once; two looks in a row must find silence before it is an alarm.

        A machine that wakes from sleep finds everybody silent for a moment. Where no scheduler was
        ever seen, silence counts from the first look.
        """
        async with self._database.connection() as conn:
            seconds, overdue = await processes.scheduler_silence(conn)
        if seconds is None:
            seconds = self._waited
            self._waited += CHECK_EVERY
        else:
            self._waited = 0.0
        self._silent_looks = self._silent_looks + 1 if seconds > self._silent_after else 0
        if self._silent_looks == 1:
            return
        silent = self._silent_looks > 1
        if silent:
            log.error("scheduler_silent", seconds=round(seconds), overdue=overdue)
        if self._operators:
            if silent:
                await self._incidents.scheduler_is_silent(
                    self._operators,
                    overdue=overdue,
                    silent_for=length_in_words(timedelta(seconds=round(seconds))),
                )
            else:
                await self._incidents.scheduler_is_back(self._operators)


class DeadMansSwitch:
    """Pings a URL every minute while rota is healthy. The service behind it gives the alarm.

    Healthy means: this scheduler has looked at the clock within a minute, and a worker is alive. Of
    many schedulers, only one pings.
    """

    def __init__(
        self, database: Database, *, url: str, is_awake: Callable[[], bool] = lambda: True
    ) -> None:
        """`is_awake` says whether this process's scheduler looks at the clock."""
        self._database = database
        self._url = url
        self._is_awake = is_awake
        self._failing = False

    async def ping(self) -> bool:
        """Ping if it is time and a worker is alive; returns whether the ping was answered well."""
        if not self._is_awake():
            return False
        async with self._database.connection() as conn:
            alive = {p.kind for p in await processes.list_processes(conn) if p.is_alive}
            if "worker" not in alive:
                log.warning("dead_mans_switch_silent", reason="no worker is alive")
                return False
            mine = await processes.mark_once(conn, "dead_mans_switch", every_seconds=PING_EVERY - 5)
        return await self._send() if mine else False

    async def _send(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=_PING_TIMEOUT, follow_redirects=True) as client:
                (await client.get(self._url)).raise_for_status()
        except httpx.HTTPError as error:
            if not self._failing:  # once, not each minute
                log.warning("dead_mans_switch_failed", error=_without_path(error, self._url))
            self._failing = True
            return False
        if self._failing:
            log.info("dead_mans_switch_recovered")
        self._failing = False
        return True


def _without_path(error: httpx.HTTPError, url: str) -> str:
    """Say what an error is by host and status: the rest of the URL may be a secret."""
    host = httpx.URL(url).host
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.request.url.host} answered {error.response.status_code}"
    return f"{host}: {type(error).__name__}"
