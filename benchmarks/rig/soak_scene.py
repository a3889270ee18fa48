"""Two schedulers, three workers and their server, and what can be done to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, assert_never

import psycopg

from rig import soak_tools
from rig.soak_ledger import TOOLS
from rig.soak_plan import PROCESSES, WORKERS, Disturbance
from rota.bootstrap.app import LOCAL_OWNER
from rota.sample import sample_mailbox_path
from rota.store.embedded.server import EmbeddedPostgres

ENDS_WITHIN: Final = 20.0
"""Seconds that a process has to end when it is asked to; one that has not is stuck."""

_CONNECTED_WITHIN: Final = 60.0


@dataclass
class _Process:
    popen: subprocess.Popen[bytes]
    number: int  # how often one of this name was started
    stopped_until: float | None = None  # stalled
    asked_at: float | None = None  # to end
    killed: bool = False


@dataclass
class Scene:
    """The server and the processes. Times are of the monotonic clock."""

    server: EmbeddedPostgres
    folder: Path
    live: bool = False  # tell notes on stderr at once
    log: list[str] = field(default_factory=list)
    died_alone: int = 0
    would_not_end: int = 0
    _processes: dict[str, _Process] = field(default_factory=dict)
    _dead_until: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def note(self, said: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:7.1f} s  {said}")
        if self.live:
            print(self.log[-1], file=sys.stderr, flush=True)

    def connect(self) -> psycopg.Connection[Any]:
        """Connect as the owner; the server may be on its way back."""
        deadline = time.monotonic() + _CONNECTED_WITHIN
        while True:
            try:
                return psycopg.connect(self.server.owner_url, autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                self.server.ensure_alive()
                time.sleep(0.2)

    def start_all(self) -> None:
        for name in PROCESSES:
            self._start(name)

    def look_after(self) -> None:
        """Start what is dead, wake what was stopped long enough, and see who does not end."""
        now = time.monotonic()
        for name, process in list(self._processes.items()):
            if process.popen.poll() is not None:
                self._bury(name, process)
            elif process.stopped_until is not None and now > process.stopped_until:
                self._wake(name, process)
            elif (
                process.asked_at is not None
                and process.stopped_until is None
                and now > process.asked_at + ENDS_WITHIN
            ):
                self._end_by_force(name, process)
        for name, until in list(self._dead_until.items()):
            if now > until:
                del self._dead_until[name]
                self._start(name)

    def disturb(self, what: Disturbance) -> None:
        """Do it; what is done to a process that is dead or stopped already is passed over."""
        self.note(str(what))
        match what.kind:
            case "kill":
                self._kill(what.target, what.lasts)
            case "kill all workers":
                for name in WORKERS:
                    self._kill(name, what.lasts)
            case "end":
                self._end(what.target)
            case "stall":
                self._stall(what.target, what.lasts)
            case "kill server":
                self._kill_server(what.lasts)
            case "cut":
                self._cut()
            case "block":
                (self.folder / soak_tools.BLOCK).touch()
            case _:
                assert_never(what.kind)

    def leave_alone(self) -> None:
        """Wake and start everybody; nobody is to block any more."""
        (self.folder / soak_tools.BLOCK).unlink(missing_ok=True)
        self.server.ensure_alive()
        for name, process in self._processes.items():
            if process.stopped_until is not None:
                self._wake(name, process)
        self._dead_until = dict.fromkeys(self._dead_until, 0.0)
        self.look_after()

    def end_all(self) -> None:
        """End every process, those that do not listen by force, and wait for them."""
        for process in self._processes.values():
            process.popen.send_signal(signal.SIGCONT)
            process.popen.terminate()
        deadline = time.monotonic() + ENDS_WITHIN
        for name, process in self._processes.items():
            try:
                process.popen.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._end_by_force(name, process)
                process.popen.wait()
        self._processes.clear()

    def logs(self, lines: int = 30) -> str:
        """Return the last lines of what each process said."""
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            said = path.read_text(errors="replace").splitlines()
            parts += [f"-- {path.stem}", *said[-lines:]]
        return "\n".join(parts)

    def _start(self, name: str) -> None:
        old = self._processes.get(name)
        number = old.number + 1 if old is not None else 1
        who = f"{name}.{number}"
        environment = os.environ | {
            "ROTA_DATABASE_URL": self.server.app_url,
            "ROTA_USER": LOCAL_OWNER,
            "ROTA_MAIL": str(sample_mailbox_path()),
            "ROTA_SECRET_KEY": "00" * 32,
            "ROTA_LOG_LEVEL": "warning",
            "ROTA_CONFIG": os.devnull,
            "ROTA_TOOLS": " ".join(
                f"{tool}={soak_tools.__name__}:{function}" for tool, (function, _) in TOOLS.items()
            ),
            "ROTA_CALLABLES": f"errand={soak_tools.__name__}:errand",
            soak_tools.FOLDER: str(self.folder),
            soak_tools.PROCESS: who,
            "PGOPTIONS": f"-c soak.process={who}",  # the ledger notes who takes a run
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
            ).rstrip(os.pathsep),
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", "rota", name.partition("-")[0]],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self._processes[name] = _Process(popen, number)

    def _able(self, name: str) -> _Process | None:
        """Return a process that is at work."""
        process = self._processes[name]
        if process.popen.poll() is None and process.stopped_until is None:
            return process
        return None

    def _kill(self, name: str, lasts: float) -> None:
        process = self._processes[name]
        if process.popen.poll() is None:
            process.popen.kill()  # one that is stopped dies too
            process.killed = True
            self._dead_until[name] = time.monotonic() + lasts

    def _end(self, name: str) -> None:
        if (process := self._able(name)) is not None:
            process.popen.terminate()
            process.asked_at = time.monotonic()

    def _stall(self, name: str, lasts: float) -> None:
        if (process := self._able(name)) is not None:
            process.popen.send_signal(signal.SIGSTOP)
            process.stopped_until = time.monotonic() + lasts

    def _cut(self) -> None:
        with self.connect() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def _kill_server(self, lasts: float) -> None:
        if self.server.pid is None:
            raise RuntimeError("the server's process is not known")
        os.kill(self.server.pid, signal.SIGKILL)
        time.sleep(lasts)
        self.server.ensure_alive()

    def _wake(self, name: str, process: _Process) -> None:
        self.note(f"wake {name}")
        process.popen.send_signal(signal.SIGCONT)
        process.stopped_until = None
        if process.asked_at is not None:
            process.asked_at = time.monotonic()

    def _bury(self, name: str, process: _Process) -> None:
        """Note how one died, and have another started."""
        if name in self._dead_until:
            return
        if not process.killed and process.asked_at is None:
            self.died_alone += 1
            self.note(f"{name} ended by itself ({process.popen.returncode})")
        self._dead_until[name] = 0.0

    def _end_by_force(self, name: str, process: _Process) -> None:
        self.would_not_end += 1
        self.note(f"{name} did not end within {ENDS_WITHIN:.0f} s of being asked")
        process.popen.kill()
        process.killed = True
