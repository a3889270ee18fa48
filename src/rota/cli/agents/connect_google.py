"""`rota connections add gmail` and `add google-calendar`: Google by OAuth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.agents import connect, consent
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.agents.grants import Grant
    from rota.domain.ids import UserId
    from rota.services.agents.grants import Connected

group = CommandGroup()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a person asked for."""

    kind: str
    account: str = ""
    name: str = ""
    to_act: bool = False
    client: Path | None = None
    paste: bool = False
    service_account: Path | None = None


@group.command("gmail")
def add_gmail(
    common: CommonOptions,
    account: connect.Account = "",
    name: connect.Name = "",
    send: Annotated[
        bool, typer.Option("--send", help="Agents may draft and send mail too, not only read it.")
    ] = False,
    client: connect.ClientFile = None,
    paste: connect.Paste = False,
    service_account: connect.ServiceAccount = None,
) -> None:
    """Connect a Gmail account, with a client of your own at Google.

    You consent in a browser. What Google gives for that is encrypted, and renewed without you.
    """
    _add(common, _Wanted("gmail", account, name, send, client, paste, service_account))


@group.command("google-calendar")
def add_calendar(
    common: CommonOptions,
    account: connect.Account = "",
    name: connect.Name = "",
    write: Annotated[
        bool, typer.Option("--write", help="Agents may add events too, not only read them.")
    ] = False,
    client: connect.ClientFile = None,
    paste: connect.Paste = False,
    service_account: connect.ServiceAccount = None,
) -> None:
    """Connect the calendars of a Google account, with a client of your own at Google.

    You consent in a browser. What Google gives for that is encrypted, and renewed without you.
    """
    _add(common, _Wanted("google-calendar", account, name, write, client, paste, service_account))


def reconnect(
    common: CommonOptions, connection: ConnectionInfo, new: connect.NewCredentials
) -> None:
    """Consent anew, or give a service account a new key; account and scopes stay."""
    from rota.services.agents.grants import may_act

    wanted = _Wanted(
        connection.kind,
        connection.account,
        connection.name,
        to_act=may_act(connection),
        client=new.client,
        paste=new.paste,
        service_account=new.service_account,
    )
    _add(common, wanted, again=True)


def _add(common: CommonOptions, wanted: _Wanted, *, again: bool = False) -> None:
    if wanted.service_account is not None and "@" not in wanted.account:
        raise InvalidInputError(
            "Name whose account the service account reads: --account sam@team.example.",
            field="account",
        )

    async def work(app: App, me: UserId) -> tuple[Connected, list[str]]:
        name = await app.connections.free_name(me, wanted.kind, wanted.name)
        grant = await _grant(
            app, me, wanted, before=await app.grants.of(me, name) if again else None
        )
        made = await app.grants.connect(
            me,
            wanted.kind,
            grant,
            name=name,
            account=wanted.account,
            to_act=wanted.to_act,
        )
        return made, await connect.resumed(app, me, made.name)

    made, resumed = common.as_person(work)
    print_granted(common, wanted.kind, made, resumed, again=again)


async def _grant(app: App, me: UserId, wanted: _Wanted, *, before: Grant | None) -> Grant:
    key = ""
    if wanted.service_account is not None:
        key = connect.read_file(wanted.service_account)
    elif before is not None and wanted.client is None:
        key = before.service_account
    async with app.grants.issuer() as issuer:
        if key:
            return await issuer.service_account(
                wanted.kind, key, wanted.account, to_act=wanted.to_act
            )
        known = await app.grants.known_client(me, wanted.kind, name=wanted.name)
        return await consent.google_grant(
            issuer,
            wanted.kind,
            consent.google_client(wanted.client, known),
            to_act=wanted.to_act,
            account=wanted.account,
            paste=wanted.paste,
        )


def print_granted(
    common: CommonOptions,
    kind: str,
    made: Connected,
    resumed: Sequence[str],
    *,
    again: bool,
) -> None:
    """Say what was connected, and what was wanted and not granted."""
    done = f"Connected {made.account}{' again' if again else ''}: {made.found}."
    if made.lacks:
        done += (
            f" You did not allow {made.lacks}, so agents can read only. To allow it, connect it "
            "again the same way."
        )
    if made.ends_at is not None:
        said = f"This connection ends on {made.ends_at:%Y-%m-%d}. {made.warning}"
        typer.echo(said.strip(), err=True)
    told = {
        "kind": kind,
        "name": made.name,
        "account": made.account,
        "found": made.found,
        "lacks": made.lacks,
        "expires_at": made.ends_at,
    }
    connect.print_connected(done, told, resumed, as_json=common.json)
