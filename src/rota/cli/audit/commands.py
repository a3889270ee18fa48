"""`rota audit`: shows the audit log, and checks that it was not changed later."""

from __future__ import annotations

import json as jsons
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.filters import MOST_COUNTED, empty_list
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.domain.text.zones import zone_shown

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.audit.chain import AuditEntry
    from rota.domain.ids import UserId

group = CommandGroup()
Everybody = Annotated[
    bool,
    typer.Option(
        "--all", help="Use the entries of everybody, as the operator, instead of your own."
    ),
]


@group.command("list")
def list_entries(
    common: CommonOptions,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Only entries of this run: its id, or the beginning of the id.",
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action",
            metavar="ACTION",
            help="Only entries of this request: its id, or the beginning of the id.",
        ),
    ] = None,
    tool: Annotated[
        str | None, typer.Option("--tool", metavar="NAME", help="Only entries of this tool.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help="Only entries since then: 3d, 2026-11-01, 7:00."
        ),
    ] = None,
    limit: Limit = 50,
) -> None:
    """List your entries of the audit log, the newest first."""
    from rota.bootstrap.app import clock
    from rota.cli.audit.texts import print_entries
    from rota.domain.schedules.written_time import parse_since

    async def work(app: App, me: UserId) -> tuple[str, dict[str, str], tuple[AuditEntry, ...], int]:
        zone = await app.schedules.zone(me)
        start = parse_since(since, zone_shown(zone), now=clock(), field="since") if since else None
        names = {str(one): name for one, name in (await app.deputies.list_names(me)).items()}
        found = await app.audit.entries(
            me, run=run, action=action, tool=tool, since=start, limit=limit
        )
        if run and not found:
            await app.runs.get(me, run)  # raises where there is no such run
        others = () if found else await app.audit.entries(me, limit=MOST_COUNTED)
        return zone, names, found, len(others)

    zone, names, found, others = common.as_person(work)
    if common.json:
        from rota.shown.audit import entry_json

        output.print_json([entry_json(entry) for entry in found])
        return
    empty = empty_list(
        "entries",
        others,
        [
            run and f"of the run {run}",
            action and f"of the request {action}",
            tool and f"of the tool {tool}",
            since and f"since {since}",
        ],
        nothing_there="There is no entry.",
    )
    print_entries(found, zone, names, empty)


@group.command("verify")
def verify(
    common: CommonOptions,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="FILE|HEX",
            help="A head that you kept: the chain must still contain it. May be repeated.",
        ),
    ] = None,
    everybody: Everybody = False,
) -> None:
    """Check the audit log. The exit status is 1 if it finds a problem.

    A sealed entry that was changed or removed is one.
    """
    from rota.bootstrap.app import clock
    from rota.cli.audit.texts import heads_of, print_verification

    heads = heads_of(head) if head is not None else ()
    found = common.as_person_or_operator(
        lambda app, whose: app.audit.verify(whose, now=clock(), heads=heads), operator=everybody
    )
    if common.json:
        from rota.shown.audit import verification_json

        output.print_json(verification_json(found))
    else:
        print_verification(found, heads)
    if found.problems:
        raise typer.Exit(1)


@group.command("head")
def show_head(common: CommonOptions, everybody: Everybody = False) -> None:
    """Print the head of the chain as a JSON line. Keep it elsewhere for `verify --head`."""
    from rota.services.audit.service import head_line

    found = common.as_person_or_operator(
        lambda app, whose: app.audit.heads(whose), operator=everybody
    )
    if common.json:
        output.print_json([head_line(one) for one in found])
        return
    for one in found:
        print(jsons.dumps(head_line(one)))
    if not found:
        output.warn("No entry is sealed yet.")


@group.command("export")
def export(common: CommonOptions, everybody: Everybody = False) -> None:
    """Print the chain as JSON lines, and its head last. It can be checked without rota.

    The lines are exactly those that were sealed, with or without --json.
    """

    async def work(app: App, whose: UserId | None) -> None:
        async for line in app.audit.export(whose):
            print(jsons.dumps(line, ensure_ascii=False))

    common.as_person_or_operator(work, operator=everybody)
