"""The data directory of an embedded server: its locks, its log, and the file of its credentials."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from rota.domain.errors import ConflictError, InvalidInputError, UnavailableError

_STATE_FILE: Final = "postgres.json"
_INSTANCE_LOCK: Final = "up.lock"
_OWN_NAMES: Final = frozenset({_INSTANCE_LOCK, "start.lock", "server.lock", _STATE_FILE})
_LOG_BYTES: Final = 8 * 1024 * 1024
_LOCK_POLL: Final = 0.05
_LOOKS_FOR_HOLDER: Final = 40
_LOCK_BUSY: Final = frozenset({errno.EAGAIN, errno.EACCES})
ROOT: Final = 0
"""The user id that PostgreSQL does not run as."""


def unavailable(message: str, *, permanent: bool = False) -> UnavailableError:
    """Return the error that says why the embedded server cannot be had."""
    return UnavailableError(message, service="embedded PostgreSQL", permanent=permanent)


def default_data_dir() -> Path:
    """Return where this person's data lies unless they say otherwise; nothing is created.

    Raises InvalidInputError where neither the environment nor the system names a home.
    """
    chosen = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        if sys.platform == "darwin":
            return Path("~/Library/Application Support/rota").expanduser()
        # The XDG specification has relative paths ignored.
        base = chosen if chosen.is_absolute() else Path("~/.local/share").expanduser()
    except RuntimeError as error:
        raise InvalidInputError(
            "This user has no home directory to keep rota's data in. Name a directory with "
            "--data-dir or ROTA_DATA_DIR.",
            field="data_dir",
        ) from error
    return base / "rota"


@contextmanager
def explained(data_dir: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a sentence (UnavailableError)."""
    try:
        yield
    except OSError as error:
        what = f" ({error.filename})" if error.filename else ""
        reason = error.strerror or str(error)
        hint = ""
        if error.errno == errno.ENOSPC:
            hint = " Free some space and try again."
        elif isinstance(error, PermissionError):
            hint = " Run as the user that owns it, or name another one with --data-dir."
        raise unavailable(
            f"The data directory {data_dir} cannot be used: {reason}{what}.{hint}"
        ) from error


def prepare_data_dir(path: Path) -> Path:
    """Create the directory if need be, see that it is private, and return its real path.

    A directory that is open to others is made private only when it is empty or rota's already:
    a mistyped `--data-dir /tmp` must not change what belongs to everybody.
    """
    with explained(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        real = path.resolve()
        found = real.stat()
        open_bits = stat.S_IMODE(found.st_mode) & 0o077
        # Root's directory may be passed through by the group of the server's account.
        allowed = 0o010 if found.st_uid == ROOT else 0
        if open_bits & ~allowed:
            names = {entry.name for entry in real.iterdir()}
            if names and not names & _OWN_NAMES:
                raise InvalidInputError(
                    f"The data directory {path} is open to other users and holds other files. "
                    "Name an empty or a new directory.",
                    field="data_dir",
                )
            real.chmod(0o700)
    return real


def open_private(data_dir: Path, name: str, flags: int) -> int:
    """Open a file of the data directory, 0600 and owned as the directory is."""
    fd = os.open(data_dir / name, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == ROOT and (owner := data_dir.stat()).st_uid != ROOT:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    return fd


class FileLock:
    """An advisory lock on one file of the data directory; the system drops it when we die."""

    def __init__(self, data_dir: Path, name: str) -> None:
        self._data_dir = data_dir
        self._name = name
        self._fd: int | None = None

    def acquire(self, *, shared: bool = False, timeout: float = 0.0) -> bool:
        """Take the lock, or change how it is held; wait at most `timeout` seconds for it.

        Returns whether it is held now. What was held before is lost if it is not.
        """
        if self._fd is None:
            self._fd = open_private(self._data_dir, self._name, os.O_RDWR)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _LOCK_BUSY:
                    raise
            else:
                return True
            if time.monotonic() >= deadline:
                self.release()
                return False
            time.sleep(_LOCK_POLL)

    def release(self) -> None:
        """Let go, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def write(self, text: str) -> None:
        """Replace the file's text; the lock must be held."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text.encode(), 0)

    def read(self) -> str:
        """Return the file's text, whoever holds the lock."""
        return (self._data_dir / self._name).read_text(encoding="utf-8")


@contextmanager
def instance_lock(data_dir: Path) -> Iterator[None]:
    """Keep a second `rota up` off a data directory for the life of the block.

    Raises ConflictError, with the other's process id, where one is running.
    """
    real = prepare_data_dir(data_dir)
    lock = FileLock(real, _INSTANCE_LOCK)
    with explained(real):
        if not lock.acquire():
            holder = lock.read().strip()
            process = f" (process {holder})" if holder else ""
            raise ConflictError(
                f"rota is already running on {data_dir}{process}. "
                "Stop it first (`rota down`), or name another directory with --data-dir."
            )
        lock.write(f"{os.getpid()}\n")
    try:
        yield
    finally:
        lock.write("")
        lock.release()


def instance_of(data_dir: Path) -> int | None:
    """Return the process of the `rota up` on a data directory; None where none is running."""
    if not (data_dir / _INSTANCE_LOCK).exists():
        return None
    with explained(data_dir):
        lock = FileLock(data_dir, _INSTANCE_LOCK)
        for _ in range(_LOOKS_FOR_HOLDER):
            if lock.acquire(shared=True):
                lock.release()
                return None
            if (holder := lock.read().strip()).isdecimal():
                return int(holder)
            time.sleep(_LOCK_POLL)  # it has just begun
    raise unavailable(f"rota cannot find out which process runs rota on {data_dir}.")


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the processes of one data directory share: where the cluster is, and its passwords."""

    cluster: Path
    socket_dir: Path
    owner_password: str = field(repr=False)
    backend_password: str = field(repr=False)

    @classmethod
    def read(cls, data_dir: Path) -> ServerState | None:
        """Return what is stored, or None on a new directory."""
        path = data_dir / _STATE_FILE
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            # Relative paths let an idle data directory be moved as a whole.
            return cls(
                cluster=data_dir / stored["cluster"],
                socket_dir=data_dir / stored["socket_dir"],
                owner_password=stored["owner_password"],
                backend_password=stored["backend_password"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise unavailable(
                f"{path} is damaged: it holds the passwords of the database in {data_dir}. "
                "Restore it from a backup.",
                permanent=True,
            ) from error

    def write(self, data_dir: Path) -> None:
        """Store it, 0600, in one step."""
        inside = {
            "cluster": _inside(data_dir, self.cluster),
            "socket_dir": _inside(data_dir, self.socket_dir),
        }
        text = json.dumps(asdict(self) | inside, indent=2)
        draft = f"{_STATE_FILE}.{secrets.token_hex(4)}"
        try:
            with os.fdopen(open_private(data_dir, draft, os.O_WRONLY | os.O_EXCL), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            (data_dir / draft).replace(data_dir / _STATE_FILE)
        except OSError:
            (data_dir / draft).unlink(missing_ok=True)
            raise

    @staticmethod
    def forget(data_dir: Path) -> None:
        """Delete what is stored."""
        (data_dir / _STATE_FILE).unlink(missing_ok=True)


def _inside(data_dir: Path, path: Path) -> str:
    return str(path.relative_to(data_dir) if path.is_relative_to(data_dir) else path)


class LogFile:
    """A log in the data directory: one file and the one before it, each about 8 MiB at most."""

    def __init__(self, data_dir: Path, name: str) -> None:
        self._data_dir = data_dir
        self.path = data_dir / name

    def open(self) -> int:
        """Return a descriptor to append to."""
        return open_private(self._data_dir, self.path.name, os.O_WRONLY | os.O_APPEND)

    def size(self) -> int:
        """Return its length in bytes; 0 where there is none yet."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def since(self, offset: int, *, lines: int = 12, reach: int = 64 * 1024) -> str:
        """Return the last lines written after `offset`, of the last `reach` bytes."""
        with self.path.open("rb") as file:
            file.seek(max(offset, self.size() - reach))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def keep_small(self) -> None:
        """Move the text to the file before it, of the same name and `.1`, once it is too long.

        Who writes holds the file open, so the file stays and is emptied; it was opened to append,
        so they go on at its new end.
        """
        if self.size() <= _LOG_BYTES:
            return
        old_name = f"{self.path.name}.1"
        (self._data_dir / old_name).unlink(missing_ok=True)
        with (
            self.path.open("r+b") as current,
            os.fdopen(open_private(self._data_dir, old_name, os.O_WRONLY), "wb") as old,
        ):
            current.seek(max(0, self.size() - _LOG_BYTES))
            old.write(current.read(_LOG_BYTES))
            current.truncate(0)
