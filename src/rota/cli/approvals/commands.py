"""`rota approvals`: what agents want to do and may not without a yes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from rota.cli import output
from rota.cli.approvals import decisions
from rota.cli.approvals.decisions import VIA, Consent, Selection
from rota.cli.groups import CommandGroup, takes
from rota.cli.options import CommonOptions, Limit
from rota.domain.agents.configuration import Risk
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.approvals.actions import ActionStatus, PendingAction, Settlement
    from rota.domain.ids import UserId

group = CommandGroup()
Action = Annotated[str, typer.Argument(metavar="ACTION", help="Its id, or the beginning of it.")]
UpTo = Annotated[Risk, typer.Option("--up-to", help="Only those of this risk at most.")]
OfAgent = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's.")]
OfTool = Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Only for this tool.")]
Actions = Annotated[
    list[str] | None,
    typer.Argument(metavar="ACTION...", help="Their ids, or the beginnings of them."),
]
All = Annotated[bool, typer.Option("--all", help="All that are pending.")]
Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="ACTION",
        help="All that are pending of this one's agent, for the same tool.",
    ),
]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        min=1,
        metavar="N",
        help="Only if it is still at this version, as `show` says it; for one request.",
    ),
]
takes_selection = takes(
    "selection",
    {
        "actions": (Actions, None),
        "every": (All, False),
        "like": (Like, None),
        "up_to": (UpTo, "high"),
        "version": (Version, None),
    },
    Selection,
)


@group.command("list")
def list_approvals(
    common: CommonOptions,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only of this status, or `all`; else what waits for you."),
    ] = None,
    agent: OfAgent = None,
    tool: OfTool = None,
    up_to: UpTo = "high",
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
    ) -> tuple[tuple[PendingAction, ...], int, str, dict[UserId, str]]:
        found = await app.approvals.list_actions(
            me, statuses=statuses, agent_name=agent, tool_name=tool, up_to=up_to, limit=limit
        )
        others = () if found else await app.approvals.list_actions(me, limit=decisions.MOST)
        zone = await app.schedules.zone(me)
        return found, len(others), zone, await app.deputies.list_names(me)

    found, others, zone, names = common.as_person(work)
    if common.json:
        output.print_json(group_requests(found) if grouped else found)
        return
    if status is None:
        empty = approval_texts.none_waits(others, agent=agent, tool=tool, up_to=up_to)
    else:
        empty = approval_texts.none_of_status(status, agent=agent, tool=tool, up_to=up_to)
    print_them = approval_texts.print_groups if grouped else approval_texts.print_list
    print_them(found, zone, names, empty)


@group.command("show")
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

    shown = common.as_person(
        lambda app, me: app.approvals.details(me, action, now=clock(), via=VIA, reveal=reveal)
    )
    if common.json:
        output.print_json(details_json(shown))
        return
    print_details(shown)


@group.command("approve")
@takes_selection
def approve(
    common: CommonOptions,
    selection: Selection,
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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask once more.")] = False,
) -> None:
    """Approve requests: each runs once. With --arguments one of them, changed.

    With --always a rule is made of it: this tool as it is now, with exactly these arguments. On a
    terminal you are asked before many are approved, or one that was changed since the agent asked;
    elsewhere many, and what is of high risk, need --yes.
    """
    from rota.domain.text.json_values import json_object

    if (only is not None or lasts is not None) and not always:
        raise InvalidInputError("--only and --for go with --always.")
    if always and (not selection.is_one or arguments is not None):
        raise InvalidInputError("--always is for one request, as it is: name it.")
    if arguments is not None and not selection.is_one:
        raise InvalidInputError("Arguments are for one request: name it.")
    can_ask = output.is_conversation() and not common.json
    consent: Consent = "given" if yes else "ask" if can_ask else "lacking"
    if always:
        decisions.approve_always(common, selection, only, lasts, consent)
    elif arguments is not None:
        changed = json_object(arguments, "The arguments", "arguments")
        decisions.decide(
            common,
            selection,
            "approve",
            arguments=changed,
            consent="given" if can_ask else consent,
        )
    else:
        decisions.decide(common, selection, "approve", consent=consent)


@group.command("refuse", alias="reject")
@takes_selection
def refuse(
    common: CommonOptions,
    selection: Selection,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; the agent reads it.")
    ] = "",
) -> None:
    """Refuse requests: none of them runs. `reject` is the same."""
    decisions.decide(common, selection, "refuse", reason)


@group.command("settle")
def settle(
    common: CommonOptions,
    action: Action,
    outcome: Annotated[
        Literal["happened", "did-not", "again"],
        typer.Argument(help="What you found when you looked."),
    ],
) -> None:
    """Say what became of an action of unknown outcome; `again` runs it once more."""
    from rota.services.approvals.service import Decided

    settlement = cast("Settlement", outcome.replace("-", "_"))
    settled = common.as_person(
        lambda app, me: app.approvals.settle(me, action, settlement, via=VIA)
    )
    decisions.print_outcomes(common, (Decided(settled),))


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
