"""`rota connections add`: a command for each kind of connection, each in a module of its own.

A kind's module has its command, and `reconnect(common, connection, new)`, which gives a connection
of this kind new credentials. What they share is here.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getpass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.domain.agents.connections import LoginRefusedError
from rota.domain.errors import InvalidInputError, UnavailableError
from rota.services.text_files import read_text_file

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.cli.options import CommonOptions
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.ids import UserId

group = CommandGroup()

_LARGEST_FILE: Final = 1_000_000
_LATER: Final = "Try again later."
"""How the error ends of a server that may answer another time."""

Name = Annotated[
    str,
    typer.Option("--name", help="What you call it; left out: as its kind. For several of a kind."),
]
Account = Annotated[str, typer.Option("--account", help="The address of the account.")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        "--address-file",
        help="Read the password or secret address from this file instead of asking for it.",
    ),
]

ClientFile = Annotated[
    Path | None,
    typer.Option(
        "--client",
        help="Google: the JSON file of your client of the type Desktop app, as the console "
        "downloads it. Left out: the client of another connection, or rota asks.",
    ),
]
Paste = Annotated[
    bool,
    typer.Option(
        "--paste",
        help="Google: your browser is on another machine, and you paste the address of its last "
        "page.",
    ),
]
ServiceAccount = Annotated[
    Path | None,
    typer.Option(
        "--service-account",
        help="Google, for a team: the JSON key of a service account with domain-wide delegation. "
        "It reads as --account.",
    ),
]


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """What a person may give `reconnect`; each kind takes what it needs."""

    secret_file: Path | None = None
    client: Path | None = None
    paste: bool = False
    service_account: Path | None = None


Reconnect = Callable[["CommonOptions", "ConnectionInfo", NewCredentials], None]

_MODULES: Final = {
    "gmail": ("connect_google", "Connect a Gmail account, with a client of your own at Google."),
    "google-calendar": (
        "connect_google",
        "Connect the calendars of a Google account, with a client of your own at Google.",
    ),
    "microsoft": ("connect_microsoft", "Connect a mailbox of Microsoft 365, Outlook or Hotmail."),
    "imap": ("connect_imap", "Connect a mailbox by IMAP, with a password for programs."),
    "ics": ("connect_ics", "Connect a calendar by its secret address (ICS). It is only read."),
    "caldav": ("connect_caldav", "Connect the calendars of an account by CalDAV."),
}
"""Modules by kind, and the first paragraph of their commands' help."""

for _kind, (_module, _help) in _MODULES.items():
    group.add(_kind, f"rota.cli.agents.{_module}", _help)


def reconnect_by(kind: str) -> Reconnect:
    """Return what connects a kind again; raises InvalidInputError for one that it cannot."""
    if kind not in _MODULES:
        raise InvalidInputError(
            f"This rota does not connect {kind!r}. Update it, or remove the connection.",
            field="kind",
        )
    found: Reconnect = import_module(f"rota.cli.agents.{_MODULES[kind][0]}").reconnect
    return found


Certificate = Annotated[
    Path | None,
    typer.Option(
        "--certificate",
        help="The certificate of the authority to trust, in PEM, for a server of your own.",
    ),
]


async def resumed(app: App, me: UserId, name: str) -> list[str]:
    """Resume the schedules that rota paused for want of this connection; return their names."""
    from rota.shown.connections import resume_schedules

    return await resume_schedules(app, me, name)


def print_connected(
    done: str, told: dict[str, Any], resumed: Sequence[str], *, as_json: bool
) -> None:
    """Say what was connected, and which schedules continue for that."""
    more = f" Resumed {', '.join(resumed)}." if resumed else ""
    output.print_done(f"{done}{more}", told | {"resumed": list(resumed)}, as_json=as_json)


def is_typed(file: Path | None) -> bool:
    """Return whether a person types the secret."""
    return file is None and sys.stdin.isatty()


def ask(asked: str, *, is_secret: bool = True) -> str:
    """Return what a person types, a secret unseen; nothing where they end the input (Ctrl-D)."""
    try:
        with _interruptible():
            if is_secret:
                return getpass(f"{asked}: ")
            typer.echo(f"{asked}: ", nl=False, err=True)
            return sys.stdin.readline()
    except EOFError:
        typer.echo("", err=True)
        return ""
    except KeyboardInterrupt:
        typer.echo("", err=True)
        raise


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a question at once: an event loop would wait for the answer first."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def read_secret(file: Path | None, asked: str) -> str:
    """Return a secret of a file, of standard input, or as a person types it, unseen."""
    if is_typed(file):
        return ask(asked)
    text = sys.stdin.readline() if file is None else read_file(file)
    secret = text.strip("\r\n")
    if not secret.strip():
        noun = asked.rsplit(maxsplit=1)[-1].lower()
        why = (
            f"{file} is empty."
            if file is not None
            else f"There is no terminal to ask on: give it with --{noun}-file FILE, or on standard "
            "input."
        )
        raise InvalidInputError(f"No {noun} was given. {why}", field="secret")
    return secret


def read_file(file: Path) -> str:
    """Return a file's text; raises InvalidInputError that says why it cannot be read."""
    return read_text_file(file, most_bytes=_LARGEST_FILE)


@contextmanager
def checking(options: str, *, sending: str = "", provider: object = None) -> Iterator[None]:
    """Where a server does not answer or refuses while it is added, say what may be wrong.

    In a run it may answer later; here a typo is as likely. `options` name the server, `sending`
    that for sending; empty: rota knows it. What a known provider's password is, its refusal says.
    """
    try:
        yield
    except UnavailableError as error:
        named = sending if error.service == "smtp" else options
        said = error.message.removesuffix(_LATER)
        if said == error.message or not named:
            raise
        it = "these options" if named.startswith("-") and " and " in named else "it"
        raise UnavailableError(
            f"{said}Check {named}. If nothing is wrong with {it}, try again later.",
            service=error.service,
        ) from error
    except LoginRefusedError as error:
        if provider is not None:
            raise
        raise LoginRefusedError(
            f"{error.message} Check the password, and --login if you sign in with another name. "
            "Many providers take only an app password, which you make in your account there."
        ) from error
