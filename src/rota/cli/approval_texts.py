"""Pending actions as a person reads them. All texts of an agent are shown inert, in quotes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
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
_UNDER = "\n" + " " * 14


def print_list(found: Sequence[PendingAction], zone: str) -> None:
    """Print requests, like ones beside each other, the riskiest first."""
    output.table(
        ["ID", "AGENT", "WANTS TO", "WITH", "RISK", "STATUS", "UNTIL"],
        [
            (
                output.short(action.id),
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


def print_groups(found: Sequence[PendingAction], zone: str) -> None:
    """Print one line for all requests that are alike: how many, and in what they differ."""
    output.table(
        ["FIRST", "COUNT", "AGENT", "WANTS TO", "ALIKE IN", "DIFFERING", "RISK", "STATUS", "UNTIL"],
        [
            (
                output.short(group.first.id),
                len(group.actions),
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


def print_action(
    action: PendingAction, zone: str, precedents: Precedents, me: UserId, like: int
) -> None:
    """Print one request with all that is known of it; `like` others that are pending are alike."""
    lines = [
        ("Action", str(action.id)),
        ("Agent", action.agent_name),
        ("Wants to", action.tool_name),
        ("Risk", action.risk),
        ("Why it waits", action.reason),
        ("It says", _quoted(action.account)),
        ("Status", action.status.value),
        ("Asked", output.when(action.created_at, zone)),
        ("Until", output.when(action.expires_at, zone)),
        ("Meanwhile", "its run waits" if action.mode.value == "suspend" else "the agent went on"),
        ("Passed on", output.when(action.escalated_at, zone) if action.escalated_at else ""),
        ("Decided", _decided(action, zone)),
        ("Reason", _quoted(action.decision_reason)),
        ("Run", output.short(action.run_id) if action.run_id else ""),
    ]
    for name, said in lines:
        if said:
            output.say(f"{name:13} {said}")
    output.say("With")
    output.say(json.dumps(action.arguments, ensure_ascii=False, indent=2))
    for signal in action.signals:
        output.say(f"Look twice: {signal.text}", style="bold")
    if action.proposed_arguments is not None:
        output.say("The agent had asked for")
        output.say(json.dumps(action.proposed_arguments, ensure_ascii=False, indent=2))
    if action.result is not None:
        output.say("What came of it")
        output.say(textwrap.indent(action.result, "  "))
    if action.status is ActionStatus.PENDING:
        _print_advice(action, precedents, me, like)


def _print_advice(action: PendingAction, precedents: Precedents, me: UserId, like: int) -> None:
    """Say what may help to decide: how it went before, and what else can be done at once."""
    name = output.short(action.id)
    if precedents.approved or precedents.refused:
        output.say(
            f"In the last {HISTORY_DAYS} days {precedents.approved} of {action.agent_name}'s calls "
            f"of {action.tool_name} were approved, and {precedents.refused} refused."
        )
    if precedents.is_routine and action.user_id == me:
        output.say(
            f"Always yes: `rota approvals approve {name} --always` makes a rule of exactly this "
            "call, where the operator lets you."
        )
    if like:
        output.say(
            f"{like} more like it {'waits' if like == 1 else 'wait'}: `rota approvals list "
            f"--grouped`, `rota approvals approve --like {name}`."
        )


def print_decided(decided: Sequence[Decided]) -> None:
    """Print what came of decisions."""
    for one in decided:
        action = one.action
        name = f"{output.short(action.id)} {action.tool_name}"
        output.say(f"{name}: {one.problem or action.status.value}")


def _quoted(text: str) -> str:
    """Quote somebody's text so that no line of it stands where a line of ours would."""
    return f"\u201c{text.replace(chr(10), _UNDER)}\u201d" if text else ""


def _cell(arguments: Mapping[str, Any]) -> str:
    text = json.dumps(dict(arguments), ensure_ascii=False)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}\u2026"


def _decided(action: PendingAction, zone: str) -> str:
    if action.decided_at is None:
        return ""
    via = f" by {action.decided_via}" if action.decided_via else ""
    if action.decided_by not in {None, action.user_id}:
        via += ", by a deputy"
    return f"{output.when(action.decided_at, zone)}{via}"
