"""One request as a person reads it before they decide. All texts of an agent are shown inert."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rota.cli import output
from rota.domain.approvals.actions import ActionStatus
from rota.domain.approvals.argument_edits import holds_redaction
from rota.domain.approvals.review import HISTORY_DAYS

if TYPE_CHECKING:
    from rota.domain.approvals.actions import PendingAction
    from rota.domain.approvals.review import ActionDetails
    from rota.domain.ids import UserId


def as_json(shown: ActionDetails) -> dict[str, Any]:
    """Return a request as JSON, with all that is known of it."""
    return {
        **asdict(shown.action),
        "arguments": shown.arguments,
        "signals": shown.action.signals,
        "precedents": shown.precedents,
        "like": len(shown.like),
        "whose": shown.owner_name,
        "schedule": shown.schedule_name,
        "prompt": shown.prompt,
    }


def print_action(shown: ActionDetails) -> None:
    """Print one request with all that is known of it."""
    action = shown.action
    for name, said in _fields(shown):
        if said:
            output.say_field(name, said)
    output.say("With")
    output.say_block(json.dumps(shown.arguments, ensure_ascii=False, indent=2))
    if shown.revealed is not None:
        is_all = shown.revealed == action.arguments
        output.say(
            "Nothing is hidden in it." if is_all else "The audit log says that you looked at this."
        )
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
    elif action.status is ActionStatus.UNKNOWN:
        _print_how_to_settle(shown)


def _fields(shown: ActionDetails) -> list[tuple[str, str]]:
    action = shown.action
    zone = shown.time_zone
    is_pending = action.status is ActionStatus.PENDING
    is_under_way = is_pending or action.status is ActionStatus.RUNNING
    until = output.when(action.expires_at, zone)
    meanwhile = "its run waits" if action.mode.value == "suspend" else "the agent went on"
    return [
        ("Action", str(action.id)),
        ("Whose", shown.owner_name or ""),
        ("Agent", action.agent_name),
        ("Wants to", action.tool_name),
        ("Risk", action.risk),
        ("Why it waits", action.reason),
        ("It says", _quoted(action.account)),
        ("Status", action.status.value),
        ("Version", _version(action)),
        ("Asked", output.when(action.created_at, zone)),
        ("Until", until if is_pending else ""),
        ("Expired", until if action.status is ActionStatus.EXPIRED else ""),
        ("Meanwhile", meanwhile if is_under_way else ""),
        ("Passed on", _passed_on(shown)),
        ("Decided", _decided(shown)),
        ("Reason", _quoted(action.decision_reason)),
        ("Run", _run(shown)),
        ("Its prompt", _quoted(output.first_line(shown.prompt or ""))),
    ]


def _run(shown: ActionDetails) -> str:
    """Name the run that asked, and the schedule that it is of."""
    if shown.action.run_id is None:
        return ""
    of = f", of the schedule {shown.schedule_name}" if shown.schedule_name else ""
    return f"{output.short(shown.action.run_id)}{of}"


def _print_advice(shown: ActionDetails) -> None:
    """Say what may help to decide: how it went before, and what else can be done at once.

    With a signal of high risk, nothing is offered that spares a look.
    """
    action, precedents = shown.action, shown.precedents
    name = output.short(action.id)
    exactly = f"{name} --version {action.version}"
    output.say()
    if precedents.approved or precedents.refused:
        were = "was" if precedents.approved == 1 else "were"
        output.say_line(
            f"In the last {HISTORY_DAYS} days {precedents.approved} of {action.agent_name}'s calls "
            f"of {action.tool_name} {were} approved, and {precedents.refused} refused."
        )
    output.say_field("To approve", f"rota approvals approve {exactly}")
    output.say_field("To refuse", f"rota approvals reject {exactly}")
    may_be_rule = not _has_high_risk_signal(action) and not holds_redaction(action.arguments)
    if precedents.is_routine and action.user_id == shown.viewer and may_be_rule:
        output.say_field("Always yes", f"rota approvals approve {exactly} --always")
        output.say_field("", "makes a rule of exactly this call, where the operator lets you.")
    if shown.like:
        count = len(shown.like)
        output.say_field("Like it", f"{count} more {'waits' if count == 1 else 'wait'}.")
        agent, tool = shlex.quote(action.agent_name), shlex.quote(action.tool_name)
        output.say_field("To see all", f"rota approvals list --agent {agent} --tool {tool}")
        if not any(map(_has_high_risk_signal, (action, *shown.like))):
            output.say_field("All of them", f"rota approvals approve --like {name}")


def _print_how_to_settle(shown: ActionDetails) -> None:
    """Say how a person tells what became of an action that nobody knows the outcome of."""
    output.say()
    if shown.action.user_id != shown.viewer:
        output.say("What became of it is its owner's to say.")
        return
    command = f"rota approvals settle {output.short(shown.action.id)}"
    output.say("Nobody knows whether it took effect. Look, then say what you found.")
    output.say_field("It happened", f"{command} happened")
    output.say_field("It did not", f"{command} did-not")
    output.say_field("Once more", f"{command} again")
    output.say_field("", "runs it again, although it may have happened.")


def _has_high_risk_signal(action: PendingAction) -> bool:
    return any(signal.risk == "high" for signal in action.signals)


def _passed_on(shown: ActionDetails) -> str:
    """Say when its owner's deputies were told of it, and who they are, where there are any."""
    if shown.action.escalated_at is None or not shown.deputies:
        return ""
    names = [_name(shown, deputy) for deputy in shown.deputies]
    return f"{output.when(shown.action.escalated_at, shown.time_zone)} to {', '.join(names)}"


def _quoted(text: str) -> str:
    return f"\u201c{text}\u201d" if text else ""


def _version(action: PendingAction) -> str:
    return f"{action.version}, changed since the agent asked" if action.version > 1 else "1"


def _decided(shown: ActionDetails) -> str:
    action = shown.action
    if action.decided_at is None:
        return ""
    via = f", from {action.decided_via}" if action.decided_via else ""
    by = ""
    if action.decided_by not in {None, action.user_id}:
        name = _name(shown, action.decided_by)
        by = f", by {name} as a deputy" if name else ", by a deputy"
    return f"{output.when(action.decided_at, shown.time_zone)}{by}{via}"


def _name(shown: ActionDetails, deputy: UserId | None) -> str:
    """Return what a deputy is called; nothing for one who is none any more."""
    if deputy is None:
        return ""
    return "you" if deputy == shown.viewer else shown.deputies.get(deputy, "")
