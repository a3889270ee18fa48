"""`rota approvals`: lists, shows and decides approval requests."""

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
Action = Annotated[
    str, typer.Argument(metavar="REQUEST", help="The request's id, or the beginning of the id.")
]
UpTo = Annotated[Risk, typer.Option("--up-to", help="Only requests of this risk or lower.")]
OfAgent = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="Only requests of this agent.")
]
OfTool = Annotated[
    str | None, typer.Option("--tool", metavar="NAME", help="Only requests to call this tool.")
]
Actions = Annotated[
    list[str] | None,
    typer.Argument(metavar="REQUEST...", help="Ids of requests, or the beginnings of the ids."),
]
All = Annotated[bool, typer.Option("--all", help="All pending requests.")]
Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="REQUEST",
        help="All pending requests with the same agent and tool as this request.",
    ),
]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        min=1,
        metavar="N",
        help="Only if the request still has this version, as `show` prints it. For one "
        "request only.",
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
        typer.Option(
            "--status",
            help="Only requests with this status, or `all`. Default: pending and unknown.",
        ),
    ] = None,
    agent: OfAgent = None,
    tool: OfTool = None,
    up_to: UpTo = "high",
    grouped: Annotated[
        bool, typer.Option("--grouped", help="Print one line for each group of similar requests.")
    ] = False,
    limit: Limit = 50,
) -> None:
    """List requests that wait for your decision, the riskiest first, similar ones together."""
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
                f"There is no status {status!r}. Use one of {', '.join(ActionStatus)}, or all."
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
            help="Also show values that are [redacted]. The audit log records that you looked.",
        ),
    ] = False,
) -> None:
    """Show a request: the call, its arguments, why it waits, and what happened to it."""
    from rota.bootstrap.app import clock
    from rota.cli.approvals.texts import print_details

    shown = common.as_person(
        lambda app, me: app.approvals.details(me, action, now=clock(), via=VIA, reveal=reveal)
    )
    if common.json:
        from rota.shown.approvals import details_json

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
            "--arguments",
            metavar="JSON",
            help="Approve the call with these arguments instead. Give all of them, as JSON.",
        ),
    ] = None,
    always: Annotated[
        bool,
        typer.Option(
            "--always", help="Also add a rule that lets the same call run without approval."
        ),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="ARG,ARG",
            help="With --always: the rule compares only these arguments. Default: all of them.",
        ),
    ] = None,
    lasts: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="LENGTH", help="With --always: how long the rule lasts (90d)."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Approve requests. Each call runs once.

    On a terminal, rota lists the requests and asks you to confirm if you use --all or --like, or if
    a request was changed after the agent asked. Elsewhere, several requests need --yes, and so does
    any request of high risk.
    """
    from rota.domain.text.json_values import json_object

    if (only is not None or lasts is not None) and not always:
        raise InvalidInputError("--only and --for need --always.")
    if always and (not selection.is_one or arguments is not None):
        raise InvalidInputError("--always needs the id of exactly one request, and no --arguments.")
    if arguments is not None and not selection.is_one:
        raise InvalidInputError("--arguments needs the id of exactly one request.")
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
        str, typer.Option("--reason", metavar="TEXT", help="The reason, which the agent reads.")
    ] = "",
) -> None:
    """Refuse requests. Their calls do not run. `reject` is the same."""
    decisions.decide(common, selection, "refuse", reason)


@group.command("settle")
def settle(
    common: CommonOptions,
    action: Action,
    outcome: Annotated[
        Literal["happened", "did-not", "again"],
        typer.Argument(help="What really happened to the call."),
    ],
) -> None:
    """Record what happened to an action of unknown outcome. `again` runs it once more."""
    from rota.services.approvals.service import Decided

    settlement = cast("Settlement", outcome.replace("-", "_"))
    settled = common.as_person(
        lambda app, me: app.approvals.settle(me, action, settlement, via=VIA)
    )
    decisions.print_outcomes(common, (Decided(settled),))


group.add(
    "policy",
    "rota.cli.approvals.policy",
    "Rules: which calls run, which wait for you, and which are refused.",
)
group.add(
    "deputies",
    "rota.cli.approvals.deputies",
    "Deputies: people who decide if the owner does not decide in time. For the operator.",
)
