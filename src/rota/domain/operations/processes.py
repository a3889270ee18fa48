"""Processes that are alive: schedulers and workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

Kind = Literal["scheduler", "worker"]


ALIVE_WITHIN: Final = 15.0
"""Seconds since a process was last seen for it to count as alive; it reports every five."""


SILENT_AFTER: Final = 60.0
"""Seconds without a look at the clock after which a scheduler is silent; it looks every 15."""


@dataclass(frozen=True, slots=True)
class Process:
    """One row of `rota.processes`."""

    id: UUID
    kind: Kind
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    ticked_at: datetime | None
    is_alive: bool
