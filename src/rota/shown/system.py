"""How rota and somebody's day are, as JSON. What machines it runs on, only operators see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import create_model

from rota.domain.operations.processes import Process
from rota.domain.operations.status import Status, System
from rota.domain.text.jsonable import fields_of
from rota.shown.models import model_of

_SEEN_BY_ALL = frozenset(
    {"id", "kind", "version", "started_at", "seen_at", "ticked_at", "silent_for", "is_alive"}
)
"""What of a process is not only for operators."""

ProcessShown = create_model(
    "ProcessSeen",
    __base__=model_of(Process),
    __doc__="A running process. Where it runs, and what with, is null but for operators.",
    host=(str | None, ...),
    pid=(int | None, ...),
)
_PROCESSES: Any = list[ProcessShown]  # type: ignore[valid-type]  # a type that is made

StatusShown = create_model(
    "Status",
    __base__=model_of(Status),
    processes=(_PROCESSES, ...),
    is_scheduler_alive=(bool, ...),
    is_worker_alive=(bool, ...),
)
SystemShown = create_model("System", __base__=model_of(System), processes=(_PROCESSES, ...))


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
    told = [fields_of(process) for process in found]
    if for_operator:
        return told
    return [
        {name: value if name in _SEEN_BY_ALL else None for name, value in one.items()}
        for one in told
    ]
