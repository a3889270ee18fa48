"""The embedded PostgreSQL: started by the first process that needs it, stopped by the last.

Several rota processes may use one data directory. Each holds a shared lock on `server.lock`;
starting and stopping happen under `start.lock`. The server outlives a rota that is killed, and
the next one attaches to it. What is true is what a connection with the real passwords says, not
what a file says.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from rota.domain.errors import ConflictError, UnavailableError
from rota.store.embedded import cluster as clusters
from rota.store.embedded.binaries import STATE_DIR, Account, account_for, binaries_for
from rota.store.embedded.files import (
    FileLock,
    LogFile,
    ServerState,
    explained,
    prepare_data_dir,
    unavailable,
)
from rota.store.embedded.process import clear_stale_lock_files, find_postmaster, start_mark
from rota.store.roles import BACKEND_ROLE

_START_SECONDS: Final = 60.0
_RECOVERY_SECONDS: Final = 900.0  # replaying the log after a crash, or shutting down
_LOCK_SECONDS: Final = 90.0
_PATIENCE: Final = 1.0
_POLL: Final = 0.02
_RETRY_PAUSE: Final = 0.3
_STOPPING: Final = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""Fast shutdown, immediate shutdown, kill; and how long each is waited for, in seconds."""

_ORPHANS_LEFT: Final = "pre-existing shared memory block"
_OTHER_SERVER: Final = 'lock file "postmaster.pid" already exists'

_CHILDREN: Final[list[subprocess.Popen[bytes]]] = []
"""Servers that this process started. They may outlive their EmbeddedPostgres, for others' sake;
once dead they have to be reaped, for PostgreSQL takes a zombie for a live server."""


def _reap() -> None:
    _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]


@atexit.register
def _disown() -> None:
    """Leave servers that others use running, without Python's warning about them."""
    for child in _CHILDREN:
        if child.poll() is None:
            child.returncode = 0


def _silent(_message: str) -> None:
    pass


class EmbeddedPostgres:
    """A running server of a data directory. Get one from `open`; a context manager.

    Not for several threads at once; every method may block (`ensure_alive` only if the server
    died).
    """

    def __init__(
        self, data_dir: Path, *, durable: bool, progress: Callable[[str], None], state_dir: Path
    ) -> None:
        self.data_dir = data_dir
        self._durable = durable
        self._progress = progress
        self._state_dir = state_dir
        self._log = LogFile(data_dir, "postgres.log")
        self._start_lock = FileLock(data_dir, "start.lock")
        self._use_lock = FileLock(data_dir, "server.lock")
        self._state: ServerState | None = None
        self._pid: int | None = None
        self._birth: str | None = None
        self._open = False

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        durable: bool = True,
        progress: Callable[[str], None] = _silent,
        state_dir: Path = STATE_DIR,
    ) -> Self:
        """Start the server of a directory, or attach to the one that runs; wait until it answers.

        The first time, the cluster is made, with the database `rota`, its owner and the login
        role `rota_backend`. `durable=False` trades safety from a crash of the machine for speed.
        `progress` is told of what takes a while. Root's clusters and copies of the binaries go to
        `state_dir` where the server's account cannot reach them otherwise.

        Raises UnavailableError, SetupRequiredError or InvalidInputError, with the end of the
        server's log where that says why.
        """
        real = prepare_data_dir(data_dir)
        server = cls(real, durable=durable, progress=progress, state_dir=state_dir)
        with explained(real), server._starting():
            if not server._use_lock.acquire(shared=True, timeout=_LOCK_SECONDS):
                raise server._busy()
            try:
                server._bring_up()
            except BaseException:
                # Given up, or interrupted: leave no server behind that nobody uses.
                if server._use_lock.acquire() and server._state is not None:
                    server._stop(server._state.cluster)
                server._use_lock.release()
                raise
        server._open = True
        return server

    @property
    def owner_url(self) -> str:
        """The URL of the role that owns the database and migrates it: a superuser."""
        return clusters.url(self._known_state, clusters.OWNER_ROLE)

    @property
    def app_url(self) -> str:
        """The URL of `rota_backend`, which is no superuser, owns nothing and obeys policies."""
        return clusters.url(self._known_state, BACKEND_ROLE)

    @property
    def pid(self) -> int | None:
        """The server's process id as last seen; None where it cannot be told."""
        return self._pid

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._log.path

    @property
    def cluster_dir(self) -> Path:
        """The cluster's directory: in the data directory, except where root could not use it."""
        return self._known_state.cluster

    @property
    def _known_state(self) -> ServerState:
        if self._state is None:
            raise RuntimeError("the server was never started")
        return self._state

    @contextmanager
    def copied_database(self) -> Iterator[tuple[str, str]]:
        """Copy the database, which nobody may use meanwhile, for the life of the block.

        Yields the URLs of the copy's owner and of rota's role.
        """
        name = f"copy_{uuid.uuid4().hex[:12]}"
        with clusters.copied_database(self._known_state, name) as urls:
            yield urls

    @contextmanager
    def replaced_database(self) -> Iterator[str]:
        """Make a new, empty database, which takes the place of the old one after the block.

        Yields its owner's URL. If the block raises, it is dropped, and the old one stays. Whoever
        is connected to the old one is disconnected.
        """
        name = f"new_{uuid.uuid4().hex[:12]}"
        with clusters.replaced_database(self._known_state, name) as url:
            yield url

    def ensure_alive(self) -> bool:
        """Start the server again if it died, and return whether this call did so.

        Cheap while it lives: meant to be called every second. Raises UnavailableError if it
        cannot be started.
        """
        if not self._open:
            return False
        with explained(self.data_dir):
            self._log.keep_small()
            if self._is_running():
                return False
            with self._starting():
                return self._bring_up()

    def close(self) -> None:
        """Stop using the server, and stop it if nobody else uses it. Closing twice is harmless.

        A fast shutdown is given 10 seconds, then an immediate one is asked for, from which the
        next start recovers.
        """
        if not self._open:
            return
        self._open = False
        with explained(self.data_dir):
            try:
                with self._starting():
                    if self._use_lock.acquire():
                        self._shut_down(self._known_state)
            finally:
                self._use_lock.release()

    def destroy(self) -> None:
        """Stop the server and delete its cluster, wherever it lies.

        Raises ConflictError, and goes on using the server, if another process uses it too.
        """
        with explained(self.data_dir), self._starting():
            if not self._use_lock.acquire():
                self._use_lock.acquire(shared=True, timeout=_LOCK_SECONDS)
                raise ConflictError(f"Another process uses the database in {self.data_dir}.")
            self._open = False
            self._shut_down(self._known_state)
            clusters.remove(self.data_dir, self._known_state)
            self._use_lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _starting(self) -> Iterator[None]:
        if not self._start_lock.acquire(timeout=_PATIENCE):
            self._progress("Waiting for another rota that starts or stops the database")
            if not self._start_lock.acquire(timeout=_LOCK_SECONDS):
                raise self._busy()
        try:
            yield
        finally:
            self._start_lock.release()

    def _busy(self) -> UnavailableError:
        return unavailable(
            f"Another rota has been starting or stopping the database in {self.data_dir} for "
            f"{_LOCK_SECONDS:.0f} seconds. See {self.log_path}.",
        )

    def _bring_up(self) -> bool:
        """Attach to the server or start it; return whether it was started. Needs the start lock."""
        self._state = ServerState.read(self.data_dir)
        account = account_for(
            self.data_dir, self._state.cluster if self._state else None, self._progress
        )
        if self._state is not None and self._ping() == Ping.OK:
            self._note_server()
            self._sign_in(fresh=False)
            return False
        bin_dir = binaries_for(account, self._state_dir, self._progress)
        made = self._make_cluster(account, bin_dir)
        started = self._start(account, bin_dir / "postgres")
        self._note_server()
        self._sign_in(fresh=made)
        return started

    def _make_cluster(self, account: Account, bin_dir: Path) -> bool:
        """Make the cluster if there is none yet; return whether there was none."""
        if self._state is None:
            clusters.sweep_throwaways(self._state_dir, self._stop)
            self._state = clusters.plan(self.data_dir, account, self._state_dir)
            # Written first: a cluster without its passwords would be lost.
            self._state.write(self.data_dir)
        if clusters.exists(self._state.cluster):
            return False
        self._progress(f"Creating the database in {self._state.cluster}")
        if not self._durable:
            clusters.mark_throwaway(self._state.cluster, self.data_dir)
        clusters.create(self._state, account, bin_dir, durable=self._durable)
        return True

    def _start(self, account: Account, binary: Path) -> bool:
        """Wait until a server answers, starting one whenever none runs."""
        began = time.monotonic()
        told = False
        log_offset = self._log.size()
        child: subprocess.Popen[bytes] | None = None
        cluster = self._known_state.cluster
        while (ping := self._ping()) != Ping.OK:
            _reap()
            if child is not None and child.returncode is not None:
                self._check_worth_retrying(log_offset)
                child = None
                time.sleep(_RETRY_PAUSE)
            running = find_postmaster(cluster)
            if running is not None and self._has_lost_socket(cluster):
                self._stop(cluster)
            elif running is None and child is None:
                log_offset = self._log.size()
                child = self._spawn(account, binary)
            waited = time.monotonic() - began
            if waited > (_RECOVERY_SECONDS if ping == Ping.REJECT else _START_SECONDS):
                raise unavailable(
                    f"PostgreSQL did not answer within {waited:.0f} seconds. "
                    f"{self._log_tail(log_offset)}",
                )
            if waited > _PATIENCE and not told:
                self._progress("Waiting for PostgreSQL to answer")
                told = True
            time.sleep(_POLL)
        return child is not None

    def _spawn(self, account: Account, binary: Path) -> subprocess.Popen[bytes]:
        state = clusters.with_socket_dir(self._known_state, account)
        if state != self._state:
            state.write(self.data_dir)
            self._state = state
        clusters.configure(state, account, durable=self._durable)
        clear_stale_lock_files(state.cluster, clusters.socket_path(state))
        self._log.keep_small()
        log = self._log.open()
        try:
            # A session of its own, so that Ctrl-C in the terminal reaches rota alone.
            child = subprocess.Popen(  # noqa: S603 - our own binary, no shell
                [binary, "-D", state.cluster],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **account.process_options(),
            )
        finally:
            os.close(log)
        _CHILDREN.append(child)
        return child

    def _check_worth_retrying(self, log_offset: int) -> None:
        """Raise, unless the server gave up for a reason that passes."""
        log = self._log.since(log_offset)
        if _OTHER_SERVER in log and find_postmaster(self._known_state.cluster):
            return  # another one came first, and will answer
        if _ORPHANS_LEFT in log:
            self._progress("Waiting for the processes of a killed PostgreSQL to end")
            return
        raise unavailable(f"PostgreSQL did not start. {self._log_tail(log_offset)}")

    def _log_tail(self, offset: int) -> str:
        tail = self._log.since(offset) if self._log.size() else ""
        return f"The end of its log ({self.log_path}):\n{tail}" if tail else ""

    def _has_lost_socket(self, cluster: Path) -> bool:
        """Whether a server that is ready cannot be reached: its socket was cleaned away."""
        if clusters.socket_path(self._known_state).exists():
            return False
        with suppress(FileNotFoundError):
            status = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
            return len(status) >= 8 and status[7].strip() == "ready"
        return False

    def _ping(self) -> Ping:
        state = self._known_state
        target = make_conninfo(
            host=str(state.socket_dir),
            port=clusters.PORT,
            user=clusters.OWNER_ROLE,
            dbname="postgres",
            connect_timeout=2,
        )
        return Ping(PGconn.ping(target.encode()))

    def _sign_in(self, *, fresh: bool) -> None:
        try:
            clusters.ensure_database(self._known_state, fresh=fresh)
        except psycopg.OperationalError as error:
            raise unavailable(
                f"The PostgreSQL of {self.data_dir} runs, but refuses rota's connection: {error}",
            ) from error

    def _note_server(self) -> None:
        self._pid = find_postmaster(self._known_state.cluster)
        self._birth = start_mark(self._pid) if self._pid is not None else None

    def _is_running(self) -> bool:
        _reap()
        if self._pid is None:
            return self._ping() == Ping.OK
        return start_mark(self._pid) == self._birth is not None

    def _stop(self, cluster: Path) -> None:
        """Stop the server of a cluster, if it runs, and wait until it is gone."""
        pid = find_postmaster(cluster)
        if pid is None:
            return
        birth = start_mark(pid)
        for kind, seconds in _STOPPING:
            with suppress(ProcessLookupError):
                os.kill(pid, kind)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                _reap()
                if start_mark(pid) != birth:
                    return
                time.sleep(_POLL)

    def _shut_down(self, state: ServerState) -> None:
        """Stop the server, and remove the directory that was made for its socket."""
        self._stop(state.cluster)
        if state.socket_dir != state.cluster:
            shutil.rmtree(state.socket_dir, ignore_errors=True)
