"""How long commands that read take, in times what importing typer and psycopg takes.

    scripts/bench cli --json

An embedded server of its own is kept running by `rota scheduler`, as `rota up` does; each command
is a process of its own that joins it. Before each measured command the floor is measured
(`python -c "import typer, psycopg"`), so both meet the same machine; a command's ratio is the
median of its rounds. Both read bytecode, as an installed program does, whether or not this
environment writes any. Exit status 1 if a command fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.figures import machine, show
from rig.processes import stop

FLOOR = (sys.executable, "-c", "import typer, psycopg")

COMMANDS = (
    "agents list",
    "agents export demo-briefing",
    "agents show demo-briefing",
    "approvals list",
    "approvals deputies list",
    "approvals policy list",
    "approvals policy explain mail_search",
    "audit export",
    "audit head",
    "audit list",
    "audit verify",
    "calendars list",
    "connections list",
    "doctor",
    "limits show",
    "notifications list",
    "notifications show",
    "people list",
    "prices show",
    "results list",
    "results show",
    "retention show",
    "runs list",
    "schedules calendar",
    "schedules list",
    "schedules preview @daily",
    "schedules show demo-briefing",
    "settings show",
    "status",
    "schedules why demo-briefing --at 07:00",
    "tools list",
    "usage",
)
"""Those that read; `calendars show`, `runs show`, `runs tail` and `approvals show` need something
that is not there, and go the same way as their lists."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its ratio to the floor, and its own time."""

    command: str
    ratio: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All commands, the slowest first."""

    worst_ratio: float
    worst_command: str
    floor_seconds: float
    rounds: int
    commands: list[Command]
    python: str
    machine: str


def main() -> int:
    """Measure, and print what was measured."""
    arguments = _arguments()
    with _running() as folder:
        measured = [
            _measure(command, folder, arguments.rounds)
            for command in arguments.commands or COMMANDS
        ]
    if None in [seconds for _, seconds, _ in measured]:
        return 1
    commands = sorted(
        (Command(name, round(ratio, 2), round(own, 3)) for name, own, ratio in measured if own),
        key=lambda one: -one.ratio,
    )
    floor = statistics.median(one.seconds / one.ratio for one in commands)
    show(
        Figures(
            worst_ratio=commands[0].ratio,
            worst_command=commands[0].command,
            floor_seconds=round(floor, 3),
            rounds=arguments.rounds,
            commands=commands,
            python=platform.python_version(),
            machine=machine(),
        ),
        as_json=arguments.json,
    )
    return 0


@contextmanager
def _running() -> Iterator[Path]:
    """Yield a data directory with the demo in it, whose server runs meanwhile."""
    with tempfile.TemporaryDirectory(prefix="rota-bench-") as name:
        folder = Path(name)
        # Else each process compiles a price table of 30,000 lines where PYTHONDONTWRITEBYTECODE is.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        subprocess.run(
            [*_rota(folder, "up"), "--exit-after-demo"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process = subprocess.Popen(_rota(folder, "scheduler"), stderr=subprocess.DEVNULL)
        try:
            yield folder
        finally:
            stop([process])


def _measure(command: str, folder: Path, rounds: int) -> tuple[str, float | None, float]:
    """Return the median time of a command and of its ratios; None where it failed."""
    for warmed in (FLOOR, _rota(folder, command)):  # the file cache, and the bytecode
        _seconds(warmed)
    own, ratios = [], []
    for _ in range(rounds):
        floor = _seconds(FLOOR)
        seconds = _seconds(_rota(folder, command))
        if floor is None or seconds is None:
            print(f"`rota {command}` failed.", file=sys.stderr)
            return command, None, 0.0
        own.append(seconds)
        ratios.append(seconds / floor)
    return command, statistics.median(own), statistics.median(ratios)


def _seconds(arguments: Sequence[str]) -> float | None:
    began = time.perf_counter()
    done = subprocess.run(
        arguments, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # `doctor` ends with 1 where it warns of something.
    return time.perf_counter() - began if done.returncode in {0, 1} else None


def _rota(folder: Path, command: str) -> list[str]:
    return [sys.executable, "-m", "rota", *command.split(), "--data-dir", str(folder)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each command; the median counts")
    parser.add_argument("--commands", nargs="*", metavar="COMMAND", help="only these")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
