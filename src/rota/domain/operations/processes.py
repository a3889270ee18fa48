"""Running processes: schedulers, workers and servers of the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

Kind = Literal["scheduler", "worker", "server"]
KINDS: Final[tuple[Kind, ...]] = ("scheduler", "worker", "server")

NEEDED: Final[tuple[Kind, ...]] = ("scheduler", "worker")
"""What scheduled runs need."""


ALIVE_WITHIN: Final = 15.0
"""Seconds since a process was last seen for it to count as alive; it reports every five."""


SILENT_AFTER: Final = 60.0
"""Seconds without a look at the clock after which a scheduler is silent; it looks every 15."""


CLOCK_TOLERANCE: Final = 60.0
"""Seconds by which a machine's clock may differ from the database's before it is told of."""


@dataclass(frozen=True, slots=True)
class Process:
    """One row of `rota.processes`.

    `silent_for`: seconds since it was last seen, by the database's clock.
    `clock_ahead`: seconds by which the clock of its machine is ahead of the database's clock.
    `settings`: the names of the settings that it has, None if it does not report them.
    `key_ids`: the fingerprints of the keys that it encrypts with, the newest first, or None.
    `url`: where a server is opened.
    """

    id: UUID
    kind: Kind
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    ticked_at: datetime | None
    clock_ahead: float | None
    settings: tuple[str, ...] | None
    key_ids: tuple[str, ...] | None
    silent_for: float
    is_alive: bool
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ServerState:
    """The state of the database server: whether it accepts writes, and its clock."""

    is_read_only: bool
    is_standby: bool
    clock: datetime
