"""Events: what changed for a person, as who follows it live is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from rota.domain.runs.run import OVER

KEPT_FOR: Final = timedelta(hours=1)
"""How long an event is kept at least, for those who resume."""


class EventKind(StrEnum):
    """What an event is about."""

    RUN = "run"
    STEP = "step"
    ACTION = "action"
    NOTIFICATION = "notification"
    SCHEDULE = "schedule"
    AGENT = "agent"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed. What it is now, the thing itself says.

    `number` is the event's place in the order of commits. `id` is the id of the thing; of a step,
    the one of its run. `status` is the thing's own; of what has none it is `created`, `changed`,
    `deleted` or `read`.
    """

    number: int
    kind: EventKind
    id: UUID
    run_id: UUID | None
    model_step: int | None
    call_index: int | None
    status: str
    at: datetime

    def ends(self, run_id: UUID) -> bool:
        """Return whether a run is over with it."""
        return self.kind is EventKind.RUN and self.id == run_id and self.status in OVER
