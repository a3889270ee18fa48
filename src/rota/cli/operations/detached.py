"""`rota up` in the background: `up -d` starts it, `rota down` ends it, `rota logs` reads it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated, Final

import typer

from rota.cli import output
from rota.cli.exit_codes import INTERRUPTED
from rota.cli.groups import CommandGroup
from rota.cli.operations.readiness import ASKED_BY, READY
from rota.cli.options import CommonOptions
from rota.domain.errors import ConflictError, NotFoundError, UnavailableError
from rota.settings import Settings
from rota.store.embedded.files import LogFile, instance_of

group = CommandGroup()

_LOOK_EVERY: Final = 0.2
_STOPPED_WITHIN: Final = 90.0
"""Seconds that `rota up` has to end: its children have fifteen, then the server stops."""


def log_file(folder: Path) -> LogFile:
    """Return the log that `rota up -d` writes in a data directory."""
    return LogFile(folder, "rota.log")


class Background:
    """The output of `rota up -d`: the terminal until rota is ready, then its log file."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._settings = settings
        self.log = log_file(folder)
        self.descriptor = self.log.open()
        self.ending = (
            f"rota is running in the background (process {os.getpid()}). `rota down` stops it, "
            "`rota logs -f` follows it"
        )

    def go_on_in_log(self) -> None:
        """Leave the terminal alone from now on."""
        from rota.cli.logs import configure_logs

        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(self.descriptor, stream.fileno())
        configure_logs(self._settings, level="info")  # without a terminal's colours


def start(settings: Settings, arguments: Sequence[str]) -> int:
    """Run `rota up` with these arguments in the background, and wait until it is ready.

    Until then it writes where we do. Returns its exit code where it ended before, else 0.
    """
    from rota.bootstrap.app import data_dir

    log = log_file(data_dir(settings))
    offset = log.size()
    with TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"{place}/ready")
        ready.settimeout(_LOOK_EVERY)
        process = subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, "-m", "rota", "up", "--in-background", *arguments],
            env={n: v for n, v in os.environ.items() if not settings.is_in_file(n)}
            | {ASKED_BY: f"{place}/ready"},
            stdin=subprocess.DEVNULL,
            stdout=None if sys.stdout.isatty() else subprocess.PIPE,
            stderr=None if sys.stderr.isatty() else subprocess.PIPE,
            start_new_session=True,  # neither Ctrl-C nor the end of the terminal reaches it
        )
        pipes = [(process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)]
        copying = [
            threading.Thread(target=_copy, args=(source, target), daemon=True)
            for source, target in pipes
            if source is not None
        ]
        for thread in copying:
            thread.start()
        try:
            code = _wait(process, ready)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            return INTERRUPTED
        for thread in copying:
            thread.join()
    if code is None:
        return 0
    if log.size() > offset:
        output.warn(log.since(offset))
    return code


def _wait(process: subprocess.Popen[bytes], ready: socket.socket) -> int | None:
    """Wait until a process says that it is ready (None), or ends; returns its exit code."""
    while (code := process.poll()) is None:
        try:
            if READY in ready.recv(1024):
                return None
        except TimeoutError:
            continue
    return code


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy what a process writes; whoever stops reading ours (head, grep -q) does not end it."""
    is_read = True
    with source:
        for line in source:
            if is_read:
                try:
                    target.write(line)
                    target.flush()
                except OSError:
                    is_read = False


@group.command("down", person=False)
def down(common: CommonOptions) -> None:
    """Stop the `rota up` of this data directory, in the background or in another terminal."""
    folder = common.folder
    process = instance_of(folder)
    if common.json:
        if process is not None:
            _stop(process, folder)
        output.print_json({"process": process, "data_dir": folder})
    elif process is None:
        output.say(f"rota is not running on {folder}.")
    else:
        _stop(process, folder)
        output.say(f"rota is stopped (process {process}). `rota up` continues where it stopped.")


def _stop(process: int, folder: Path) -> None:
    """End a `rota up`, and wait until it has ended."""
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        raise ConflictError(
            f"Process {process} runs rota on {folder}, on another machine or in a "
            "container. Stop it there."
        ) from None
    except PermissionError:
        raise ConflictError(
            f"Process {process}, which runs rota on {folder}, belongs to another user. "
            "Stop it as that user."
        ) from None
    deadline = time.monotonic() + _STOPPED_WITHIN
    while instance_of(folder) == process:
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"Process {process} has not ended within {_STOPPED_WITHIN:.0f} s. Nothing is lost "
                f"if you end it at once: kill -9 {process}",
                service="rota up",
            )
        time.sleep(_LOOK_EVERY)


@group.command("logs", person=False)
def logs(
    common: CommonOptions,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Wait for more lines, and print them, until Ctrl-C."),
    ] = False,
    lines: Annotated[
        int,
        typer.Option(
            "--lines", "-n", min=0, metavar="N", help="How many of the last lines to print."
        ),
    ] = 50,
) -> None:
    """Show the log of `rota up -d`: a line when a run is due, starts, ends or fails."""
    log = log_file(common.folder)
    if not log.path.exists():
        raise NotFoundError(
            "log",
            str(log.path),
            hint="Only `rota up -d` writes this log. Without -d, rota logs to its terminal. "
            "Under systemd: journalctl --user -u rota",
        )
    end = log.size()
    last = log.since(0, lines=lines, reach=end).splitlines() if lines else []
    if common.json and not follow:
        output.print_json([{"line": line} for line in last])
        return
    _print_lines(last, as_json=common.json)
    if follow:
        with suppress(KeyboardInterrupt):
            for text in _following(log, end):
                _print_lines(text.splitlines(), as_json=common.json)


def _print_lines(lines: Sequence[str], *, as_json: bool) -> None:
    from rota.bootstrap.app import clock
    from rota.cli.logs import shorten_line

    if not as_json and sys.stdout.isatty():
        today = clock().astimezone().date()
        lines = [shorten_line(line, today) for line in lines]
    for line in lines:
        print(json.dumps({"line": line}) if as_json else output.plain(line), flush=True)


def _following(log: LogFile, offset: int) -> Iterator[str]:
    """Yield whole lines that are written after an offset, for ever."""
    while True:
        if (size := log.size()) < offset:  # it was emptied, as it was too long
            offset = 0
        if size > offset:
            with log.path.open("rb") as file:
                file.seek(offset)
                whole, newline, _ = file.read(size - offset).rpartition(b"\n")
            if newline:
                offset += len(whole) + 1
                yield whole.decode(errors="replace")
        time.sleep(_LOOK_EVERY)
