"""Many requests as a person reads them. All texts of an agent are shown inert."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from rota.cli import output
from rota.domain.agents.configuration import Risk
from rota.domain.approvals.actions import ActionStatus
from rota.domain.approvals.review import group_requests

if TYPE_CHECKING:
    from rota.domain.approvals.actions import PendingAction
    from rota.domain.approvals.review import RequestGroup
    from rota.domain.ids import UserId
    from rota.services.approvals.service import Decided

_LONGEST_CELL = 60
_WIDE: Final = 100
_NARROW: Final = 60


def print_list(
    found: Sequence[PendingAction], zone: str, me: UserId, names: Mapping[UserId, str], empty: str
) -> None:
    """Print requests, like ones beside each other, the riskiest first; whose, if not all are mine.

    `names` are those of others.
    """
    sorts = group_requests(found)
    columns: dict[str, list[str]] = {
        "ID": [output.short(a.id) for g in sorts for a in g.actions],
        **_whose(sorts, me, names, each=True),
        "AGENT": [a.agent_name for g in sorts for a in g.actions],
        "WANTS TO": [a.tool_name for g in sorts for a in g.actions],
        "WITH": [_cell(a.arguments) for g in sorts for a in g.actions],
        "RISK": [a.risk for g in sorts for a in g.actions],
        "STATUS": [a.status.value for g in sorts for a in g.actions],
        "UNTIL": [_until(a.status, a.expires_at, zone) for g in sorts for a in g.actions],
    }
    _print(columns, empty)


def print_groups(
    found: Sequence[PendingAction], zone: str, me: UserId, names: Mapping[UserId, str], empty: str
) -> None:
    """Print one line for all requests that are alike: how many, and in what they differ."""
    sorts = group_requests(found)
    columns: dict[str, list[str]] = {
        "FIRST": [output.short(g.first.id) for g in sorts],
        "COUNT": [str(len(g.actions)) for g in sorts],
        **_whose(sorts, me, names, each=False),
        "AGENT": [g.first.agent_name for g in sorts],
        "WANTS TO": [g.first.tool_name for g in sorts],
        "ALIKE IN": [_cell(g.same) if g.same else "-" for g in sorts],
        "DIFFER IN": [", ".join(g.differing) or "-" for g in sorts],
        "RISK": [g.risk for g in sorts],
        "STATUS": [g.first.status.value for g in sorts],
        "UNTIL": [_until(g.first.status, g.until, zone) for g in sorts],
    }
    _print(columns, empty)


def print_to_approve(
    found: Sequence[PendingAction], me: UserId, names: Mapping[UserId, str]
) -> None:
    """Print what a yes would approve, and its risk signals, before it is asked for."""
    sorts = group_requests(found)
    listed = [action for group in sorts for action in group.actions]
    columns: dict[str, list[str]] = {
        "ID": [output.short(a.id) for a in listed],
        **_whose(sorts, me, names, each=True),
        "AGENT": [a.agent_name for a in listed],
        "WANTS TO": [a.tool_name for a in listed],
        "WITH": [_cell(a.arguments) for a in listed],
        "RISK": [a.risk for a in listed],
    }
    if any(a.version > 1 for a in listed):
        columns["VERSION"] = [f"{a.version}{', changed' * (a.version > 1)}" for a in listed]
    _print(columns, "")
    for action in listed:
        for said in _to_look_at(action):
            output.say_line(f"Look twice at {output.short(action.id)}: {said}", style="bold")


def _to_look_at(action: PendingAction) -> list[str]:
    """Return the texts of a request's signals of high risk, and how many others there are."""
    texts = [signal.text for signal in action.signals if signal.risk == "high"]
    if more := len(action.signals) - len(texts):
        others = f"{more} more" if texts else str(more)
        texts.append(f"{others} risk signal{'s' if more > 1 else ''}; `show` says what.")
    return texts


def _print(columns: dict[str, list[str]], empty: str) -> None:
    """Print columns; on a terminal, without those that say least where there is no room."""
    if (width := output.terminal_width()) is not None:
        if width < _WIDE and set(columns.get("STATUS", ())) == {ActionStatus.PENDING.value}:
            del columns["STATUS"]
        if width < _NARROW:
            columns = {n: c for n, c in columns.items() if n not in {"AGENT", "UNTIL"}}
    rows = zip(*columns.values(), strict=True)
    output.table(list(columns), rows, empty=empty)


def _whose(
    sorts: Sequence[RequestGroup], me: UserId, names: Mapping[UserId, str], *, each: bool
) -> dict[str, list[str]]:
    """Return the column that says whose requests these are, none where all are mine."""
    if all(group.first.user_id == me for group in sorts):
        return {}
    owners = [
        "you" if (owner := group.first.user_id) == me else names.get(owner, str(owner))
        for group in sorts
        for _ in (group.actions if each else group.actions[:1])
    ]
    return {"WHOSE": owners}


def _until(status: ActionStatus, instant: datetime, zone: str) -> str:
    if status is not ActionStatus.PENDING:
        return "-"
    width = output.terminal_width()
    is_brief = width is not None and width < _WIDE
    return (
        f"{instant.astimezone(ZoneInfo(zone)):%d %b %H:%M}"
        if is_brief
        else output.when(instant, zone)
    )


def print_decided(decided: Sequence[Decided]) -> None:
    """Print what came of decisions."""
    for one in decided:
        action = one.action
        name = f"{output.short(action.id)} {action.tool_name}"
        output.say_line(f"{name}: {one.problem or action.status.value}")


def _cell(arguments: Mapping[str, Any]) -> str:
    text = json.dumps(_beginning(arguments, _Room(_LONGEST_CELL)), ensure_ascii=False)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}\u2026"


@dataclass(slots=True)
class _Room:
    left: int


def _beginning(value: Any, room: _Room) -> Any:
    """Return so much of a JSON value that its text is too long to fit, or all of it.

    It may have megabytes, of which a few letters are shown.
    """
    room.left -= 1
    match value:
        case str():
            part = value[: max(room.left, 0) + 1]
            room.left -= len(part)
            return part
        case Mapping():
            kept = {}
            for name, item in value.items():
                if room.left < 0:
                    break
                room.left -= len(name)
                kept[name[: _LONGEST_CELL + 1]] = _beginning(item, room)
            return kept
        case list() | tuple():
            return [_beginning(item, room) for item in value if room.left >= 0]
    return value


NOTHING = "Nothing waits for your approval."


def none_waits(
    others: int, *, agent: str | None = None, tool: str | None = None, up_to: Risk = "high"
) -> str:
    """Say that none of those that wait, `others` of them, is of the kind that was asked for."""
    kind = _kind(agent, tool, up_to)
    if not others or not kind:
        return NOTHING
    if others == 1:
        return f"The one that waits is not {kind}."
    return f"None of the {others} that wait is {kind}."


def none_like_it(others: int, up_to: Risk) -> str:
    """Say that none of those that are like a request, `others` of them, is of so low a risk."""
    if not others:
        return "Nothing like it waits for your approval."
    if others == 1:
        return f"The one that waits is not {_kind(None, None, up_to)}."
    return f"None of the {others} like it that wait is {_kind(None, None, up_to)}."


def none_of_status(status: str, *, agent: str | None, tool: str | None, up_to: Risk) -> str:
    """Say that there is none of a status, or of `all`."""
    kind = _kind(agent, tool, up_to)
    named = f"request {kind}" if kind else "request"
    return f"There is no {named}." if status == "all" else f"No {named} is {status}."


def _kind(agent: str | None, tool: str | None, up_to: Risk) -> str:
    parts = [f"from {agent}"] if agent is not None else []
    parts += [f"for {tool}"] if tool is not None else []
    parts += [f"of {up_to} risk{' or less' * (up_to != 'low')}"] if up_to != "high" else []
    return ", ".join(parts)
