"""`rota tokens`: API tokens, by which programs call the HTTP API as you."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.identity.scopes import Scope

group = CommandGroup()

_NEVER: Final = "never"


@group.command("create")
def create(
    common: CommonOptions,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What you call it: the program that has it.")
    ],
    scopes: Annotated[
        list[Scope],
        typer.Option("--scope", help="What it may do. Give the option once for each scope."),
    ],
    expires: Annotated[
        str,
        typer.Option("--expires", metavar="LENGTH", help="When it expires: 90d, 12h, or never."),
    ] = "90d",
) -> None:
    """Make a token for a program, and show it this once: rota keeps only its hash.

    read looks at everything of yours. trigger runs, retries and cancels. manage changes agents,
    schedules, connections and settings. decide approves, and writes approval rules.
    """
    from rota.domain.schedules.written_time import parse_duration
    from rota.shown.identity import new_token_json

    lasts = None if expires == _NEVER else parse_duration(expires, field="expires")
    zone, made = common.as_person_with_zone(
        lambda app, me: app.tokens.create(me, name, scopes, lasts=lasts)
    )
    if common.json:
        output.print_json(new_token_json(made))
        return
    until = "never" if made.token.expires_at is None else output.when(made.token.expires_at, zone)
    output.warn(
        f"Token {made.token.name} ({', '.join(made.token.scopes)}); expires: {until}. It is shown "
        "this once. A program that has it can do that as you.",
        level="info",
    )
    output.say(made.secret)


@group.command("list")
def list_tokens(common: CommonOptions) -> None:
    """List your tokens: what each may do, when it expires, and when it was last used."""
    zone, found = common.as_person_with_zone(lambda app, me: app.tokens.all(me))
    if common.json:
        output.print_json(found)
        return
    output.table(
        ["ID", "NAME", "SCOPES", "LAST USED", "EXPIRES"],
        [
            (
                output.short(token.id),
                token.name,
                ", ".join(token.scopes),
                "never" if token.last_used_at is None else output.when(token.last_used_at, zone),
                _NEVER if token.expires_at is None else output.when(token.expires_at, zone),
            )
            for token in found
        ],
        empty="No tokens. `rota tokens create NAME --scope read` makes one.",
    )


@group.command("revoke")
def revoke(
    common: CommonOptions,
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The token: a name, or the beginning of an id.")
    ],
) -> None:
    """Revoke a token: from now on it is worth nothing."""
    gone = common.as_person(lambda app, me: app.tokens.revoke(me, token))
    output.print_done(f"Revoked {gone.name}.", gone, as_json=common.json)
