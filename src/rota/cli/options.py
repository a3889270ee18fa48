"""Options that every command takes, and access to the database as a person.

`rota.cli.groups` adds these options to each command, and passes it their values as `CommonOptions`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rota.configuration import (
    Configuration,
    data_dir_in_files,
    misspelt_variables,
    read_configuration,
)
from rota.domain.errors import InvalidInputError
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
    int, typer.Option("--limit", min=1, max=1_000, metavar="N", help="The most that are shown.")
]


@dataclass(frozen=True)
class CommonOptions:
    """The values of the common options: which database, which person, text or JSON."""

    data_dir: Path | None
    database_url: str | None
    user: str | None = None
    json: bool = False

    @cached_property
    def settings(self) -> Settings:
        """Environment and files under what was given on the command line, with its warnings.

        Raises InvalidInputError.
        """
        settings, warnings = self._read()
        for warning in warnings:
            from rota.cli import output  # Rich takes a while to import

            output.warn(warning)
        return settings

    @cached_property
    def settings_of_child(self) -> Settings:
        """The settings without warnings, of a process whose parent has given them."""
        return self._read()[0]

    @cached_property
    def configuration(self) -> Configuration:
        """What the files say; raises InvalidInputError."""
        return read_configuration(os.environ)

    @property
    def folder(self) -> Path:
        """The data directory; a setting that is wrong is said, and does not matter for it."""
        from rota.bootstrap.app import data_dir

        try:
            return data_dir(self.settings)
        except InvalidInputError as error:
            from rota.cli import output

            output.warn(error.message)
        named = os.environ.get("ROTA_DATA_DIR", "").strip()
        folder = self.data_dir or (Path(named) if named else data_dir_in_files(os.environ))
        return data_dir(Settings(data_dir=folder.expanduser() if folder else None))

    def _read(self) -> tuple[Settings, tuple[str, ...]]:
        configuration = self.configuration
        settings = read_settings(
            os.environ,
            files=configuration.variables,
            names=configuration.names,
            data_dir=self.data_dir,
            database_url=self.database_url,
            user=self.user,
        )
        misspelt = tuple(misspelt_variables(os.environ))
        # As if they were exported: the operator's code looks for its keys there.
        os.environ.update(configuration.beneath(os.environ))
        folders = configuration.variables.get("PYTHONPATH", "").split(os.pathsep)
        sys.path += [folder for folder in folders if folder and folder not in sys.path]
        ignored = (
            (
                f"The parameter {parameter} is ignored. Behind a transaction pooler, set "
                "ROTA_DATABASE_PREPARED_STATEMENTS=off."
            )
            for parameter in settings.ignored_parameters
        )
        if self.json:
            settings = replace(settings, log_format="json")
        return settings, (*configuration.warnings, *misspelt, *ignored)

    def as_person(self, work: Callable[[App, UserId], Awaitable[T]]) -> T:
        """Open the database, do work as the person whom the settings name, and close it again.

        Raises UnavailableError and SetupRequiredError where there is no database to work on.
        """
        return self.as_operator(_for_person(work))

    def as_person_with_zone(self, work: Callable[[App, UserId], Awaitable[T]]) -> tuple[str, T]:
        """Do work as `as_person`, and return the person's time zone with what came of it."""

        async def both(app: App, me: UserId) -> tuple[str, T]:
            return await app.schedules.zone(me), await work(app, me)

        return self.as_person(both)

    def as_operator(self, work: Callable[[App], Awaitable[T]]) -> T:
        """Open the database and do work that is nobody's own: whoever can open it is the operator.

        Raises as `as_person`.
        """
        with self.server() as server, _telling_of_unreadable():
            return asyncio.run(_with_app(self.settings, server, work))

    def as_person_or_operator(
        self, work: Callable[[App, UserId | None], Awaitable[T]], *, operator: bool
    ) -> T:
        """Do work as the person, or with `operator` for nobody (None); raises as `as_person`."""
        if operator:
            return self.as_operator(lambda app: work(app, None))
        return self.as_person(work)

    def as_person_between(
        self,
        look: Callable[[App, UserId], Awaitable[S]],
        ask: Callable[[S], None],
        work: Callable[[App, UserId, S], Awaitable[T]],
    ) -> T:
        """Look something up, `ask` about it, and do the work unless that raises; as `as_person`.

        No event loop runs meanwhile: whoever is asked may take their time, or press Ctrl-C.
        """
        with self.server() as server, _telling_of_unreadable():
            seen = asyncio.run(_with_app(self.settings, server, _for_person(look)))
            ask(seen)
            worked = _for_person(lambda app, me: work(app, me, seen))
            return asyncio.run(_with_app(self.settings, server, worked))

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Start or join the server; outside of the event loop: it blocks, Ctrl-C interrupts it."""
        from rota.bootstrap.app import database_server
        from rota.cli.logs import configure_logs

        configure_logs(self.settings)
        with database_server(self.settings, progress=progress) as server:
            yield server


def progress(message: str) -> None:
    """Tell on standard error what takes a while."""
    from rota.cli.output import warn

    warn(message, level="info")


@contextmanager
def _telling_of_unreadable() -> Iterator[None]:
    """Let a person see what can be read of their things, and say what is left out."""
    from rota.cli.output import warn
    from rota.store.unreadable import leaving_out_unreadable

    with leaving_out_unreadable() as left_out:
        try:
            yield
        finally:
            for said in dict.fromkeys(left_out):
                warn(f"Not shown: {said}")


def _for_person(work: Callable[[App, UserId], Awaitable[T]]) -> Callable[[App], Awaitable[T]]:
    async def for_person(app: App) -> T:
        return await work(app, await app.person())

    return for_person


async def _with_app(settings: Settings, server: Server, work: Callable[[App], Awaitable[T]]) -> T:
    from rota.bootstrap.app import application

    async with application(settings, server) as app:
        return await work(app)
