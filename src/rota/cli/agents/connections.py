"""`rota connections`: a person's connections to accounts, such as a mailbox or a calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.agents import connect
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import NotFoundError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId

group = CommandGroup()
group.add(
    "add",
    "rota.cli.agents.connect",
    "Connect an account. rota encrypts its token or password, and never shows it.",
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Which one: its name in `rota connections list`.")
]


_NOTHING: Final = (
    "Nothing is connected. `rota connections add imap --account ADDRESS` connects a mailbox, "
    "`rota connections add gmail` Gmail, `rota connections add microsoft` one of Microsoft 365. "
    "`rota connections add ics` connects a calendar by its secret address, `rota connections add "
    "google-calendar` or `caldav` all those of an account."
)


class _NothingConnectedError(NotFoundError):
    """There is no connection at all."""

    def __init__(self) -> None:
        super().__init__("connection", "any")
        self.message = _NOTHING


@group.command("list")
def list_connections(common: CommonOptions) -> None:
    """List your connections, what they may do and their states. Their secrets are not shown."""
    from rota.services.agents.connection_words import allowed_in_words

    zone, found = common.as_person_with_zone(lambda app, me: app.connections.all(me))
    now = datetime.now(UTC)
    if common.json:
        from rota.shown.connections import connection_json

        output.print_json([connection_json(one, now) for one in found])
        return
    output.print_list(
        found,
        {
            "NAME": lambda c: c.name,
            "KIND": lambda c: c.kind,
            "ACCOUNT": lambda c: c.account,
            "MAY": allowed_in_words,
            "STATE": lambda c: c.state_at(now),
            "USED": lambda c: output.listed(c.last_used_at, zone, now),
            "CHECKED": lambda c: output.listed(c.last_checked_at, zone, now),
            "ENDS": lambda c: output.listed(c.expires_at, zone, now),
            "WHAT IS WRONG": lambda c: c.problem,
        },
        zone=zone,
        as_json=False,
        empty=_NOTHING,
    )


@group.command("check")
def check(
    common: CommonOptions,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Which one; left out: all of yours.")
    ] = "",
) -> None:
    """Try your connections now, and say how that went. It fails as the worst of them does."""
    from rota.shown.connections import ConnectionCheck, checked_json, try_connection

    async def work(app: App, me: UserId) -> list[ConnectionCheck]:
        names = [name] if name else [one.name for one in await app.connections.all(me)]
        if not names:
            raise _NothingConnectedError
        return [await try_connection(app, me, one) for one in names]

    checked = common.as_person(work)
    failed = [one.error for one in checked if one.error is not None]
    if name and failed:
        raise failed[0]
    if common.json:
        output.print_json([checked_json(one) for one in checked])
    else:
        for one in checked:
            said = one.error.message if one.error else f"ok, {one.found}."
            more = f" Resumed {', '.join(one.resumed)}." if one.resumed else ""
            output.say(f"{one.name}: {said}{more}")
    if failed:
        raise typer.Exit(max(error.exit_code for error in failed))


@group.command("reconnect")
def reconnect(
    common: CommonOptions,
    name: Name,
    secret_file: connect.SecretFile = None,
    client: connect.ClientFile = None,
    paste: connect.Paste = False,
    service_account: connect.ServiceAccount = None,
) -> None:
    """Give a connection new credentials; all else of it stays, and its schedules continue."""
    new = connect.NewCredentials(secret_file, client, paste, service_account)
    connection = common.as_person(lambda app, me: app.connections.get(me, name))
    connect.reconnect_by(connection.kind)(common, connection, new)


@group.command("remove")
def remove(common: CommonOptions, name: Name) -> None:
    """Remove a connection and its secret. A grant of OAuth is revoked at its provider."""
    removed = common.as_person(lambda app, me: app.connection_removal.remove(me, name))
    more = " Its grant was revoked at the provider." if removed.is_revoked else f" {removed.left}"
    output.print_done(f"Removed {name}.{more.rstrip()}", removed, as_json=common.json)
