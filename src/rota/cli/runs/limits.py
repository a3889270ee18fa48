"""`rota limits`: the operator sets limits and quotas: runs at a time, use in a day, rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.runs.limits import LimitName, PersonLimits, Quotas
    from rota.services.runs.limits import LimitsShown

group = CommandGroup()


@group.command("show", person=False)
def show(common: CommonOptions) -> None:
    """Show the limits, and how many runs are queued or running."""
    found = common.as_operator(lambda app: app.limits.show())
    if common.json:
        output.print_json(found)
        return
    output.table(
        ["WHOSE", "AT A TIME", "UNDER WAY", "TOKENS A DAY", "USD A DAY"], _rows(found), empty=""
    )
    output.say()
    output.say(
        "AT A TIME counts runs that are queued or running. The limit of an agent is in its file."
    )
    output.say()
    output.table(
        ["WHOSE", "SCHEDULES", "INTERVAL", "WAITING", "RULES", "BYTES OF RULES", "NOTIFICATIONS"],
        _quota_rows(found),
        empty="",
    )
    output.say()
    output.say("INTERVAL is the shortest time between two fire times of a schedule, in seconds.")


@group.command("set", person=False)
def set_limits(
    common: CommonOptions,
    person: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="USER", help="Set limits of one person: an e-mail address or an id."
        ),
    ] = None,
    everyone: Annotated[
        bool,
        typer.Option("--everyone", help="Set limits of each person who has no limit of their own."),
    ] = False,
    in_all: Annotated[
        bool,
        typer.Option(
            "--all", help="Set the limit of all people together. Only with --concurrency."
        ),
    ] = False,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            metavar="N",
            help="The most runs that are queued or running at the same time.",
        ),
    ] = None,
    day_tokens: Annotated[
        str | None,
        typer.Option(
            "--day-tokens", metavar="N", help="The most tokens a day, input and output together."
        ),
    ] = None,
    day_cost: Annotated[
        str | None, typer.Option("--day-cost", metavar="USD", help="The most US dollars a day.")
    ] = None,
    schedules: Annotated[
        str | None, typer.Option("--schedules", metavar="N", help="Schedules (200).")
    ] = None,
    shortest_interval: Annotated[
        str | None,
        typer.Option(
            "--shortest-interval",
            metavar="SECONDS",
            help="The shortest time between two fire times of a schedule (10).",
        ),
    ] = None,
    waiting_runs: Annotated[
        str | None,
        typer.Option(
            "--waiting-runs", metavar="N", help="The most runs that wait at the same time (1,000)."
        ),
    ] = None,
    rules: Annotated[
        str | None, typer.Option("--rules", metavar="N", help="The most approval rules (500).")
    ] = None,
    rule_bytes: Annotated[
        str | None,
        typer.Option(
            "--rule-bytes",
            metavar="N",
            help="The most bytes of all approval rules together (1,000,000).",
        ),
    ] = None,
    notifications: Annotated[
        str | None,
        typer.Option(
            "--notifications",
            metavar="N",
            help="How many notifications are kept, the latest ones (10,000).",
        ),
    ] = None,
) -> None:
    """Set limits for one person, for each person, or for all together.

    Limits that you do not name stay as they are. 'none' means no limit. With --user, 'default'
    means the limit that everyone has. With --everyone, it means the number in brackets.
    """
    from rota.services.runs.limits import parse_changes

    if [person is not None, everyone, in_all].count(True) != 1:
        raise InvalidInputError(
            "Say whose limits to set: use one of --user USER, --everyone and --all."
        )
    changes = parse_changes(
        concurrency,
        day_tokens,
        day_cost,
        {
            "max_schedules": schedules,
            "min_interval_seconds": shortest_interval,
            "max_waiting_runs": waiting_runs,
            "max_rules": rules,
            "max_rule_bytes": rule_bytes,
            "max_notifications": notifications,
        },
    )
    if in_all and set(changes) != {"max_concurrency"}:
        raise InvalidInputError(
            "--all can only be combined with --concurrency. Other limits belong to one person each."
        )

    async def work(app: App) -> LimitsShown:
        if in_all:
            await app.limits.set_in_all(changes["max_concurrency"])
        else:
            await app.limits.set_for(
                await app.named(person) if person is not None else None, changes
            )
        return await app.limits.show()

    done = "Set. `rota limits show` shows all limits."
    output.print_done(done, common.as_operator(work), as_json=common.json)


def _rows(found: LimitsShown) -> list[tuple[object, ...]]:
    in_all, everyone = found.in_all, found.everyone
    return [
        ("all together", in_all.max_concurrency or "no limit", in_all.under_way, "", ""),
        ("everyone", *_cells(everyone, "no limit")),
        *((row.email or row.user_id, *_cells(row, "as everyone")) for row in found.persons),
    ]


def _quota_rows(found: LimitsShown) -> list[tuple[object, ...]]:
    from rota.services.runs.limits import QUOTA_OPTIONS

    def cells(quotas: Quotas, unlimited: Sequence[LimitName], absent: str) -> list[object]:
        values = {name: getattr(quotas, name) for name in QUOTA_OPTIONS}
        return [
            "no limit" if name in unlimited else absent if value is None else value
            for name, value in values.items()
        ]

    return [
        ("everyone", *cells(found.quotas, (), "no limit")),
        *(
            (row.email or row.user_id, *cells(row.quotas, row.unlimited, "as everyone"))
            for row in found.persons
        ),
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
