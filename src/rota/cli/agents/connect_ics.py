"""`rota connections add ics`: a calendar by its secret address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rota.cli.agents import connect
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.agents.calendar_accounts import CalendarFeed, calendar_feed
from rota.domain.agents.mail_accounts import check_address

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.ids import UserId

group = CommandGroup()

_ASKED = "Secret address"
_ADVICE = (
    "The calendar's secret address, in iCal format. In Google Calendar: Settings, the calendar's "
    "name, Integrate calendar."
)


@group.command("ics")
def add(
    common: CommonOptions,
    name: connect.Name = "",
    account: connect.Account = "",
    secret_file: connect.SecretFile = None,
    certificate: connect.Certificate = None,
) -> None:
    """Connect a calendar by its secret address (ICS). It is only read.

    rota asks for the address, reads the calendar, and connects it only if that works. The address
    is encrypted, and never shown. With --account, your address, rota sees which invitations you
    declined.
    """
    if account:
        check_address(account)
    trusted = connect.read_file(certificate) if certificate is not None else ""

    async def work(app: App, me: UserId) -> tuple[str, str, str, list[str]]:
        made = await app.connections.free_name(me, "ics", name)
        if connect.is_typed(secret_file):
            typer.echo(_ADVICE, err=True)
        feed = calendar_feed(connect.read_secret(secret_file, _ASKED), certificate=trusted)
        shown = account or feed.host
        with connect.checking("the address"):
            found = await app.connections.connect(
                me, "ics", feed.as_secret(), name=made, account=shown
            )
        return made, shown, found, await connect.resumed(app, me, made)

    made, shown, found, resumed = common.as_person(work)
    connect.print_connected(
        f"Connected {made}: {found}.",
        {"kind": "ics", "name": made, "account": shown, "found": found},
        resumed,
        as_json=common.json,
    )


def reconnect(
    common: CommonOptions, connection: ConnectionInfo, new: connect.NewCredentials
) -> None:
    """Give a calendar a new secret address."""
    name = connection.name

    async def work(app: App, me: UserId) -> tuple[str, list[str]]:
        before = CalendarFeed.from_secret(await app.connections.open(me, name))
        address = connect.read_secret(new.secret_file, _ASKED)
        feed = calendar_feed(address, certificate=before.certificate)
        shown = feed.host if connection.account == before.host else connection.account
        found = await app.connections.connect(me, "ics", feed.as_secret(), name=name, account=shown)
        return found, await connect.resumed(app, me, name)

    found, resumed = common.as_person(work)
    connect.print_connected(
        f"Connected again: {found}.",
        {"kind": "ics", "name": name, "account": connection.account, "found": found},
        resumed,
        as_json=common.json,
    )
