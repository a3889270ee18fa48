"""Prints approval requests: as a list, or one in detail. For people as text, for programs as JSON.

Text that an agent wrote is printed inert: it cannot control the terminal.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rota.cli import output
from rota.domain.agents.configuration import Risk
from rota.domain.approvals.actions import LOOKED_UP, ActionStatus
from rota.domain.approvals.call_texts import readable_call
from rota.domain.approvals.review import HISTORY_DAYS, group_requests, same_calls
from rota.domain.text.shortening import shorten

if TYPE_CHECKING:
    from rota.domain.approvals.actions import PendingAction
    from rota.domain.approvals.review import ActionDetails, RequestGroup
    from rota.domain.ids import UserId

_SAID_BELOW: Final = frozenset({"WHOSE", "AGENT", "WANTS TO", "WITH", "ALIKE IN", "DIFFER IN"})
"""Columns that a terminal has below each row instead, where nothing of them is cut."""

_LONGEST_LISTED: Final = 1_000
_LONGEST_TEXT: Final = 200


def print_list(
    found: Sequence[PendingAction], zone: str, names: Mapping[UserId, str], empty: str
) -> None:
    """Print requests, like ones beside each other, the riskiest first; whose, if not all are mine.

    `names` are what people are called, who looks among them as "you".
    """
    listed = [action for group in group_requests(found) for action in group.actions]
    calls = [_listed_call(action) for action in listed]
    _print(
        {
            "ID": [output.short(a.id) for a in listed],
            **_whose(listed, names),
            "AGENT": [a.agent_name for a in listed],
            "WANTS TO": [a.tool_name for a in listed],
            "WITH": [call.text + " (cut)" * call.is_cut for call in calls],
            "RISK": [a.risk for a in listed],
            "STATUS": [a.status.value for a in listed],
            "UNTIL": [_until(a.status, a.expires_at, zone) for a in listed],
        },
        [
            "\n".join([f"{_wants(action, names)} {call.text}", *_cut_note(call, action)])
            for action, call in zip(listed, calls, strict=True)
        ],
        zone,
        empty,
    )
    _say_same_calls(listed)


def print_groups(
    found: Sequence[PendingAction], zone: str, names: Mapping[UserId, str], empty: str
) -> None:
    """Print one line for all requests that are alike: how many, and in what they differ."""
    groups = group_requests(found)
    alike = [_listed_same(group) for group in groups]
    differing = [", ".join(group.differing) or "-" for group in groups]
    _print(
        {
            "FIRST": [output.short(g.first.id) for g in groups],
            "COUNT": [str(len(g.actions)) for g in groups],
            **_whose([g.first for g in groups], names),
            "AGENT": [g.first.agent_name for g in groups],
            "WANTS TO": [g.first.tool_name for g in groups],
            "ALIKE IN": [
                call.text + " (cut)" * call.is_cut if group.same else "-"
                for group, call in zip(groups, alike, strict=True)
            ],
            "DIFFER IN": differing,
            "RISK": [g.risk for g in groups],
            "STATUS": [g.first.status.value for g in groups],
            "UNTIL": [_until(g.first.status, g.until, zone) for g in groups],
        },
        [
            "\n".join(
                [
                    _wants(group.first, names),
                    *([f"alike in {call.text}"] if group.same else []),
                    *([f"differ in {names_of}"] if group.differing else []),
                    *_cut_note(call, group.first),
                ]
            )
            for group, call, names_of in zip(groups, alike, differing, strict=True)
        ],
        zone,
        empty,
    )
    _say_same_calls(found)


def print_to_approve(found: Sequence[PendingAction], names: Mapping[UserId, str]) -> None:
    """Print what a yes would approve, whole, and its risk signals, before it is asked for."""
    listed = [action for group in group_requests(found) for action in group.actions]
    columns = {
        "ID": [output.short(a.id) for a in listed],
        "RISK": [a.risk for a in listed],
    }
    if any(a.version > 1 for a in listed):
        columns["VERSION"] = [f"{a.version}{', changed' * (a.version > 1)}" for a in listed]
    under = [f"{_wants(a, names)} {_whole_call(a.tool_name, a.arguments)}" for a in listed]
    output.table_with_lines(
        list(columns), list(zip(*columns.values(), strict=True)), under, empty=""
    )
    for action in listed:
        for said in _to_look_at(action):
            output.say_line(f"Look twice at {output.short(action.id)}: {said}", style="bold")
    _say_same_calls(listed)


def _wants(action: PendingAction, names: Mapping[UserId, str]) -> str:
    owner = names.get(action.user_id, str(action.user_id))
    whose = "" if owner == "you" else f"of {owner} "
    return f"{action.agent_name} {whose}wants to {action.tool_name}"


def _say_same_calls(found: Sequence[PendingAction], *, among: PendingAction | None = None) -> None:
    """Say which requests ask for one call several times; where one is named, only those like it."""
    for same in same_calls(found):
        if among is None or among in same:
            ids = " ".join(output.short(action.id) for action in same)
            output.say_line(
                f"These {len(same)} requests are the same call: {ids}. Each one that you "
                "approve runs.",
                style="bold",
            )


def _to_look_at(action: PendingAction) -> list[str]:
    """Return the texts of a request's signals of high risk, and how many others there are."""
    texts = [signal.text for signal in action.signals if signal.risk == "high"]
    if more := len(action.signals) - len(texts):
        others = f"{more} more" if texts else str(more)
        texts.append(f"{others} risk signal{'s' if more > 1 else ''}; see `show`.")
    return texts


def _print(columns: dict[str, list[str]], under: Sequence[str], zone: str, empty: str) -> None:
    """Print columns; on a terminal those that stay short, and what is asked for whole below."""
    if output.terminal_width() is None:
        output.table(list(columns), zip(*columns.values(), strict=True), empty=empty)
        return
    short = {name: cells for name, cells in columns.items() if name not in _SAID_BELOW}
    output.table_with_lines(
        list(short), list(zip(*short.values(), strict=True)), under, empty=empty
    )
    if under:
        output.say_zone(zone)


def _whose(actions: Sequence[PendingAction], names: Mapping[UserId, str]) -> dict[str, list[str]]:
    """Return the column that says whose requests these are, none where all are mine."""
    owners = [names.get(action.user_id, str(action.user_id)) for action in actions]
    return {"WHOSE": owners} if set(owners) - {"you"} else {}


def _until(status: ActionStatus, instant: datetime, zone: str) -> str:
    if status is not ActionStatus.PENDING:
        return "-"
    return output.listed(instant, zone, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class ListedArguments:
    """Arguments as JSON for a list, and whether something was left out."""

    text: str
    is_cut: bool


def listed_arguments(arguments: Mapping[str, Any]) -> ListedArguments:
    """Return arguments as JSON: whole up to 1,000 characters, else with their long texts cut.

    So no number and no name is left out for a long text beside it.
    """
    text = json.dumps(arguments, ensure_ascii=False)
    if len(text) <= _LONGEST_LISTED:
        return ListedArguments(text, is_cut=False)
    return ListedArguments(
        shorten(json.dumps(_with_short_texts(arguments), ensure_ascii=False), 2 * _LONGEST_LISTED),
        is_cut=True,
    )


def _listed_call(action: PendingAction) -> ListedArguments:
    made = readable_call(action.tool_name, action.arguments)
    if made is None:
        return listed_arguments(action.arguments)
    return ListedArguments(made.in_a_list(), is_cut=made.is_cut_in_a_list)


def _listed_same(group: RequestGroup) -> ListedArguments:
    made = readable_call(group.first.tool_name, group.same)
    if made is None:
        return listed_arguments(group.same)
    return ListedArguments(made.in_a_list(), is_cut=made.is_cut_in_a_list)


def _whole_call(tool_name: str, arguments: Mapping[str, Any]) -> str:
    made = readable_call(tool_name, arguments)
    if made is None:
        return json.dumps(arguments, ensure_ascii=False)
    headers = [f"{name}: {value}" for name, value in made.headers]
    text = [f"| {line}" for line in made.text.split("\n")] if made.text else []
    return "\n".join(["", *headers, *text])


def _with_short_texts(value: Any) -> Any:
    match value:
        case str() if len(value) > _LONGEST_TEXT:
            return f"{value[:_LONGEST_TEXT]}\u2026"
        case Mapping():
            return {name: _with_short_texts(item) for name, item in value.items()}
        case list() | tuple():
            return [_with_short_texts(item) for item in value]
    return value


def _cut_note(call: ListedArguments, action: PendingAction) -> list[str]:
    return [f"Cut: see `rota approvals show {output.short(action.id)}`."] if call.is_cut else []


def print_details(shown: ActionDetails) -> None:
    """Print one request with all that is known of it."""
    action = shown.action
    for name, said in _fields(shown):
        if said:
            output.say_field(name, said)
    _print_call(action.tool_name, shown.arguments, "With", shown.sender)
    if shown.revealed is not None:
        is_all = shown.revealed == action.arguments
        output.say(
            "No value is hidden." if is_all else ("The audit log records that you looked at this.")
        )
    for signal in action.signals:
        output.say_line(f"Look twice: {signal.text}", style="bold")
    _say_same_calls([action, *shown.like], among=action)
    if action.proposed_arguments is not None:
        _print_call(action.tool_name, action.proposed_arguments, "The agent had asked for")
    if action.result is not None:
        output.say("Outcome")
        output.say_block(action.result)
    if action.status is ActionStatus.PENDING:
        _print_advice(shown)
    elif action.status is ActionStatus.UNKNOWN:
        _print_how_to_settle(shown)


def _print_call(tool_name: str, arguments: Mapping[str, Any], title: str, sender: str = "") -> None:
    """Print what a call would do it with: a mail or event as such, anything else as JSON.

    `sender` is the address that a mail would come from, where it is known.
    """
    output.say(title)
    made = readable_call(tool_name, arguments, sender=sender)
    if made is None:
        output.say_block(json.dumps(arguments, ensure_ascii=False, indent=2))
        return
    text = (("Text", made.text),) if made.text else ()
    for name, value in (*made.headers, *text):
        output.say_field(f"  {name}", value)


def _fields(shown: ActionDetails) -> list[tuple[str, str]]:
    action = shown.action
    zone = shown.time_zone
    is_pending = action.status is ActionStatus.PENDING
    is_under_way = is_pending or action.status is ActionStatus.RUNNING
    until = output.when(action.expires_at, zone)
    meanwhile = "its run waits" if action.mode.value == "suspend" else "the agent went on"
    return [
        ("Request", str(action.id)),
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
    schedule = f", of the schedule {shown.schedule_name}" if shown.schedule_name else ""
    return f"{output.short(shown.action.run_id)}{schedule}"


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
            f"In the last {HISTORY_DAYS} days, {precedents.approved} of {action.agent_name}'s "
            f"calls of {action.tool_name} {were} approved, and {precedents.refused} refused."
        )
    output.say_field("To approve", f"rota approvals approve {exactly}")
    output.say_field("To refuse", f"rota approvals refuse {exactly}")
    if shown.offers_rule:
        output.say_field("Always yes", f"rota approvals approve {exactly} --always")
        output.say_field("", "adds a rule for exactly this call, if the operator allows that.")
    if shown.like:
        count = len(shown.like)
        output.say_field("Like it", f"{count} more {'waits' if count == 1 else 'wait'}.")
        agent, tool = shlex.quote(action.agent_name), shlex.quote(action.tool_name)
        output.say_field("To see all", f"rota approvals list --agent {agent} --tool {tool}")
        if not any(one.has_high_risk_signal for one in (action, *shown.like)):
            output.say_field("All of them", f"rota approvals approve --like {name}")


def _print_how_to_settle(shown: ActionDetails) -> None:
    """Print how a person settles an action with an unknown outcome."""
    output.say()
    if shown.action.user_id != shown.viewer:
        output.say("Only its owner can say what happened.")
        return
    command = f"rota approvals settle {output.short(shown.action.id)}"
    if (shown.action.result or "").startswith(LOOKED_UP):
        output.say("There is proof that it took effect: record that.")
        output.say_field("It happened", f"{command} happened")
        return
    output.say("Nobody knows whether it took effect. Look, then record what you found.")
    output.say_field("It happened", f"{command} happened")
    output.say_field("It did not", f"{command} did-not")
    output.say_field("Once more", f"{command} again")
    output.say_field("", "runs it again, although it may have happened.")


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
    if action.status is ActionStatus.PENDING:
        return ""
    names = {**shown.deputies, action.user_id: shown.owner_name or "", shown.viewer: "you"}
    at = "" if action.decided_at is None else f"{output.when(action.decided_at, shown.time_zone)}, "
    return f"{at}{_by_whom(action, names)}"


def decision_in_words(action: PendingAction, names: Mapping[UserId, str]) -> str:
    """Say who decided on a request, and what came of it; `names` as in `print_list`."""
    match action.status:
        case ActionStatus.PENDING:
            return f"It waits: `rota approvals show {output.short(action.id)}`."
        case ActionStatus.EXPIRED | ActionStatus.WITHDRAWN:
            return f"Decided {_by_whom(action, names)}."
        case ActionStatus.REFUSED:
            reason = f": {_quoted(action.decision_reason)}" if action.decision_reason else ""
            return f"Refused {_by_whom(action, names)}{reason}."
        case _:
            changed = "with other arguments " if action.proposed_arguments is not None else ""
            return f"Approved {changed}{_by_whom(action, names)}; {_CAME_TO[action.status]}."


_CAME_TO: Final = {
    ActionStatus.APPROVED: "it will run soon",
    ActionStatus.RUNNING: "it is being run",
    ActionStatus.SUCCEEDED: "it has succeeded",
    ActionStatus.FAILED: "it has failed",
    ActionStatus.UNKNOWN: "nobody knows whether it took effect",
}


def _by_whom(action: PendingAction, names: Mapping[UserId, str]) -> str:
    """Say by whom and where it was decided; `names` are of those that may have."""
    via = f", from {action.decided_via}" if action.decided_via else ""
    if action.status is ActionStatus.EXPIRED:
        return "by nobody: it expired"
    if action.status is ActionStatus.WITHDRAWN:
        return "by nobody: it was withdrawn"
    if action.decided_by is None:
        return f"by an unknown person{via}"
    name = names.get(action.decided_by, "")
    if action.decided_by != action.user_id:
        return f"by {name} as a deputy{via}" if name else f"by a deputy{via}"
    return f"by {name or 'its owner'}{via}"


def _name(shown: ActionDetails, deputy: UserId | None) -> str:
    """Return what a deputy is called; nothing for one who is none any more."""
    if deputy is None:
        return ""
    return "you" if deputy == shown.viewer else shown.deputies.get(deputy, "")


def none_waits(
    others: int,
    *,
    like_one: bool = False,
    agent: str | None = None,
    tool: str | None = None,
    up_to: Risk = "high",
) -> str:
    """Say that none of those that wait, `others` of them, is of the kind that was asked for.

    With `like_one` they are those that are like a request.
    """
    kind = _kind(agent, tool, up_to)
    like = " like it" if like_one else ""
    if not others or not kind:
        return f"Nothing{like} waits for your approval."
    if others == 1:
        return f"The one that waits is not {kind}."
    return f"None of the {others} waiting requests{like} is {kind}."


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
