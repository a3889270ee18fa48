"""A reader at terminals: a shell for what a page has typed, and `rota up` in another one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.howto.pages import ROOT, Command, File

STAYS = (
    "rota up",
    "scripts/up",
    "rota scheduler",
    "rota worker",
    "rota logs -f",
    "rota runs tail -f",
)
"""Commands that go on until Ctrl-C, or until they are stopped."""

LONGEST = 120
MARK = "-- typed --"
NONE = "none-is-listed"
PORT = "127.0.0.1:7682"


class Reader:
    """Has one home directory, with one data directory in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.desk = home / "rota"  # where the repository was cloned to
        self.desk.mkdir(parents=True, exist_ok=True)
        programs = home / "programs"
        programs.mkdir(exist_ok=True)
        _program(programs / "rota", f'exec "{sys.executable}" -m rota "$@"')
        _program(programs / "python", f'exec "{sys.executable}" "$@"')
        (self.desk / "scripts").mkdir(exist_ok=True)
        _program(self.desk / "scripts/up", 'exec rota up "$@"')
        (self.desk / ".venv/bin").mkdir(parents=True, exist_ok=True)
        (self.desk / ".venv/bin/activate").touch()
        kept = {"LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "TMPDIR"}
        self.environment = {name: os.environ[name] for name in kept & set(os.environ)} | {
            "HOME": str(home),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SOURCES": str(ROOT / "src"),
            "NO_COLOR": "1",
        }
        self.staying: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Have `rota up` running in another terminal, started without what a page exports."""
        if any(process.poll() is None for process in self.staying):
            return
        self.down()  # what a page started in the background
        self.stay("rota up", self.desk, self.environment)

    def down(self) -> None:
        """End what stays, and what was started in the background."""
        for process in self.staying:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.staying:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.staying.clear()
        self.run("rota down", check=False)

    def stay(self, line: str, folder: Path, environment: dict[str, str]) -> str:
        """Start a command that stays; return what it says until it has said that it works."""
        log = self.home / f"stays-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {line}"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.staying.append(process)
        is_up = line.startswith(("rota up", "scripts/up"))
        for _ in range(10 * LONGEST):
            said = log.read_text("utf-8", "replace")
            if process.poll() is not None:
                assert process.returncode == 0, f"{line}\n{said}"
                return said
            if "In another terminal" in said or not is_up:
                time.sleep(0 if is_up else 2)
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"{line} does not come up:\n{said}")
        if not is_up:
            process.send_signal(signal.SIGINT)
            process.wait(LONGEST)
            self.staying.remove(process)
        return log.read_text("utf-8", "replace")

    def run(self, line: str, *, check: bool = True) -> str:
        """Run a command in a shell of its own; return what it says."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.desk,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        assert not check or done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def type_page(self, steps: list[File | Command]) -> list[tuple[str, int, str]]:
        """Type a page at one terminal; return each command with its exit code and what it says."""
        done: list[tuple[str, int, str]] = []
        with Shell(self.desk, self.environment) as shell:
            for step in steps:
                if isinstance(step, File):
                    path = shell.folder / Path(step.name).expanduser().name
                    path.write_text(step.text, encoding="utf-8")
                    continue
                line = self.with_ids(step.line)
                if line.startswith(STAYS) and not re.search(r" (-d|--exit-after-demo)\b", line):
                    environment = shell.environment()
                    if line.startswith(("rota up", "scripts/up")):
                        self.down()  # as the page says: Ctrl-C, in the other terminal
                    bare = line.partition(" #")[0]
                    done.append((step.line, 0, self.stay(bare, shell.folder, environment)))
                else:
                    done.append((step.line, *shell.type(line)))
        return done

    def with_ids(self, line: str) -> str:
        """Put ids in place of the words that stand for them on the pages."""
        if PORT in line:
            line = line.replace(PORT, self.server())
        words = line.split()
        if "RUN" in words:
            line = re.sub(r"\bRUN\b", self.first("rota runs list --json"), line)
        if "RULE" in words:  # the one that the page can do without
            listed = "rota approvals policy list --json"
            rule = self.first(listed, like='"clerk"')
            if rule == NONE:
                rule = self.first(listed, like="delete_*")
            line = re.sub(r"\bRULE\b", rule, line)
        if re.search(r"\bREQUEST\b", line):
            line = re.sub(r"\bREQUEST\b", self.first("rota approvals list --json"), line)
        return line

    def server(self) -> str:
        """Return where `rota up` in the other terminal listens: other tests have the usual port."""
        logs = sorted(self.home.glob("stays-*.log"))
        said = re.findall(r"http://(127\.0\.0\.1:\d+)", logs[-1].read_text("utf-8"))
        return str(said[0])

    def first(self, line: str, *, like: str = "") -> str:
        listed = [entry for entry in json.loads(self.run(line)) if like in json.dumps(entry)]
        return str(listed[0]["id"])[:8] if listed else NONE


class Shell:
    """A bash that keeps its folder and its exports between the lines that are typed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()

    @property
    def folder(self) -> Path:
        return Path(self.type("pwd")[1].strip())

    def environment(self) -> dict[str, str]:
        return dict(
            pair.partition("=")[::2]
            for pair in self.type("env -0 | tr '\\0' '\\1'")[1].split("\1")
            if pair.strip()
        )

    def type(self, line: str) -> tuple[int, str]:
        """Type a line; return its exit code and what it says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {line}\n}} </dev/null\nprintf '\\n%s%s\\n' '{MARK}' $?\n")
        self._process.stdin.flush()
        said: list[str] = []
        for answer in self._process.stdout:
            if answer.startswith(MARK):
                return int(answer.removeprefix(MARK)), "".join(said)[:-1]
            said.append(answer)
        raise AssertionError(f"the shell ended at: {line}\n{''.join(said)}")


def _program(path: Path, line: str) -> None:
    path.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="$SOURCES${{PYTHONPATH:+:$PYTHONPATH}}"\n{line}\n', "utf-8"
    )
    path.chmod(0o755)
