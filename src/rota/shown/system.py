"""How rota and somebody's day are, as JSON. What machines it runs on, only operators see."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field, create_model

from rota.domain.operations.processes import Kind, Process
from rota.domain.operations.status import Status, System
from rota.domain.text.jsonable import fields_of
from rota.shown.models import Shown, model_of

_HIDDEN = ("host", "pid", "clock_ahead", "settings", "key_ids")
"""What of a process only operators see."""


class ProcessShown(Shown):
    """A running process. Its host, pid, clock, settings and keys are null but for operators."""

    id: UUID
    kind: Kind
    host: str | None
    pid: int | None
    version: str
    started_at: datetime
    seen_at: datetime
    ticked_at: datetime | None
    clock_ahead: float | None
    settings: list[str] | None
    key_ids: list[str] | None
    silent_for: float = Field(description="Seconds since it was last seen.")
    is_alive: bool


StatusShown = create_model(
    "Status",
    __base__=model_of(Status),
    processes=(list[ProcessShown], ...),
    is_scheduler_alive=(bool, ...),
    is_worker_alive=(bool, ...),
)
SystemShown = create_model("System", __base__=model_of(System), processes=(list[ProcessShown], ...))


def status_json(found: Status, *, for_operator: bool) -> dict[str, Any]:
    """Return somebody's day at a glance."""
    return {
        **fields_of(found),
        "processes": _processes(found.processes, for_operator=for_operator),
        "is_scheduler_alive": found.is_scheduler_alive,
        "is_worker_alive": found.is_worker_alive,
    }


def system_json(found: System, *, for_operator: bool) -> dict[str, Any]:
    """Return how rota itself is."""
    processes = _processes(found.processes, for_operator=for_operator)
    return {**fields_of(found), "processes": processes}


def _processes(found: Iterable[Process], *, for_operator: bool) -> list[dict[str, Any]]:
    hidden = {} if for_operator else dict.fromkeys(_HIDDEN)
    return [{**fields_of(process), **hidden} for process in found]
