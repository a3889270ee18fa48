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

    from rota.bootstrap import App
    from rota.domain.audit import AuditEntry
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
    tool: Annotated[
        str | None, typer.Option("--tool", metavar="NAME", help="Only of this tool.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Only from this moment on.")
    ] = None,
    limit: Limit = 50,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """List your entries, the newest first."""
    from zoneinfo import ZoneInfo

    from rota.bootstrap import clock
    from rota.cli import output
    from rota.domain.written_time import parse_moment

    async def work(app: App, me: UserId) -> tuple[str, tuple[AuditEntry, ...]]:
        zone = await app.schedules.zone(me)
        start = (
            parse_moment(since, ZoneInfo(zone), now=clock(), field="since", alone="past")
            if since is not None
            else None
        )
        return zone, await app.audit.entries(me, run=run, tool=tool, since=start, limit=limit)

    zone, found = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        output.print_json(found)
        return
    output.table(
        ["ID", "WHEN", "AGENT", "TOOL", "DECISION", "OUTCOME", "BY", "FROM", "DETAIL"],
        [
            (
                entry.id,
                output.when(entry.called, zone) if entry.called else entry.called_at,
                entry.agent_name,
                entry.tool_name,
                entry.decision,
                entry.outcome,
                "you" if entry.actor == str(entry.user_id) else entry.actor,
                entry.origin,
                output.first_line(entry.detail or entry.arguments),
            )
            for entry in found
        ],
        empty="There is no entry.",
    )


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
    from rota.bootstrap import clock
    from rota.cli import output
    from rota.cli.audit_texts import heads_of, print_verification, written

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
    from rota.services.audit import head_line

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
