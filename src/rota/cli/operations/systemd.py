"""`rota systemd`: prints a unit file, with which systemd starts rota and keeps it running."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from rota.cli import output
from rota.cli.exit_codes import TO_MEND
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.configuration import NAMED_BY, user_folder
from rota.settings import API_KEYS, VARIABLES

group = CommandGroup()

_SAYS: Final = {
    "up": "rota: AI agents on a schedule",
    "scheduler": "rota scheduler: fires schedules",
    "worker": "rota worker: executes runs",
    "serve": "rota serve: serves the HTTP API",
}
_PASSED_ON: Final = (NAMED_BY, "PYTHONPATH", "ROTA_DATA_DIR")
"""Variables that stand in the unit itself, where they are set: none of them is a secret."""


class Part(StrEnum):
    """The process that a unit starts."""

    UP = "up"
    SCHEDULER = "scheduler"
    WORKER = "worker"
    SERVE = "serve"


_NAMES: Final = {
    Part.UP: ("rota", "rota"),
    Part.SCHEDULER: ("rota-scheduler", "rota-scheduler"),
    Part.WORKER: ("rota-worker@", "rota-worker@1 rota-worker@2"),
    Part.SERVE: ("rota-serve", "rota-serve"),
}
"""What the unit's file is called, and what is started: of workers any number, numbered."""


@group.command("systemd")
def systemd(
    common: CommonOptions,
    part: Annotated[
        Part,
        typer.Argument(metavar="PART", help="What the unit runs: up, scheduler, worker or serve."),
    ],
    system: Annotated[
        bool,
        typer.Option(
            "--system", help="Print a unit for the machine's systemd instead of your own."
        ),
    ] = False,
) -> None:
    """Print a systemd unit that starts rota and keeps it running.

    The unit runs this rota in the current directory, with the same settings files. See
    docs/howto/workers.md.
    """
    exported = {name: os.environ.get(name, "").strip() for name in (*VARIABLES, *API_KEYS.values())}
    passed_on = [name for name in _PASSED_ON if os.environ.get(name, "").strip()]
    in_files = common.configuration.variables
    unit = "\n".join(_unit(common, part, passed_on, system=system))
    lost = [name for name, value in exported.items() if value and value != in_files.get(name)]
    lost = [name for name in lost if name not in _PASSED_ON]
    if common.database_url is not None and "ROTA_DATABASE_URL" not in lost:
        lost.append("ROTA_DATABASE_URL")
    if common.json:
        output.print_json({"unit": unit, "missing": lost})
        return
    print(unit)
    if lost:
        folder = user_folder(os.environ) or Path.cwd()
        output.warn(
            "The unit does not have the variables that are set in this terminal only: "
            f"{', '.join(lost)}. Write them into {folder / '.env'} (chmod 600), as "
            "NAME=value."
        )


def _unit(
    common: CommonOptions, part: Part, passed_on: list[str], *, system: bool
) -> Iterator[str]:
    from rota.bootstrap.app import data_dir

    settings = common.settings
    name, started = _NAMES[part]
    place = "/etc/systemd/system" if system else "~/.config/systemd/user"
    control = "systemctl" if system else "systemctl --user"
    yield f"# {place}/{name}.service"
    yield f"# Then: {control} daemon-reload && {control} enable --now {started}"
    if not system:
        yield "# To have it run while you are not logged in: loginctl enable-linger"
    yield "[Unit]"
    yield f"Description={_SAYS[part]}"
    yield "StartLimitIntervalSec=0"
    if system:
        yield "Wants=network-online.target"
        yield "After=network-online.target"
    yield ""
    yield "[Service]"
    yield "Type=notify"
    yield f"WorkingDirectory={_escaped(str(Path.cwd()))}"
    for variable in passed_on:
        value = str(data_dir(settings)) if variable == "ROTA_DATA_DIR" else os.environ[variable]
        yield f"Environment={_quoted(f'{variable}={value}')}"
    command = [sys.executable, "-m", "rota", part.value]
    if settings.database_url is None:
        command += ["--data-dir", str(data_dir(settings).absolute())]
    if common.user is not None:
        command += ["--as", common.user]
    # A dollar sign would begin a variable here, and here alone.
    yield f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in command)}"
    if system:
        yield f"User={getpass.getuser()}"
    yield "Restart=on-failure"
    yield "RestartSec=5"
    yield f"RestartPreventExitStatus={' '.join(map(str, sorted(TO_MEND)))}"
    yield "KillMode=mixed"
    yield "TimeoutStartSec=300"
    yield "TimeoutStopSec=120"
    yield ""
    yield "[Install]"
    yield f"WantedBy={'multi-user' if system else 'default'}.target"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return a word of a command line or a variable, as systemd reads it."""
    escaped = _escaped(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if any(c in " '\\\";" for c in text) or not text else escaped
