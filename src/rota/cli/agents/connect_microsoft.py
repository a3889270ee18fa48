"""`rota connections add microsoft`: a mailbox of Microsoft 365 or Outlook, by a device code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.agents import connect, consent
from rota.cli.agents.connect_google import print_granted
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.agents.mail_accounts import INBOX, ImapAccount, microsoft_account

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.ids import UserId
    from rota.services.agents.grants import Connected

group = CommandGroup()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a person asked for."""

    mailbox: ImapAccount
    name: str
    client_id: str
    tenant: str
    to_act: bool


@group.command("microsoft")
def add(
    common: CommonOptions,
    account: connect.Account = "",
    name: connect.Name = "",
    client_id: Annotated[
        str,
        typer.Option(
            "--client-id",
            help="The application (client) id of your app at Microsoft. Left out: that of another "
            "connection.",
        ),
    ] = "",
    tenant: Annotated[
        str,
        typer.Option(
            "--tenant",
            help="The directory of the account: its id or domain, or common, organizations or "
            "consumers; left out: common.",
        ),
    ] = "",
    send: Annotated[
        bool, typer.Option("--send", help="Agents may send mail too, not only read it.")
    ] = False,
    folder: Annotated[str, typer.Option("--folder", help="The folder to read.")] = INBOX,
    host: Annotated[
        str, typer.Option("--host", help="Another IMAP server, as national clouds have.")
    ] = "",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65_535, help="The port of the IMAP server.")
    ] = 993,
    smtp_host: Annotated[
        str, typer.Option("--smtp-host", help="Another server that sends mail.")
    ] = "",
    smtp_port: Annotated[
        int,
        typer.Option("--smtp-port", min=1, max=65_535, help="The port of the server that sends."),
    ] = 587,
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", help="The certificate of the authority to trust, in PEM."),
    ] = None,
) -> None:
    """Connect a mailbox of Microsoft 365, Outlook or Hotmail.

    rota shows a code. You enter it on a page of Microsoft's, on any machine, and sign in
    there. What Microsoft gives for that is encrypted, and renewed without you.
    """
    mailbox = replace(
        microsoft_account(account, host=host, smtp_host=smtp_host),
        port=port,
        folder=folder,
        smtp_port=smtp_port,
        certificate=connect.read_file(certificate) if certificate is not None else "",
    )
    _add(common, _Wanted(mailbox, name, client_id, tenant, send))


def reconnect(
    common: CommonOptions, connection: ConnectionInfo, _new: connect.NewCredentials
) -> None:
    """Sign in anew; server, account, folder and scopes stay."""
    # httpx and Authlib, for those commands only that need them.
    from rota.domain.agents.grants import Grant
    from rota.services.agents.grants import may_act

    secret = common.as_person(lambda app, me: app.connections.open(me, connection.name))
    before = Grant.from_secret(secret)
    wanted = _Wanted(
        ImapAccount.from_secret(before.mailbox),
        connection.name,
        before.client_id,
        before.tenant,
        to_act=may_act(connection),
    )
    _add(common, wanted, again=True)


def _add(common: CommonOptions, wanted: _Wanted, *, again: bool = False) -> None:
    # As above.
    from rota.agents.tools.oauth.clients import microsoft_client

    async def work(app: App, me: UserId) -> tuple[Connected, list[str]]:
        await app.connections.free_name(me, "microsoft", wanted.name)
        known = await app.grants.known_client(me, "microsoft")
        client = microsoft_client(wanted.client_id, wanted.tenant, known)
        async with app.grants.issuer() as issuer:
            device = await issuer.device("microsoft", client, to_act=wanted.to_act)
            consent.say_code(device.page, device.user_code)
            grant = await issuer.wait_for(device)
        made = await app.grants.connect(
            me,
            "microsoft",
            grant,
            name=wanted.name,
            to_act=wanted.to_act,
            mailbox=wanted.mailbox,
        )
        return made, await connect.resumed(app, me, made.name)

    made, resumed = common.as_person(work)
    print_granted(common, "microsoft", made, resumed, again=again)
