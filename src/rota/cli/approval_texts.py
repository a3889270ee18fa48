"""Pending actions as a person reads them. All texts of an agent are shown inert, in quotes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rota.cli import output
from rota.domain.actions import ActionStatus
from rota.domain.triage import HISTORY_DAYS, groups

if TYPE_CHECKING:
    from rota.domain.actions import PendingAction
    from rota.domain.ids import UserId
    from rota.domain.triage import Precedents
    from rota.services.approvals import Decided

_LONGEST_CELL = 60


def print_list(
    found: Sequence[PendingAction], zone: str, me: UserId, names: Mapping[UserId, str]
) -> None:
    """Print requests, like ones beside each other, the riskiest first; whose, if not all are mine.

    `names` are those of others.
    """
    whose = any(action.user_id != me for action in found)
    output.table(
        [
            "ID",
            *(["WHOSE"] if whose else []),
            "AGENT",
            "WANTS TO",
            "WITH",
            "RISK",
            "STATUS",
            "UNTIL",
        ],
        [
            (
                output.short(action.id),
                *([_owner(action, me, names)] if whose else []),
                action.agent_name,
                action.tool_name,
                _cell(action.arguments),
                action.risk,
                action.status.value,
                output.when(action.expires_at, zone)
                if action.status is ActionStatus.PENDING
                else "-",
            )
            for group in groups(found)
            for action in group.actions
        ],
        empty="Nothing waits for your approval.",
    )


def print_groups(
    found: Sequence[PendingAction], zone: str, me: UserId, names: Mapping[UserId, str]
) -> None:
    """Print one line for all requests that are alike: how many, and in what they differ."""
    whose = any(action.user_id != me for action in found)
    output.table(
        [
            "FIRST",
            "COUNT",
            *(["WHOSE"] if whose else []),
            *("AGENT", "WANTS TO", "ALIKE IN", "DIFFERING", "RISK", "STATUS", "UNTIL"),
        ],
        [
            (
                output.short(group.first.id),
                len(group.actions),
                *([_owner(group.first, me, names)] if whose else []),
                group.first.agent_name,
                group.first.tool_name,
                _cell(group.same) if group.same else "-",
                ", ".join(group.differing) or "-",
                group.risk,
                group.first.status.value,
                output.when(group.until, zone)
                if group.first.status is ActionStatus.PENDING
                else "-",
            )
            for group in groups(found)
        ],
        empty="Nothing waits for your approval.",
    )


def print_to_approve(
    found: Sequence[PendingAction], me: UserId, names: Mapping[UserId, str]
) -> None:
    """Print what a yes would approve, before it is asked for."""
    whose = any(action.user_id != me for action in found)
    output.table(
        ["ID", *(["WHOSE"] if whose else []), "WANTS TO", "WITH", "RISK", "VERSION"],
        [
            (
                output.short(action.id),
                *([_owner(action, me, names)] if whose else []),
                action.tool_name,
                _cell(action.arguments),
                action.risk,
                f"{action.version}, changed" if action.version > 1 else action.version,
            )
            for group in groups(found)
            for action in group.actions
        ],
        empty="Nothing waits for your approval.",
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """A request, and what helps to decide on it.

    `whose` is what its owner is called where that is somebody else; `like` others that are pending
    are alike.
    """

    action: PendingAction
    me: UserId
    whose: str | None
    precedents: Precedents
    like: int


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
        ("Run", output.short(action.run_id) if action.run_id else ""),
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
        waits = "waits" if like == 1 else "wait"
        output.say_line(f"{like} more like it {waits}: rota approvals list --grouped")
        output.say_field("To approve all", f"rota approvals approve --like {name}")


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
                kept[_beginning(name, room)] = _beginning(item, room)
            return kept
        case list() | tuple():
            return [_beginning(item, room) for item in value if room.left >= 0]
    return value


def _owner(action: PendingAction, me: UserId, names: Mapping[UserId, str]) -> str:
    return "you" if action.user_id == me else names.get(action.user_id, str(action.user_id))


def _version(action: PendingAction) -> str:
    return f"{action.version}, changed since the agent asked" if action.version > 1 else "1"


def _decided(action: PendingAction, zone: str, me: UserId) -> str:
    if action.decided_at is None:
        return ""
    via = f" by {action.decided_via}" if action.decided_via else ""
    if action.decided_by not in {None, action.user_id}:
        via += ", by you as a deputy" if action.decided_by == me else ", by a deputy"
    return f"{output.when(action.decided_at, zone)}{via}"
