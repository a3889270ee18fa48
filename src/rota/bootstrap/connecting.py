"""`rota.connect`: opens settings, database and services inside another program, in one call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rota.bootstrap.app import App, Server, application, database_server
from rota.configuration import read_configuration
from rota.settings import Settings, read_settings


@asynccontextmanager
async def connect(
    database_url: str | None = None, *, data_dir: Path | str | None = None, user: str | None = None
) -> AsyncIterator[App]:
    """Open rota's database, for the life of the block; use its services on this event loop.

    What is not given comes from the environment (`ROTA_DATABASE_URL`, `ROTA_DATA_DIR`,
    `ROTA_USER`, ...) and from `rota.toml` and `.env`, as for the commands. Without a database's URL
    the embedded server of `data_dir` is started, or joined. `user` is whom `app.person()` returns:
    an e-mail address or an id. Nothing is fired or executed here: that is what `rota up`, or
    `rota scheduler` and `rota worker`, do.

    Raises InvalidInputError for settings that cannot be meant, UnavailableError for a database that
    does not answer, SetupRequiredError for one whose schema is not up to date.

    >>> async with rota.connect() as app:
    ...     me = await app.person()
    ...     for result in await app.results.latest(me, limit=3):
    ...         print(result.agent_name, result.result_content)
    clerk I asked for a note.
    """
    configuration = read_configuration(os.environ)
    settings = read_settings(
        os.environ,
        files=configuration.variables,
        names=configuration.names,
        data_dir=Path(data_dir) if data_dir is not None else None,
        database_url=database_url,
        user=user,
    )
    async with _served(settings) as server, application(settings, server) as app:
        yield app


@asynccontextmanager
async def _served(settings: Settings) -> AsyncIterator[Server]:
    """Start or join the server in a thread: it may take seconds, and the loop has other work."""
    opened = database_server(settings)
    server = await asyncio.to_thread(opened.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)
