"""`rota audit`: the record of every call and decision, and whether it is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

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
    from rota.domain.audit import AuditEntry, Head
    from rota.domain.audit_checks import Verification
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

_SHOWN: Final = 20
"""Problems that are printed; --json has all."""


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
                output.when(entry.called, zone),
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
            help="A head that was exported earlier: it has to be there still.",
        ),
    ] = None,
    everybody: Everybody = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Recompute the chain; exit status 1 where anything is not as it was sealed."""
    from rota.cli import output

    heads = _heads(head) if head is not None else ()
    found = _do(
        settings_from(data_dir, database_url, user),
        lambda app, whose: app.audit.verify(whose, heads=heads),
        everybody=everybody,
    )
    if json:
        output.print_json(_written(found))
    else:
        _print(found, heads)
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
    """Print the head of the chain: keep it elsewhere, and `verify --head` shows if it was cut."""
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
    elif everybody:
        for one in found:
            print(jsons.dumps(head_line(one)))
    elif found:
        print(found[0].hash.hex())
    else:
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


def _heads(given: str) -> tuple[Head, ...]:
    """Read a head, or those of a file: hexadecimal, or JSON lines as `head` or `export` write."""
    import json as jsons
    from uuid import UUID

    from rota.domain.audit import NOBODYS, Head
    from rota.domain.audit_checks import bytes_of_hash
    from rota.domain.errors import InvalidInputError

    path = Path(given)
    text = (path.read_text(encoding="utf-8") if path.is_file() else given).strip()
    if not text.startswith(("{", "[")):
        return (Head(NOBODYS, 0, bytes_of_hash(text)),)
    try:
        listed = (
            jsons.loads(text)
            if text.startswith("[")
            else [jsons.loads(line) for line in text.splitlines()]
        )
        heads = tuple(
            Head(UUID(one["chain"]), int(one["seq"]), bytes_of_hash(one["hash"]))
            for one in listed
            if one["type"] == "head"
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{given} holds no head as `rota audit head` writes it.") from error
    if not heads:
        raise InvalidInputError(f"{given} holds no head.")
    return heads


def _print(found: Verification, heads: tuple[Head, ...]) -> None:
    from rota.cli import output

    for problem in found.problems[:_SHOWN]:
        output.say(problem.in_words())
    if len(found.problems) > _SHOWN:
        output.say(f"... and {len(found.problems) - _SHOWN} more; --json has all.")

    def total(name: str) -> int:
        return sum(getattr(chain, name) for chain in found.chains)

    chains = sum(1 for chain in found.chains if chain.blocks or chain.pruned)
    kept = (("entries", total("entries")), ("blocks", total("blocks")), ("chains", chains))
    said = [", ".join(f"{name}: {count}" for name, count in kept)]
    if total("pruned"):
        said.append(f"{total('pruned')} entries were pruned, as a signed checkpoint says")
    if total("blanked"):
        said.append(f"{total('blanked')} belonged to people who were deleted, and are blank")
    late = sum(len(chain.late) for chain in found.chains)
    if late:
        said.append(f"{late} were sealed an hour or more after the time that they give")
    if total("unsealed"):
        said.append(f"{total('unsealed')} are not sealed yet")
    output.say("; ".join(said) + ".")
    if found.problems:
        count = len(found.problems)
        output.say(f"NOT in order: {count} problem{'' if count == 1 else 's'}.", style="bold red")
    elif heads:
        output.say("In order, and the head is there.", style="green")
    else:
        output.say(
            "In order. Without --head, a chain that was cut or rewritten whole looks so too."
        )


def _written(found: Verification) -> dict[str, object]:
    from dataclasses import asdict

    from rota.services.audit import head_line

    return {
        "problems": [asdict(problem) for problem in found.problems],
        "chains": [
            {
                "head": head_line(chain.head),
                "blocks": chain.blocks,
                "entries": chain.entries,
                "pruned": chain.pruned,
                "blanked": chain.blanked,
                "late": list(chain.late),
                "unsealed": chain.unsealed,
            }
            for chain in found.chains
        ],
    }
