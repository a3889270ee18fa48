"""`rota connections add caldav`: the calendars of an account, with a password."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.agents import connect
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.agents.calendar_accounts import CalDavAccount, caldav_account, provider_of

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.ids import UserId

group = CommandGroup()


@group.command("caldav")
def add(
    common: CommonOptions,
    account: connect.Account = "",
    name: connect.Name = "",
    secret_file: connect.SecretFile = None,
    url: Annotated[
        str,
        typer.Option(
            "--url",
            help="The address of the server, or of one calendar; left out for providers that rota "
            "knows.",
        ),
    ] = "",
    login: Annotated[
        str, typer.Option("--login", help="The name to sign in with, if it is not the address.")
    ] = "",
    certificate: connect.Certificate = None,
) -> None:
    """Connect the calendars of an account by CalDAV.

    rota asks for the password, signs in, and connects the account only if its calendars can be
    read. The password is encrypted, and never shown.
    """
    trusted = connect.read_file(certificate) if certificate is not None else ""
    # What is missing is said before a password is typed.
    caldav_account(account, "-", url=url, user=login)
    if connect.is_typed(secret_file) and not url and (known := provider_of(account)):
        typer.echo(known.advice, err=True)

    async def work(app: App, me: UserId) -> tuple[str, str, list[str]]:
        made = await app.connections.free_name(me, "caldav", name)
        opened = caldav_account(
            account,
            connect.read_secret(secret_file, "Password"),
            url=url,
            user=login,
            certificate=trusted,
        )
        with connect.checking(
            "--url" if url else "", provider=None if url else provider_of(account)
        ):
            found = await app.connections.connect(
                me, "caldav", opened.as_secret(), name=made, account=account or login
            )
        return made, found, await connect.resumed(app, me, made)

    made, found, resumed = common.as_person(work)
    connect.print_connected(
        f"Connected {account or login}: {found}.",
        {"kind": "caldav", "name": made, "account": account or login, "found": found},
        resumed,
        as_json=common.json,
    )


def reconnect(
    common: CommonOptions, connection: ConnectionInfo, new: connect.NewCredentials
) -> None:
    """Give the account a new password; its server and name stay."""
    name = connection.name

    async def work(app: App, me: UserId) -> tuple[str, list[str]]:
        before = CalDavAccount.from_secret(await app.connections.open(me, name))
        password = connect.read_secret(new.secret_file, "Password")
        made = caldav_account(connection.account, password, url=before.url, user=before.user)
        opened = replace(before, password=made.password)
        found = await app.connections.connect(
            me, "caldav", opened.as_secret(), name=name, account=connection.account
        )
        return found, await connect.resumed(app, me, name)

    found, resumed = common.as_person(work)
    connect.print_connected(
        f"Connected again: {found}.",
        {"kind": "caldav", "name": name, "account": connection.account, "found": found},
        resumed,
        as_json=common.json,
    )
