"""`rota approvals`: what agents want to do and may not without a yes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rota.cli import output
from rota.cli.approvals import decisions as approval_decisions
from rota.cli.approvals.decisions import VIA, Selection
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.approvals.actions import PendingAction
    from rota.domain.approvals.review import ActionDetails
    from rota.domain.ids import UserId
    from rota.services.approvals.service import Decided

group = CommandGroup()
Action = Annotated[str, typer.Argument(metavar="ACTION", help="Its id, or the beginning of it.")]
Actions = Annotated[
    list[str] | None,
    typer.Argument(metavar="ACTION...", help="Their ids, or the beginnings of them."),
]
All = Annotated[bool, typer.Option("--all", help="All that are pending.")]


class RiskOption(StrEnum):
    """The highest risk that is meant."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="ACTION",
        help="All that are pending of this one's agent, for the same tool.",
    ),
]
UpTo = Annotated[RiskOption, typer.Option("--up-to", help="Only those of this risk at most.")]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        min=1,
        metavar="N",
        help="Only if it is still at this version, as `show` says it; for one request.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask once more.")]
OfAgent = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's.")]
OfTool = Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Only for this tool.")]


class OutcomeOption(StrEnum):
    """What became of an action of unknown outcome."""

    HAPPENED = "happened"
    DID_NOT = "did-not"
    AGAIN = "again"


@group.command("list", json=True)
def list_approvals(
    common: CommonOptions,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only of this status, or `all`; else what waits for you."),
    ] = None,
    agent: OfAgent = None,
    tool: OfTool = None,
    up_to: UpTo = RiskOption.HIGH,
    grouped: Annotated[
        bool, typer.Option("--grouped", help="One line for all that are alike.")
    ] = False,
    limit: Limit = 50,
) -> None:
    """List what waits for your decision, the riskiest first, like requests together."""
    from rota.cli.approvals import texts as approval_texts
    from rota.domain.approvals.actions import ActionStatus
    from rota.domain.approvals.review import group_requests
    from rota.services.approvals.service import OPEN

    statuses: tuple[ActionStatus, ...] | None = OPEN
    if status == "all":
        statuses = None
    elif status is not None:
        if status not in set(ActionStatus):
            raise InvalidInputError(
                f"There is no status {status!r}; it is {', '.join(ActionStatus)}, or all."
            )
        statuses = (ActionStatus(status),)

    async def work(
        app: App, me: UserId
    ) -> tuple[UserId, dict[UserId, str], str, tuple[PendingAction, ...], int]:
        found = await app.approvals.all(
            me,
            statuses=statuses,
            agent_name=agent,
            tool_name=tool,
            up_to=up_to.value,
            limit=limit,
        )
        names = await approval_decisions.names_of_others(app, me)
        all_open = () if found else await app.approvals.all(me, limit=approval_decisions.MOST)
        return me, names, await app.schedules.zone(me), found, len(all_open)

    me, names, zone, found, others = common.as_person(work)
    if common.json:
        output.print_json(group_requests(found) if grouped else found)
        return
    if status is None:
        empty = approval_texts.none_waits(others, agent=agent, tool=tool, up_to=up_to.value)
    else:
        empty = approval_texts.none_of_status(status, agent=agent, tool=tool, up_to=up_to.value)
    print_them = approval_texts.print_groups if grouped else approval_texts.print_list
    print_them(found, zone, me, names, empty)


@group.command("show", json=True)
def show(
    common: CommonOptions,
    action: Action,
    reveal: Annotated[
        bool,
        typer.Option(
            "--reveal",
            help="Show what stands as [redacted] too; the audit log says that you looked.",
        ),
    ] = False,
) -> None:
    """Show a request: which call, with what arguments, why it waits, what became of it."""
    from rota.bootstrap.app import clock
    from rota.cli.approvals.texts import details_json, print_details

    async def work(app: App, me: UserId) -> ActionDetails:
        return await app.approvals.details(me, action, now=clock(), via=VIA, reveal=reveal)

    shown = common.as_person(work)
    if common.json:
        output.print_json(details_json(shown))
        return
    print_details(shown)


@group.command("approve", json=True)
def approve(
    common: CommonOptions,
    actions: Actions = None,
    every: All = False,
    like: Like = None,
    up_to: UpTo = RiskOption.HIGH,
    version: Version = None,
    arguments: Annotated[
        str | None,
        typer.Option(
            "--arguments", metavar="JSON", help="Run it with these instead: all of them, as JSON."
        ),
    ] = None,
    always: Annotated[
        bool,
        typer.Option("--always", help="Let calls like this one run by themselves from now on."),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="ARG,ARG",
            help="With --always: hold such calls to these arguments; all without it.",
        ),
    ] = None,
    lasts: Annotated[
        str | None,
        typer.Option("--for", metavar="LENGTH", help="With --always: for how long (90d)."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Approve requests: each runs once. With --arguments one of them, changed.

    With --always a rule is made of it: this tool as it is now, with exactly these arguments. On a
    terminal you are asked before many are approved, or one that was changed since the agent asked.
    """
    if (only is not None or lasts is not None) and not always:
        raise InvalidInputError("--only and --for go with --always.")
    selection = Selection(actions, every=every, like=like, up_to=up_to.value, version=version)
    if always and (not selection.is_one or every or like or arguments is not None):
        raise InvalidInputError("--always is for one request, as it is: name it.")
    if arguments is not None and (not selection.is_one or every or like):
        raise InvalidInputError("Arguments are for one request: name it.")
    ask = output.is_conversation() and not yes and not common.json
    if always:
        approval_decisions.approve_always(common, selection, only, lasts, ask=ask)
    elif arguments is not None:
        approval_decisions.approve_changed(common, selection, _json_object(arguments))
    else:
        approval_decisions.decide(common, selection, "approve", ask=ask)


@group.command("reject", json=True)
def reject(
    common: CommonOptions,
    actions: Actions = None,
    every: All = False,
    like: Like = None,
    up_to: UpTo = RiskOption.HIGH,
    version: Version = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; the agent reads it.")
    ] = "",
) -> None:
    """Refuse requests: none of them runs."""
    selection = Selection(actions, every=every, like=like, up_to=up_to.value, version=version)
    approval_decisions.decide(common, selection, "refuse", reason, ask=False)


@group.command("settle", json=True)
def settle(
    common: CommonOptions,
    action: Action,
    outcome: Annotated[OutcomeOption, typer.Argument(help="What you found when you looked.")],
) -> None:
    """Say what became of an action of unknown outcome; `again` runs it once more."""
    from rota.services.approvals.service import Decided

    said: dict[OutcomeOption, Literal["happened", "did_not", "again"]] = {
        OutcomeOption.HAPPENED: "happened",
        OutcomeOption.DID_NOT: "did_not",
        OutcomeOption.AGAIN: "again",
    }

    async def work(app: App, me: UserId) -> tuple[Decided, ...]:
        settled = await app.approvals.settle(me, action, said[outcome], via=VIA)
        return (Decided(settled),)

    settled = common.as_person(work)
    approval_decisions.print_outcomes(common, settled)


group.add(
    "policy",
    "rota.cli.approvals.policy",
    "Rules on calls: which run, which wait for you, and which are refused.",
)
group.add(
    "deputies",
    "rota.cli.approvals.deputies",
    "Deputies: who may decide where somebody does not in time. The operator's.",
)


def _json_object(text: str) -> dict[str, object]:
    from rota.domain.text.json_values import json_object

    return json_object(text, "The arguments", "arguments")
