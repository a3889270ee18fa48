"""Runs scheduler, worker and server as child processes of `rota up`, and restarts one that ends.

A child stops when its standard input closes, so it ends with its parent, even after a crash. A
child is not restarted if it ended because a person must set something up first. Then all end,
unless it is the server: schedules do not need it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Final

import structlog

from rota.bootstrap.app import data_dir
from rota.cli.exit_codes import TO_MEND
from rota.domain.operations.processes import Kind
from rota.services.operations.chores import first_of
from rota.settings import Settings

LONGEST_PAUSE: Final = 30.0
"""Seconds before a child is started again, at most: one, two, four and so on."""

_COMMANDS: Final[Mapping[Kind, str]] = {"server": "serve"}
"""What starts a kind of process, where that has another name."""

_HEALTHY_AFTER: Final = 60.0
"""Seconds that a child has to live for the pauses to begin anew."""

_STOPPED_WITHIN: Final = 15.0
"""Seconds that a child has to stop: a worker hands over what is under way in five."""

log = structlog.get_logger(__name__)


async def keep_running(
    kind: Kind,
    settings: Settings,
    stop: asyncio.Event,
    *,
    pids: MutableMapping[Kind, int],
    output: int | None = None,
    listening: socket.socket | None = None,
) -> int:
    """Run a process of this kind until `stop` is set, which is set where it may not be.

    `pids` is told the process; `output` is a descriptor for what it writes, else it is ours. A
    server is given what it serves on, `listening`: so its address stays while it is started again.
    Returns its exit code where a person has to set something right, else 0.
    """
    failures = 0
    passed_on = () if listening is None else (listening.fileno(),)
    while not stop.is_set():
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rota", _COMMANDS.get(kind, kind), "--until-stdin-ends"),
            *_directory(settings),
            *(word for number in passed_on for word in ("--descriptor", str(number))),
            pass_fds=passed_on,
            env=_environment(settings),
            stdin=PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # only the parent handles Ctrl-C
        )
        pids[kind] = process.pid
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            await _stop(process, ended)
            return 0
        code = ended.result()
        if code in TO_MEND:
            del pids[kind]
            if kind == "server":
                log.error("server_left_out", exit_code=code)
                return 0
            stop.set()
            return code
        failures = 1 if time.monotonic() - started > _HEALTHY_AFTER else failures + 1
        pause = min(2.0 ** min(failures - 1, 30), LONGEST_PAUSE)
        log.error("process_ended", process=kind, exit_code=code, started_again_in=pause)
        await first_of(stop, seconds=pause)
    return 0


async def _stop(process: Process, ended: asyncio.Task[int]) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    await asyncio.wait({ended}, timeout=_STOPPED_WITHIN)
    if not ended.done():
        with suppress(ProcessLookupError):
            process.kill()
        await ended


def _directory(settings: Settings) -> tuple[str, ...]:
    """Return the options by which a child finds an embedded server, whatever its files name."""
    return () if settings.database_url is not None else ("--data-dir", str(data_dir(settings)))


def _environment(settings: Settings) -> Mapping[str, str]:
    """Return the environment in which a child finds what was said on the command line."""
    said = {
        "ROTA_DATA_DIR": str(data_dir(settings)),
        "ROTA_DATABASE_URL": settings.database_url,
        "ROTA_DATABASE_LISTEN_URL": settings.database_listen_url,
        "ROTA_LOG_FORMAT": settings.log_format,
        "ROTA_USER": settings.user,
        "ROTA_MAIL": str(settings.mail) if settings.mail is not None else None,
        "NOTIFY_SOCKET": None,  # the parent says when all is ready
    }
    others = {
        name: value
        for name, value in os.environ.items()
        if name not in said and not settings.is_in_file(name)  # it reads the files itself
    }
    return others | {name: value for name, value in said.items() if value is not None}
