"""`rota connections add gmail`: a Gmail account by an access token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from rota.cli.agents import connect
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.ids import UserId

group = CommandGroup()

_ADVICE: Final = (
    "An access token with the scope https://www.googleapis.com/auth/gmail.readonly, for example "
    "from https://developers.google.com/oauthplayground. It is good for an hour; `rota connections "
    "add imap` with an app password stays connected."
)


@group.command("gmail")
def add(
    common: CommonOptions,
    account: connect.Account = "",
    name: connect.Name = "",
    secret_file: connect.SecretFile = None,
) -> None:
    """Connect a Gmail account by an access token. rota encrypts it, and never shows it."""
    _connect(common, name, account, secret_file)


def reconnect(common: CommonOptions, connection: ConnectionInfo, secret_file: Path | None) -> None:
    """Give a Gmail account a new access token."""
    _connect(common, connection.name, connection.account, secret_file)


def _connect(common: CommonOptions, name: str, account: str, secret_file: Path | None) -> None:
    async def work(app: App, me: UserId) -> tuple[str, list[str]]:
        # Who it is comes first: nobody types a token for a person that is not known.
        await app.connections.free_name(me, "gmail", name)
        if connect.is_typed(secret_file):
            typer.echo(_ADVICE, err=True)
        token = connect.read_secret(secret_file, "Token").strip()
        made = await app.connections.add(me, "gmail", token, name=name, account=account)
        return made, await connect.resumed(app, me, made)

    made, resumed = common.as_person(work)
    told = {"kind": "gmail", "name": made, "account": account}
    connect.print_connected(f"Connected {made}.", told, resumed, as_json=common.json)
