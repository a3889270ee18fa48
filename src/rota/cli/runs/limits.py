"""`rota limits`: how much may run at a time and be used in a day, set by the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.runs.limits import LimitName, PersonLimits
    from rota.services.runs.limits import LimitsShown

group = CommandGroup()


@group.command("show", person=False, json=True)
def show(common: CommonOptions) -> None:
    """Show the limits that are set, and how many runs are queued or running."""
    found = common.as_operator(lambda app: app.limits.show())
    if common.json:
        output.print_json(found)
        return
    output.table(
        ["WHOSE", "AT A TIME", "UNDER WAY", "TOKENS A DAY", "USD A DAY"], _rows(found), empty=""
    )
    output.say()
    output.say("At a time: runs that are queued or running. An agent's own limit is in its file.")


@group.command("set", person=False)
def set_limits(
    common: CommonOptions,
    person: Annotated[
        str | None,
        typer.Option("--user", metavar="USER", help="For one person: an e-mail address or an id."),
    ] = None,
    everyone: Annotated[
        bool,
        typer.Option("--everyone", help="For each person, where they have no limit of their own."),
    ] = False,
    in_all: Annotated[
        bool,
        typer.Option("--all", help="For all runs of all people together; only --concurrency."),
    ] = False,
    concurrency: Annotated[
        str | None,
        typer.Option("--concurrency", metavar="N", help="Runs queued or running at a time."),
    ] = None,
    day_tokens: Annotated[
        str | None,
        typer.Option("--day-tokens", metavar="N", help="Tokens in a day, input and output."),
    ] = None,
    day_cost: Annotated[
        str | None, typer.Option("--day-cost", metavar="USD", help="US dollars in a day.")
    ] = None,
) -> None:
    """Set limits, for one person, for each person, or for all together; others stay.

    'none' is no limit. 'default', for one person, is what everyone has.
    """
    from rota.services.runs.limits import parse_changes

    if [person is not None, everyone, in_all].count(True) != 1:
        raise InvalidInputError("Say for whom, by one of --user USER, --everyone and --all.")
    changes = parse_changes(concurrency, day_tokens, day_cost)
    if in_all and set(changes) != {"max_concurrency"}:
        raise InvalidInputError("--all has a limit of --concurrency only; a day is a person's.")

    async def work(app: App) -> None:
        if in_all:
            await app.limits.set_in_all(changes["max_concurrency"])
        else:
            await app.limits.set_for(
                await app.named(person) if person is not None else None, changes
            )

    common.as_operator(work)
    output.say("Set. `rota limits show` shows all limits.")


def _rows(found: LimitsShown) -> list[tuple[object, ...]]:
    in_all, everyone = found.in_all, found.everyone
    return [
        ("all together", in_all.max_concurrency or "no limit", in_all.under_way, "", ""),
        ("everyone", *_cells(everyone, "no limit")),
        *((row.email or row.user_id, *_cells(row, "as everyone")) for row in found.persons),
    ]


def _cells(row: PersonLimits, absent: str) -> tuple[object, ...]:
    def cell(name: LimitName, value: object) -> object:
        return "no limit" if name in row.unlimited else absent if value is None else value

    return (
        cell("max_concurrency", row.max_concurrency),
        row.under_way if row.user_id is not None else "",
        cell("day_tokens", row.day_tokens),
        cell("day_cost_usd", row.day_cost_usd),
    )
