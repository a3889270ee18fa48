"""rota runs AI agents on a schedule, unattended and safely.

What `__all__` names is the public face, and keeps to semantic versioning: docs/reference/python.md.
Everything else may change from one version to the next. Names are imported when they are first
used, so `import rota` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rota.version import __version__ as __version__

if TYPE_CHECKING:
    from rota.agents.own_code.run_context import RunContext
    from rota.agents.tools.context import ToolContext
    from rota.bootstrap.app import App
    from rota.bootstrap.connecting import connect
    from rota.domain.agents.configuration import AgentConfiguration
    from rota.domain.agents.declared_tools import ToolChange
    from rota.domain.approvals.actions import ActionStatus, PendingAction
    from rota.domain.approvals.review import group_requests
    from rota.domain.errors import (
        ConflictError,
        InvalidInputError,
        NotFoundError,
        RotaError,
        SetupRequiredError,
        SuspendedError,
        UnavailableError,
    )
    from rota.domain.ids import UserId
    from rota.domain.notifications.notification import Category, Notification
    from rota.domain.runs.limits import LimitReachedError
    from rota.domain.runs.options import RunOptions
    from rota.domain.runs.run import ResultStatus, RunStatus
    from rota.domain.runs.views import Result, RunView
    from rota.domain.schedules.drafts import Draft
    from rota.domain.schedules.schedule import Schedule
    from rota.services.agent_files.reading import parse_agent_file
    from rota.services.schedules.service import NewSchedule, ScheduleEdit

__all__ = [
    "ActionStatus",
    "AgentConfiguration",
    "App",
    "Category",
    "ConflictError",
    "Draft",
    "InvalidInputError",
    "LimitReachedError",
    "NewSchedule",
    "NotFoundError",
    "Notification",
    "PendingAction",
    "Result",
    "ResultStatus",
    "RotaError",
    "RunContext",
    "RunOptions",
    "RunStatus",
    "RunView",
    "Schedule",
    "ScheduleEdit",
    "SetupRequiredError",
    "SuspendedError",
    "ToolChange",
    "ToolContext",
    "UnavailableError",
    "UserId",
    "connect",
    "group_requests",
    "parse_agent_file",
]

_HOMES = {
    "ActionStatus": "domain.approvals.actions",
    "AgentConfiguration": "domain.agents.configuration",
    "App": "bootstrap.app",
    "Category": "domain.notifications.notification",
    "ConflictError": "domain.errors",
    "Draft": "domain.schedules.drafts",
    "InvalidInputError": "domain.errors",
    "LimitReachedError": "domain.runs.limits",
    "NewSchedule": "services.schedules.service",
    "NotFoundError": "domain.errors",
    "Notification": "domain.notifications.notification",
    "PendingAction": "domain.approvals.actions",
    "Result": "domain.runs.views",
    "ResultStatus": "domain.runs.run",
    "RotaError": "domain.errors",
    "RunContext": "agents.own_code.run_context",
    "RunOptions": "domain.runs.options",
    "RunStatus": "domain.runs.run",
    "RunView": "domain.runs.views",
    "Schedule": "domain.schedules.schedule",
    "ScheduleEdit": "services.schedules.service",
    "SetupRequiredError": "domain.errors",
    "SuspendedError": "domain.errors",
    "ToolChange": "domain.agents.declared_tools",
    "ToolContext": "agents.tools.context",
    "UnavailableError": "domain.errors",
    "UserId": "domain.ids",
    "connect": "bootstrap.connecting",
    "group_requests": "domain.approvals.review",
    "parse_agent_file": "services.agent_files.reading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
