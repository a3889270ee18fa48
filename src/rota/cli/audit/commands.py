"""`rota audit`: the record of every call and decision, and whether it is what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rota.cli.options import (
    As,
    DatabaseUrl,
    DataDir,
    Json,
    Limit,
    as_operator,
    as_person,
    settings_from,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rota.bootstrap.app import App
    from rota.domain.audit.chain import AuditEntry
    from rota.domain.ids import UserId
    from rota.settings import Settings

app = typer.Typer(
    help="The audit log: every call and decision, chained so that a change shows.",
    no_args_is_help=True,
)
Everybody = Annotated[
    bool, typer.Option("--all", help="Everybody's, as the operator, instead of your own.")
]

T = TypeVar("T")


@app.command("list")
def list_entries(
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Only of this run, or its beginning.")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action", metavar="ACTION", help="Only of this request, or the beginning of its id."
        ),
    ] = None,
    tool: Annotated[
        str | None, typer.Option("--tool", metavar="NAME", help="Only of this tool.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="Only from then on: 3d, 2026-11-01, 7:00."),
    ] = None,
    limit: Limit = 50,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """List your entries, the newest first."""
    from zoneinfo import ZoneInfo

    from rota.bootstrap.app import clock
    from rota.cli import output
    from rota.cli.audit.entries import as_json, print_entries
    from rota.domain.schedules.written_time import parse_since

    async def work(app: App, me: UserId) -> tuple[str, dict[str, str], tuple[AuditEntry, ...]]:
        zone = await app.schedules.zone(me)
        start = (
            parse_since(since, ZoneInfo(zone), now=clock(), field="since")
            if since is not None
            else None
        )
        names = {str(one.deputy_id): one.deputy_name for one in await app.deputies.of(me)}
        names[str(me)] = "you"
        found = await app.audit.entries(
            me, run=run, action=action, tool=tool, since=start, limit=limit
        )
        return zone, names, found

    zone, names, found = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        output.print_json([as_json(entry) for entry in found])
        return
    print_entries(found, zone, names)


@app.command("verify")
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="FILE|HEX",
            help="Heads that were kept: they have to be there still.",
        ),
    ] = None,
    everybody: Everybody = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Recompute the chain; exit status 1 where anything is not as it was sealed."""
    from rota.bootstrap.app import clock
    from rota.cli import output
    from rota.cli.audit.texts import heads_of, print_verification, written

    heads = heads_of(head) if head is not None else ()
    found = _do(
        settings_from(data_dir, database_url, user),
        lambda app, whose: app.audit.verify(whose, now=clock(), heads=heads),
        everybody=everybody,
    )
    if json:
        output.print_json(written(found))
    else:
        print_verification(found, heads)
    if found.problems:
        raise typer.Exit(1)


@app.command("head")
def show_head(
    everybody: Everybody = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Print the chain's head as a JSON line: kept elsewhere, `verify --head` shows a cut by it."""
    import json as jsons

    from rota.cli import output
    from rota.services.audit.service import head_line

    found = _do(
        settings_from(data_dir, database_url, user),
        lambda app, whose: app.audit.heads(whose),
        everybody=everybody,
    )
    if json:
        output.print_json([head_line(one) for one in found])
        return
    for one in found:
        print(jsons.dumps(head_line(one)))
    if not found:
        output.warn("Nothing is sealed yet.")


@app.command("export")
def export(
    everybody: Everybody = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
) -> None:
    """Print the chain as JSON lines, its head last: to keep, and to check without rota."""
    import json as jsons

    async def work(app: App, whose: UserId | None) -> None:
        async for line in app.audit.export(whose):
            print(jsons.dumps(line, ensure_ascii=False))

    _do(settings_from(data_dir, database_url, user), work, everybody=everybody)


def _do(
    settings: Settings,
    work: Callable[[App, UserId | None], Awaitable[T]],
    *,
    everybody: bool,
) -> T:
    """Do work on one's own chain, or on everybody's."""
    if everybody:
        return as_operator(settings, lambda app: work(app, None))
    return as_person(settings, work)
