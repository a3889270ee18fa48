"""Pending actions as a person reads them. All texts of an agent are shown inert, in quotes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rota.cli import output
from rota.domain.actions import ActionStatus

if TYPE_CHECKING:
    from rota.domain.actions import PendingAction
    from rota.services.approvals import Decided

_LONGEST_CELL = 60
_UNDER = "\n" + " " * 14


def print_list(found: Sequence[PendingAction], zone: str) -> None:
    """Print requests, those of one agent for one tool beside each other."""
    order = {(a.agent_name, a.tool_name): n for n, a in reversed(list(enumerate(found)))}
    together = sorted(found, key=lambda a: order[(a.agent_name, a.tool_name)])
    output.table(
        ["ID", "AGENT", "WANTS TO", "WITH", "RISK", "STATUS", "UNTIL"],
        [
            (
                output.short(action.id),
                action.agent_name,
                action.tool_name,
                _cell(action),
                action.risk,
                action.status.value,
                output.when(action.expires_at, zone)
                if action.status is ActionStatus.PENDING
                else "-",
            )
            for _, group in groupby(together, key=lambda a: (a.agent_name, a.tool_name))
            for action in group
        ],
        empty="Nothing waits for your approval.",
    )


def print_action(action: PendingAction, zone: str) -> None:
    """Print one request with all that is known of it."""
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
        ("Decided", _decided(action, zone)),
        ("Reason", _quoted(action.decision_reason)),
        ("Run", output.short(action.run_id) if action.run_id else ""),
    ]
    for name, said in lines:
        if said:
            output.say(f"{name:13} {said}")
    output.say("With")
    output.say(json.dumps(action.arguments, ensure_ascii=False, indent=2))
    for warning in action.warnings:
        output.say(f"Look twice: {warning}", style="bold")
    if action.proposed_arguments is not None:
        output.say("The agent had asked for")
        output.say(json.dumps(action.proposed_arguments, ensure_ascii=False, indent=2))
    if action.result is not None:
        output.say("What came of it")
        output.say(textwrap.indent(action.result, "  "))


def print_decided(decided: Sequence[Decided]) -> None:
    """Print what came of decisions."""
    for one in decided:
        action = one.action
        name = f"{output.short(action.id)} {action.tool_name}"
        output.say(f"{name}: {one.problem or action.status.value}")


def _quoted(text: str) -> str:
    """Quote somebody's text so that no line of it stands where a line of ours would."""
    return f"\u201c{text.replace(chr(10), _UNDER)}\u201d" if text else ""


def _cell(action: PendingAction) -> str:
    text = json.dumps(action.arguments, ensure_ascii=False)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}\u2026"


def _decided(action: PendingAction, zone: str) -> str:
    if action.decided_at is None:
        return ""
    via = f" by {action.decided_via}" if action.decided_via else ""
    return f"{output.when(action.decided_at, zone)}{via}"
