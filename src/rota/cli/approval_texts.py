"""Pending actions as a person reads them. All texts of an agent are shown inert, in quotes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from rota.cli import output
from rota.domain.actions import ActionStatus
from rota.domain.triage import HISTORY_DAYS, groups

if TYPE_CHECKING:
    from rota.domain.actions import PendingAction
    from rota.domain.ids import UserId
    from rota.domain.triage import Group, Precedents
    from rota.services.approvals import Decided
    from rota.store.run_views import RunView

_LONGEST_CELL = 60
_WIDE: Final = 100
_NARROW: Final = 60


def print_list(
    found: Sequence[PendingAction], zone: str, me: UserId, names: Mapping[UserId, str]
) -> None:
    """Print requests, like ones beside each other, the riskiest first; whose, if not all are mine.

    `names` are those of others.
    """
    sorts = groups(found)
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
    _print(columns)


def print_groups(
    found: Sequence[PendingAction], zone: str, me: UserId, names: Mapping[UserId, str]
) -> None:
    """Print one line for all requests that are alike: how many, and in what they differ."""
    sorts = groups(found)
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
    _print(columns)


def print_to_approve(
    found: Sequence[PendingAction], me: UserId, names: Mapping[UserId, str]
) -> None:
    """Print what a yes would approve, before it is asked for."""
    sorts = groups(found)
    listed = [action for group in sorts for action in group.actions]
    columns: dict[str, list[str]] = {
        "ID": [output.short(a.id) for a in listed],
        **_whose(sorts, me, names, each=True),
        "WANTS TO": [a.tool_name for a in listed],
        "WITH": [_cell(a.arguments) for a in listed],
        "RISK": [a.risk for a in listed],
    }
    if any(a.version > 1 for a in listed):
        columns["VERSION"] = [f"{a.version}{', changed' * (a.version > 1)}" for a in listed]
    _print(columns)


def _print(columns: dict[str, list[str]]) -> None:
    """Print columns; on a terminal, without those that say least where there is no room."""
    if (width := output.terminal_width()) is not None:
        if width < _WIDE and set(columns.get("STATUS", ())) == {ActionStatus.PENDING.value}:
            del columns["STATUS"]
        if width < _NARROW:
            columns = {n: c for n, c in columns.items() if n not in {"AGENT", "UNTIL"}}
    rows = zip(*columns.values(), strict=True)
    output.table(list(columns), rows, empty="Nothing waits for your approval.")


def _whose(
    sorts: Sequence[Group], me: UserId, names: Mapping[UserId, str], *, each: bool
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


@dataclass(frozen=True, slots=True)
class Shown:
    """A request, and what helps to decide on it.

    `whose` is what its owner is called where that is somebody else; `like` others that are pending
    are alike; `run` is the one that asked, where it is there and the person's.
    """

    action: PendingAction
    me: UserId
    whose: str | None
    precedents: Precedents
    like: int
    run: RunView | None = None


def print_action(shown: Shown, zone: str) -> None:
    """Print one request with all that is known of it."""
    action, me = shown.action, shown.me
    lines = [
        ("Action", str(action.id)),
        ("Whose", shown.whose or ""),
        ("Agent", action.agent_name),
        ("Wants to", action.tool_name),
        ("Risk", action.risk),
        ("Why it waits", action.reason),
        ("It says", _quoted(action.account)),
        ("Status", action.status.value),
        ("Version", _version(action)),
        ("Asked", output.when(action.created_at, zone)),
        ("Until", output.when(action.expires_at, zone)),
        ("Meanwhile", "its run waits" if action.mode.value == "suspend" else "the agent went on"),
        ("Passed on", output.when(action.escalated_at, zone) if action.escalated_at else ""),
        ("Decided", _decided(action, zone, me)),
        ("Reason", _quoted(action.decision_reason)),
        ("Run", _run(shown)),
        ("Its prompt", _quoted(output.first_line(shown.run.prompt)) if shown.run else ""),
    ]
    for name, said in lines:
        if said:
            output.say_field(name, said)
    output.say("With")
    output.say_block(json.dumps(action.arguments, ensure_ascii=False, indent=2))
    for signal in action.signals:
        output.say_line(f"Look twice: {signal.text}", style="bold")
    if action.proposed_arguments is not None:
        output.say("The agent had asked for")
        output.say_block(json.dumps(action.proposed_arguments, ensure_ascii=False, indent=2))
    if action.result is not None:
        output.say("What came of it")
        output.say_block(action.result)
    if action.status is ActionStatus.PENDING:
        _print_advice(shown)


def _run(shown: Shown) -> str:
    """Name the run that asked, and the schedule that it is of."""
    if shown.action.run_id is None:
        return ""
    schedule = shown.run.schedule_name if shown.run else None
    of = f", of the schedule {schedule}" if schedule else ""
    return f"{output.short(shown.action.run_id)}{of}"


def _print_advice(shown: Shown) -> None:
    """Say what may help to decide: how it went before, and what else can be done at once."""
    action, precedents, like = shown.action, shown.precedents, shown.like
    name = output.short(action.id)
    exactly = f"{name} --version {action.version}"
    output.say()
    if precedents.approved or precedents.refused:
        output.say_line(
            f"In the last {HISTORY_DAYS} days {precedents.approved} of {action.agent_name}'s calls "
            f"of {action.tool_name} were approved, and {precedents.refused} refused."
        )
    output.say_field("To approve", f"rota approvals approve {exactly}")
    output.say_field("To refuse", f"rota approvals reject {exactly}")
    if precedents.is_routine and action.user_id == shown.me:
        output.say_field("Always yes", f"rota approvals approve {exactly} --always")
        output.say_field("", "makes a rule of exactly this call, where the operator lets you.")
    if like:
        output.say_field("Like it", f"{like} more {'waits' if like == 1 else 'wait'}.")
        output.say_field(
            "To see all", f"rota approvals list --tool {shlex.quote(action.tool_name)}"
        )
        output.say_field("All of them", f"rota approvals approve --like {name}")


def print_decided(decided: Sequence[Decided]) -> None:
    """Print what came of decisions."""
    for one in decided:
        action = one.action
        name = f"{output.short(action.id)} {action.tool_name}"
        output.say_line(f"{name}: {one.problem or action.status.value}")


def _quoted(text: str) -> str:
    return f"\u201c{text}\u201d" if text else ""


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


def _version(action: PendingAction) -> str:
    return f"{action.version}, changed since the agent asked" if action.version > 1 else "1"


def _decided(action: PendingAction, zone: str, me: UserId) -> str:
    if action.decided_at is None:
        return ""
    via = f" by {action.decided_via}" if action.decided_via else ""
    if action.decided_by not in {None, action.user_id}:
        via += ", by you as a deputy" if action.decided_by == me else ", by a deputy"
    return f"{output.when(action.decided_at, zone)}{via}"
