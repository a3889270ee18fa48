"""What every command takes, and how a command gets at the database as a person."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rota.settings import Settings, read_settings

if TYPE_CHECKING:
    from rota.bootstrap.app import App, Server
    from rota.domain.ids import UserId

S = TypeVar("S")
T = TypeVar("T")

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="The embedded database and rota's own files (ROTA_DATA_DIR).",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="A PostgreSQL server of your own (ROTA_DATABASE_URL).",
    ),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="USER",
        help="The person to act as: an e-mail address or an id (ROTA_USER).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON and nothing else.")]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=1_000, metavar="N", help="How many at most.")
]


def settings_from(
    data_dir: Path | None, database_url: str | None, user: str | None = None
) -> Settings:
    """Read the environment under what was given on the command line; raises InvalidInputError."""
    return read_settings(os.environ, data_dir=data_dir, database_url=database_url, user=user)


def progress(message: str) -> None:
    """Tell on standard error what takes a while."""
    from rota.cli.output import warn

    warn(message)


def as_person(settings: Settings, work: Callable[[App, UserId], Awaitable[T]]) -> T:
    """Open the database, do the work as the person that the settings name, and close it again.

    Raises UnavailableError and SetupRequiredError where there is no database to work on.
    """

    async def as_them(app: App) -> T:
        return await work(app, await app.person())

    return as_operator(settings, as_them)


def as_operator(settings: Settings, work: Callable[[App], Awaitable[T]]) -> T:
    """Open the database and do work that is nobody's own: whoever can open it is the operator.

    Raises as `as_person`.
    """
    from rota.bootstrap.app import database_server
    from rota.cli.logs import configure_logs

    configure_logs(settings)
    # Started outside of the event loop: it blocks, and Ctrl-C has to interrupt it.
    with database_server(settings, progress=progress) as server:
        return asyncio.run(_with_app(settings, server, work))


def as_person_between(
    settings: Settings,
    look: Callable[[App, UserId], Awaitable[S]],
    ask: Callable[[S], None],
    work: Callable[[App, UserId, S], Awaitable[T]],
) -> T:
    """Look something up, `ask` about it, and do the work unless that raises; as `as_person`.

    No event loop runs meanwhile: whoever is asked may take their time, or press Ctrl-C.
    """
    from rota.bootstrap.app import database_server
    from rota.cli.logs import configure_logs

    async def looked(app: App) -> S:
        return await look(app, await app.person())

    configure_logs(settings)
    with database_server(settings, progress=progress) as server:
        seen = asyncio.run(_with_app(settings, server, looked))
        ask(seen)

        async def worked(app: App) -> T:
            return await work(app, await app.person(), seen)

        return asyncio.run(_with_app(settings, server, worked))


async def _with_app(settings: Settings, server: Server, work: Callable[[App], Awaitable[T]]) -> T:
    from rota.bootstrap.app import application

    async with application(settings, server) as app:
        return await work(app)
