"""Completes an unfinished command line in a shell: names, ids and choices.

An option, or the metavar of an argument, tells which kind of value is completed. Names are read
from the database as a command reads them. If that fails, or there is no database, nothing is
offered.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId

Offers: TypeAlias = list[tuple[str, str]]
"""Values, each with what it is."""

_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Offer:
    """A value that the shell offers, in the form that typer's shell classes read."""

    value: str
    help: str
    type: str = "plain"


def offers(ctx: Any, param: Any, incomplete: str) -> list[Offer]:
    """Return what a parameter may be that begins with `incomplete`."""
    found = _choices(ctx, param) or _look_up(ctx, param)
    return [Offer(value, said) for value, said in found if value.startswith(incomplete)]


def _choices(ctx: Any, param: Any) -> Offers:
    option = param.opts[0]
    if option == "--status":
        return [(value, "") for value in _statuses(ctx.command_path)]
    if option == "--overlap":
        from rota.domain.schedules.overlap import OverlapPolicy

        return [(policy.value, "") for policy in OverlapPolicy]
    if option == "--time-zone" or param.metavar == "[ZONE]":
        from zoneinfo import available_timezones

        return [(zone, "") for zone in sorted(available_timezones())]
    metavar = param.metavar or ""
    return [(value, "") for value in metavar.split("|")] if "|" in metavar else []


def _statuses(command: str) -> Iterable[str]:
    if "approvals" in command:
        from rota.domain.approvals.actions import ActionStatus

        return [*ActionStatus, "all"]
    from rota.domain.runs.run import ResultStatus, RunStatus

    return ResultStatus if "results" in command else RunStatus


def _look_up(ctx: Any, param: Any) -> Offers:
    """Look names up on the database that the command line names, and complain of nothing."""
    stands_for = (param.metavar or "").replace("...", "").strip("[]")
    look = _LOOKED_UP.get(param.opts[0]) or _LOOKED_UP.get(stands_for)
    if look is None and stands_for == "NAME":
        look = next((found for n, found in _NAMED.items() if f" {n} " in ctx.command_path), None)
    if look is None:
        return []
    from rota.bootstrap.app import data_dir
    from rota.cli.options import CommonOptions

    given = ctx.params
    common = CommonOptions(given.get("data_dir"), given.get("database_url"), given.get("user"))
    try:
        with redirect_stderr(io.StringIO()):
            settings = common.settings
            if (
                settings.database_url is None
                and not (data_dir(settings) / "postgres.json").exists()
            ):
                return []  # completion does not create a database
            return common.as_person(look)
    except Exception:  # noqa: BLE001  whatever is wrong, the command itself will say it
        return []


async def _schedules(app: App, me: UserId) -> Offers:
    return [(schedule.name, schedule.agent_name) for schedule in await app.schedules.all(me)]


async def _agents(app: App, me: UserId) -> Offers:
    return [(agent.agent_name, agent.model) for agent in await app.agents.all(me)]


async def _tools(app: App, _me: UserId) -> Offers:
    declared = [(tool.name, f"{tool.effective().risk} risk") for tool in await app.tools.all()]
    known = {name for name, _ in declared}
    return declared + [(n, "not declared") for n in app.settings.tools if n not in known]


async def _calendars(app: App, me: UserId) -> Offers:
    return [(calendar.name, "") for calendar in await app.calendars.all(me)]


async def _runs(app: App, me: UserId) -> Offers:
    found = await app.runs.all(me, limit=_MOST)
    return [(_id(run.id), f"{run.agent_name}, {run.status}") for run in found]


async def _results(app: App, me: UserId) -> Offers:
    found = await app.results.latest(me, limit=_MOST)
    return [(_id(result.id), f"{result.agent_name}, {result.status}") for result in found]


async def _actions(app: App, me: UserId) -> Offers:
    found = await app.approvals.list_actions(me, limit=_MOST)
    return [(_id(a.id), f"{a.agent_name}: {a.tool_name}, {a.status}") for a in found]


async def _rules(app: App, me: UserId) -> Offers:
    found = await app.rules.list_rules(me)
    return [(_id(rule.id), f"{rule.draft.effect} {rule.draft.tool}") for rule in found]


async def _notifications(app: App, me: UserId) -> Offers:
    return [(_id(n.id), n.title) for n in await app.notifications.latest(me, limit=_MOST)]


def _id(identifier: object) -> str:
    return str(identifier)[:8]


_Look: TypeAlias = "Callable[[App, UserId], Awaitable[Offers]]"

_LOOKED_UP: Final[Mapping[str, _Look]] = {
    **dict.fromkeys(("SCHEDULE", "--schedule"), _schedules),
    **dict.fromkeys(("AGENT", "--agent"), _agents),
    **dict.fromkeys(("TOOL", "--tool", "--allow", "--require", "--refuse", "--precheck"), _tools),
    "--except-calendar": _calendars,
    **dict.fromkeys(("RUN", "--run"), _runs),
    "RESULT": _results,
    **dict.fromkeys(("REQUEST", "ACTION", "--action", "--like"), _actions),
    "RULE": _rules,
    "ID": _notifications,
}
"""By an option, or by what stands for an argument in help."""

_NAMED: Final[Mapping[str, _Look]] = {"calendars": _calendars, "tools": _tools}
"""What NAME is, by the group of the command."""
