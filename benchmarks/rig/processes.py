"""rota's processes, and processes of others: started, measured, stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rota.bootstrap import LOCAL_OWNER
from rota.sample import sample_mailbox_path

_GRACE = 15.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used of the machine since it started."""

    cpu_seconds: float
    rss_mb: float


@contextmanager
def rota_processes(url: str, *parts: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run a `rota PART` process for each part for the life of the block."""
    environment = os.environ | {
        "ROTA_DATABASE_URL": url,
        "ROTA_USER": LOCAL_OWNER,
        "ROTA_MAIL": str(sample_mailbox_path()),
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_LOG_LEVEL": "warning",
    }
    running = [
        subprocess.Popen([sys.executable, "-m", "rota", part], env=environment) for part in parts
    ]
    try:
        yield running
    finally:
        stop(running)


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
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
    folder = Path("/proc") / str(pid)
    if not folder.exists():
        return None
    # The second field is the command's name in parentheses, and may hold spaces itself.
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, of all threads
    pages = int((folder / "statm").read_text().split()[1])
    return Usage(
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
        rss_mb=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    )
