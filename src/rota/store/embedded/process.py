"""Identifies a process by more than its id.

The system uses process ids again, and a dead child keeps its id until its parent has waited for it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_LOCK_FILE: Final = "postmaster.pid"
_PROC: Final = Path("/proc/self/stat")


def start_mark(pid: int) -> str | None:
    """Return a mark of the running process that has this id now, or None if it is not running.

    The same id with another mark is another process. A zombie is not running.
    """
    if _PROC.exists():
        try:
            # The second field is the command's name, in parentheses, and may hold anything.
            fields = (
                Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            )
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    state, _, born = _ps(pid, "stat=,lstart=").partition(" ")
    return None if not state or state.startswith("Z") else born


def find_postmaster(cluster: Path) -> int | None:
    """Return the id of the live server of a cluster, from its lock file, or None."""
    pid = _recorded(cluster / _LOCK_FILE)
    return pid if pid is not None and start_mark(pid) and _serves(pid, cluster) else None


def clear_stale_lock_files(cluster: Path, socket: Path) -> None:
    """Remove the lock files of a dead server where PostgreSQL would take it for a live one.

    It removes them itself where the id is free. It does not where the id is a zombie's, or was
    given to another process of the same user. Its other guard, the shared memory that surviving
    backends are attached to, is found by the directory and stays in force.
    """
    for lock_file in (cluster / _LOCK_FILE, socket.with_name(f"{socket.name}.lock")):
        pid = _recorded(lock_file)
        if pid is not None and not (start_mark(pid) and _serves(pid, cluster)):
            lock_file.unlink(missing_ok=True)


def _recorded(lock_file: Path) -> int | None:
    try:
        first = lock_file.read_text(errors="replace").partition("\n")[0]
    except FileNotFoundError:
        return None
    return int(first) if first.strip().isdigit() else None


def _serves(pid: int, cluster: Path) -> bool:
    if _PROC.exists():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return str(cluster).encode() in words and Path(words[0].decode()).name == "postgres"
    return f"postgres -D {cluster}" in _ps(pid, "command=")


def _ps(pid: int, columns: str) -> str:
    found = subprocess.run(  # noqa: S603 - fixed words and a number
        ["/bin/ps", "-ww", "-p", str(pid), "-o", columns],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()
