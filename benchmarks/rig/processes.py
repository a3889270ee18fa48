"""rota's processes, and processes of others: started, measured, stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rota.bootstrap.app import LOCAL_OWNER
from rota.sample import sample_mailbox_path

_GRACE = 15.0
_PROC = Path("/proc")
_PARENT, _UTIME, _CUTIME = 1, 11, 13
"""Places in /proc/PID/stat after the command: parent; utime and stime; those of ended children."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used of the machine since it started."""

    cpu_seconds: float
    rss_mb: float


@contextmanager
def rota_processes(
    url: str, *parts: str, settings: Mapping[str, str] | None = None
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run a `rota PART` process for each part for the life of the block.

    Of the person's own settings of rota none is passed on; `settings` are added to what is.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROTA_")}
    environment = inherited | {
        "ROTA_DATABASE_URL": url,
        "ROTA_USER": LOCAL_OWNER,
        "ROTA_MAIL": str(sample_mailbox_path()),
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_LOG_LEVEL": "warning",
        "ROTA_CONFIG": os.devnull,
        **(settings or {}),
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for part in parts:
            command = [sys.executable, "-m", "rota", part]
            running.append(subprocess.Popen(command, env=environment))
        yield running
    finally:
        stop(running)


def stop(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """End processes, those that do not listen by force."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def usage_of(pid: int) -> Usage | None:
    """Return what a running process has used; None where the system has no /proc."""
    fields = _stat(pid)
    if fields is None:
        return None
    pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    return Usage(
        cpu_seconds=_seconds(fields[_UTIME:_CUTIME]),
        rss_mb=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    )


def server_cpu_seconds(pid: int, *, but: int) -> float | None:
    """Return what a PostgreSQL server has used since it started, with all that it forked.

    `pid` is its first process, `but` the one backend that does not count: the caller's own. None
    where the system has no /proc.
    """
    postmaster = _stat(pid)
    if postmaster is None:
        return None
    used = _seconds(postmaster[_UTIME : _CUTIME + 2])  # with its children that have ended
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal() or int(folder.name) == but:
            continue
        fields = _stat(int(folder.name))
        if fields is not None and int(fields[_PARENT]) == pid:
            used += _seconds(fields[_UTIME:_CUTIME])
    return used


def _stat(pid: int) -> list[str] | None:
    """Return the fields of a process from its state on; None if it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command's name in parentheses, and may hold spaces itself.
    return text.rpartition(")")[2].split()


def _seconds(ticks: Sequence[str]) -> float:
    return sum(int(field) for field in ticks) / os.sysconf("SC_CLK_TCK")
