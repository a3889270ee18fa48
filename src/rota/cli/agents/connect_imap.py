"""`rota connections add imap`: a mailbox by IMAP, with a password."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.agents import connect
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.agents.mail_accounts import (
    INBOX,
    SENDING,
    Encryption,
    ImapAccount,
    imap_account,
    provider_of,
)

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.ids import UserId

group = CommandGroup()


@group.command("imap")
def add(
    common: CommonOptions,
    account: connect.Account = "",
    name: connect.Name = "",
    secret_file: connect.SecretFile = None,
    host: Annotated[
        str, typer.Option("--host", help="The mail server; left out for providers that rota knows.")
    ] = "",
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65_535, help="The server's port: 993, or 143 with starttls."
        ),
    ] = None,
    encryption: Annotated[
        Encryption, typer.Option("--encryption", help="How the connection is encrypted.")
    ] = "tls",
    login: Annotated[
        str, typer.Option("--login", help="The name to sign in with, if it is not the address.")
    ] = "",
    folder: Annotated[str, typer.Option("--folder", help="The folder to read.")] = INBOX,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate",
            help="The certificate of the authority to trust, in PEM, for a server of your own.",
        ),
    ] = None,
    smtp_host: Annotated[
        str,
        typer.Option(
            "--smtp-host",
            help="The server that sends mail; left out for providers that rota knows.",
        ),
    ] = "",
    smtp_port: Annotated[
        int | None,
        typer.Option(
            "--smtp-port",
            min=1,
            max=65_535,
            help="The port of that server: 465, or 587 with starttls.",
        ),
    ] = None,
    smtp_encryption: Annotated[
        Encryption | None,
        typer.Option("--smtp-encryption", help="How the connection to that server is encrypted."),
    ] = None,
) -> None:
    """Connect a mailbox by IMAP, with a password for programs.

    rota asks for the password, signs in, and connects the mailbox only if it can be read. The
    password is encrypted, and never shown. Mail is sent by SMTP, with the same password.
    """
    trusted = connect.read_file(certificate) if certificate is not None else ""
    # What is missing is said before a password is typed.
    imap_account(
        account,
        "-",
        host=host,
        user=login,
        smtp_host=smtp_host,
        smtp_port=smtp_port,
        smtp_encryption=smtp_encryption,
    )
    if connect.is_typed(secret_file) and (known := provider_of(account)):
        typer.echo(known.advice, err=True)

    async def work(app: App, me: UserId) -> tuple[str, str, tuple[str, ...], list[str]]:
        made = await app.connections.free_name(me, "imap", name)
        mailbox = imap_account(
            account,
            connect.read_secret(secret_file, "Password"),
            host=host,
            port=port,
            encryption=encryption,
            user=login,
            folder=folder,
            certificate=trusted,
            smtp_host=smtp_host,
            smtp_port=smtp_port,
            smtp_encryption=smtp_encryption,
        )
        with connect.checking(
            "--host, --port and --encryption" if host else "",
            sending="--smtp-host, --smtp-port and --smtp-encryption" if smtp_host else "",
            provider=provider_of(account),
        ):
            found = await app.connections.add_mailbox(
                me, mailbox, name=made, shown=account, has_to_send=bool(smtp_host)
            )
        return made, found, mailbox.scopes, await connect.resumed(app, me, made)

    made, found, may, resumed = common.as_person(work)
    connect.print_connected(
        f"Connected {account or login}: {found}.{_limits(may)}",
        {"kind": "imap", "name": made, "account": account, "found": found, "scopes": may},
        resumed,
        as_json=common.json,
    )


def reconnect(
    common: CommonOptions, connection: ConnectionInfo, new: connect.NewCredentials
) -> None:
    """Give a mailbox a new password; its server, name and folder stay."""
    name = connection.name

    async def work(app: App, me: UserId) -> tuple[str, list[str]]:
        before = ImapAccount.from_secret(await app.connections.open(me, name))
        password = connect.read_secret(new.secret_file, "Password")
        made = imap_account(before.user, password, host=before.host)
        mailbox = replace(before, password=made.password)
        found = await app.connections.add_mailbox(me, mailbox, name=name, shown=connection.account)
        return found, await connect.resumed(app, me, name)

    found, resumed = common.as_person(work)
    connect.print_connected(
        f"Connected again: {found}.",
        {"kind": "imap", "name": name, "account": connection.account, "found": found},
        resumed,
        as_json=common.json,
    )


def _limits(may: tuple[str, ...]) -> str:
    if SENDING in may:
        return ""
    return (
        " It is for reading only. To send mail too, connect it again with --account ADDRESS and "
        "--smtp-host HOST."
    )
