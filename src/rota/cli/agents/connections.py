"""`rota connections`: your accounts elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

group = CommandGroup()
Service = Annotated[str, typer.Argument(help="gmail")]


@group.command("add")
def add(
    common: CommonOptions,
    service: Service,
    account: Annotated[
        str, typer.Option("--account", help="The address of the account, shown in lists.")
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", help="Read the token from this file instead of asking for it."
        ),
    ] = None,
) -> None:
    """Connect an account. rota asks for its token, encrypts it, and never shows it again."""
    common.as_person(
        # Who it is comes first: nobody types a token for a person that is not known.
        lambda app, me: app.connections.add(me, service, _token(token_file), account=account)
    )
    told = {"service": service, "account": account}
    output.print_done(f"Connected {service}.", told, as_json=common.json)


@group.command("list")
def list_connections(common: CommonOptions) -> None:
    """List your connections. Their secrets are not shown."""
    zone, found = common.as_person_with_zone(lambda app, me: app.connections.all(me))
    now = datetime.now(UTC)
    output.print_list(
        found,
        {
            "SERVICE": lambda c: c.service,
            "ACCOUNT": lambda c: c.account,
            "SINCE": lambda c: output.listed(c.created_at, zone, now),
            "EXPIRES": lambda c: output.listed(c.expires_at, zone, now),
        },
        zone=zone,
        as_json=common.json,
        empty="Nothing is connected. `rota connections add gmail` connects Gmail.",
    )


@group.command("remove")
def remove(common: CommonOptions, service: Service) -> None:
    """Remove a connection and its secret."""
    common.as_person(lambda app, me: app.connections.remove(me, service))
    output.print_done(f"Removed {service}.", {"service": service}, as_json=common.json)


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{file} cannot be read.") from error
    if sys.stdin.isatty():
        return getpass("Token: ")
    return sys.stdin.readline().strip()
