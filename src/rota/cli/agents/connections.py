"""`rota connections`: a person's connections to accounts, such as Gmail."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.agents.mail_accounts import INBOX, Encryption, imap_account, provider_of
from rota.domain.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId

group = CommandGroup()

_GMAIL_ADVICE: Final = (
    "An access token with the scope https://www.googleapis.com/auth/gmail.readonly, for example "
    "from https://developers.google.com/oauthplayground. It is good for an hour; `rota connections "
    "add imap` with an app password stays connected."
)
Kind = Annotated[str, typer.Argument(help="gmail, or imap for another mailbox.")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        "--password-file",
        help="Read the token or password from this file instead of asking for it.",
    ),
]


_ONLY_RUNS_TRY: Final = (
    "The {kind} token is tried when a run uses it (`rota run AGENT`). A new one: "
    "`rota connections add {kind}`."
)


@group.command("add")
def add(
    common: CommonOptions,
    kind: Kind,
    account: Annotated[str, typer.Option("--account", help="The address of the account.")] = "",
    secret_file: SecretFile = None,
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
) -> None:
    """Connect an account. rota asks for its token or password, encrypts it, and never shows it."""
    told: dict[str, str | int] = {"service": kind, "account": account}
    if kind != "imap":

        async def connect_by_token(app: App, me: UserId) -> list[str]:
            # Who it is comes first: nobody types a token for a person that is not known.
            if kind == "gmail" and _is_typed(secret_file):
                typer.echo(_GMAIL_ADVICE, err=True)
            token = _secret(secret_file, "Token").strip()
            await app.connections.add(me, kind, token, account=account)
            return await _resumed(app, me, kind)

        _print(f"Connected {kind}.", told, common.as_person(connect_by_token), as_json=common.json)
        return
    trusted = _read(certificate) if certificate is not None else ""
    # What is missing is said before a password is typed.
    imap_account(account, "-", host=host, user=login)
    if _is_typed(secret_file) and (known := provider_of(account)):
        typer.echo(known.advice, err=True)

    async def connect(app: App, me: UserId) -> tuple[int, list[str]]:
        mailbox = imap_account(
            account,
            _secret(secret_file, "Password"),
            host=host,
            port=port,
            encryption=encryption,
            user=login,
            folder=folder,
            certificate=trusted,
        )
        count = await app.connections.add_mailbox(me, mailbox, shown=account)
        return count, await _resumed(app, me, kind)

    found, resumed = common.as_person(connect)
    done = f"Connected {account or login}: {_messages(found)}."
    _print(done, told | {"messages": found}, resumed, as_json=common.json)


@group.command("list")
def list_connections(common: CommonOptions) -> None:
    """List your connections and their states. Their secrets are not shown."""
    zone, found = common.as_person_with_zone(lambda app, me: app.connections.all(me))
    now = datetime.now(UTC)
    output.print_list(
        found,
        {
            "KIND": lambda c: c.service,
            "ACCOUNT": lambda c: c.account,
            "STATE": lambda c: c.state_at(now),
            "USED": lambda c: output.listed(c.last_used_at, zone, now),
            "CHECKED": lambda c: output.listed(c.last_checked_at, zone, now),
            "EXPIRES": lambda c: output.listed(c.expires_at, zone, now),
            "WHAT IS WRONG": lambda c: c.problem,
        },
        zone=zone,
        as_json=common.json,
        empty="Nothing is connected. `rota connections add imap --account ADDRESS` connects a "
        "mailbox, `rota connections add gmail` Gmail.",
    )


@group.command("check")
def check(common: CommonOptions, kind: Kind = "imap") -> None:
    """Sign in to a connected mailbox, and say how that went."""
    if kind != "imap":
        raise InvalidInputError(_ONLY_RUNS_TRY.format(kind=kind), field="kind")

    async def look(app: App, me: UserId) -> tuple[int, list[str]]:
        connected = [c.service for c in await app.connections.all(me)]
        if "imap" not in connected:
            others = "".join(f" {_ONLY_RUNS_TRY.format(kind=one)}" for one in connected)
            raise NotFoundError(
                "connection",
                kind,
                hint="Connect a mailbox with `rota connections add imap --account ADDRESS`."
                f"{others}",
            )
        return await app.connections.check(me), await _resumed(app, me, kind)

    found, resumed = common.as_person(look)
    done = f"The mailbox can be read: {_messages(found)}."
    _print(done, {"service": kind, "messages": found}, resumed, as_json=common.json)


@group.command("reconnect")
def reconnect(common: CommonOptions, kind: Kind, secret_file: SecretFile = None) -> None:
    """Give a connected mailbox a new password; its server, name and folder stay."""
    _only_imap(kind)

    async def connect(app: App, me: UserId) -> tuple[int, list[str]]:
        from rota.services.agents.connections import not_connected

        before = await app.connections.mailbox(me)
        if before is None:
            raise not_connected(kind)
        made = imap_account(before.user, _secret(secret_file, "Password"), host=before.host)
        shown = {c.service: c.account for c in await app.connections.all(me)}[kind]
        mailbox = replace(before, password=made.password)
        count = await app.connections.add_mailbox(me, mailbox, shown=shown)
        return count, await _resumed(app, me, kind)

    found, resumed = common.as_person(connect)
    done = f"Connected again: {_messages(found)}."
    _print(done, {"service": kind, "messages": found}, resumed, as_json=common.json)


@group.command("remove")
def remove(common: CommonOptions, kind: Kind) -> None:
    """Remove a connection and its secret."""
    common.as_person(lambda app, me: app.connections.remove(me, kind))
    output.print_done(f"Removed {kind}.", {"service": kind}, as_json=common.json)


async def _resumed(app: App, me: UserId, kind: str) -> list[str]:
    """Resume the schedules that rota paused for want of a connection; return their names."""
    found = await app.schedules.resume_after_setup(me, f"connection:{kind}")
    return [schedule.name for schedule in found]


def _print(done: str, told: dict[str, str | int], resumed: Sequence[str], *, as_json: bool) -> None:
    more = f" Resumed {', '.join(resumed)}." if resumed else ""
    output.print_done(f"{done}{more}", told | {"resumed": list(resumed)}, as_json=as_json)


def _only_imap(kind: str) -> None:
    if kind != "imap":
        raise InvalidInputError(
            f"A connection of the kind {kind!r} has no password to try. For Gmail, give it a new "
            "token with `rota connections add gmail`.",
            field="kind",
        )


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


def _is_typed(file: Path | None) -> bool:
    return file is None and sys.stdin.isatty()


def _secret(file: Path | None, asked: str) -> str:
    if file is not None:
        return _read(file).strip("\r\n")
    if _is_typed(file):
        return getpass(f"{asked}: ")
    return sys.stdin.readline().strip("\r\n")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{file} cannot be read.") from error
