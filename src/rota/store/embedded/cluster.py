"""A database cluster on disk: its directory, its creation and its configuration."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from rota.store.embedded.binaries import MAJOR_VERSION, Account, make_state_dir
from rota.store.embedded.files import ROOT, ServerState, unavailable
from rota.store.roles import BACKEND_ROLE

OWNER_ROLE: Final = "rota"
DATABASE: Final = "rota"
PORT: Final = 5432  # names the socket's file; nothing listens on a network

_CLUSTER_NAME: Final = "postgres"
_SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET: Final = 100  # bytes; the systems' own limits are 104 and 108
_PLAIN_PATH: Final = re.compile(r"[\w/.+@-]+", re.ASCII)
_CONNECT_SECONDS: Final = 5

_SETTINGS: Final = {
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "lc_messages": "'C'",
    "default_text_search_config": "'pg_catalog.english'",
    "password_encryption": "'scram-sha-256'",
    "log_destination": "'stderr'",
    "logging_collector": "off",
    "log_line_prefix": "'%m [%p] %q%u@%d '",
    "log_checkpoints": "off",
    # Parameters hold mail and secrets; statements alone do not.
    "log_parameter_max_length_on_error": "0",
}
_THROWAWAY_SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def url(state: ServerState, role: str, database: str = DATABASE) -> str:
    """Return the connection URL of the owner, a superuser, or of the role that rota works as."""
    secret = state.owner_password if role == OWNER_ROLE else state.backend_password
    host = quote(str(state.socket_dir), safe="")
    return f"postgresql://{role}:{quote(secret, safe='')}@/{database}?host={host}&port={PORT}"


def plan(data_dir: Path, account: Account, state_dir: Path) -> ServerState:
    """Choose the place and the passwords of a new cluster."""
    if (data_dir / _CLUSTER_NAME).exists():
        raise unavailable(
            f"The file with the passwords of the database in {data_dir} is gone (postgres.json). "
            "Restore it from a backup, or start with an empty directory.",
            permanent=True,
        )
    cluster = _place(data_dir, account, state_dir)
    return ServerState(
        cluster=cluster,
        socket_dir=cluster,
        owner_password=secrets.token_urlsafe(32),
        backend_password=secrets.token_urlsafe(32),
    )


def _place(data_dir: Path, account: Account, state_dir: Path) -> Path:
    inside = data_dir / _CLUSTER_NAME
    if data_dir.stat().st_uid == account.uid:
        return inside
    # We are root, and the server will not be.
    if account.reaches(data_dir.parent):
        # Its account may pass through the directory, and neither list it nor write to it.
        os.chown(data_dir, ROOT, account.gid)
        data_dir.chmod(0o710)
        return inside
    clusters = state_dir / "clusters"
    make_state_dir(state_dir)
    make_state_dir(clusters)
    name = re.sub(r"[^a-zA-Z0-9]+", "-", data_dir.name)[:40]
    return clusters / f"{name}-{secrets.token_hex(6)}"


def exists(cluster: Path) -> bool:
    """Whether the cluster was made. Raises UnavailableError where another major version made it."""
    try:
        made_by = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return False
    if made_by != MAJOR_VERSION:
        raise unavailable(
            f"The database in {cluster} was made by PostgreSQL {made_by}, and this rota brings "
            f"PostgreSQL {MAJOR_VERSION}. Go back to the rota that made it, run `rota "
            "backup FILE`, and with this one `rota restore FILE` into a new data directory.",
            permanent=True,
        )
    return True


def create(state: ServerState, account: Account, bin_dir: Path, *, durable: bool) -> None:
    """Make the cluster: beside its place first, so that a half-made one is never taken for one."""
    parent = state.cluster.parent
    prefix = f"{state.cluster.name}.new-"
    for abandoned in parent.glob(f"{prefix}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    account.take_ownership(draft)
    try:
        _initdb(draft, state.owner_password, account, bin_dir, durable=durable)
        (draft / "cluster").rename(state.cluster)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _initdb(draft: Path, password: str, account: Account, bin_dir: Path, *, durable: bool) -> None:
    # A file, because a process's arguments are there for all to read.
    password_file = draft / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password, encoding="ascii")
    account.take_ownership(password_file)
    command: list[str | Path] = [bin_dir / "initdb", "--pgdata", draft / "cluster"]
    command += ["--username", OWNER_ROLE, "--pwfile", password_file, "--auth", "scram-sha-256"]
    # The builtin locale sorts by code point on every system, and folds case in all scripts.
    command += ["--encoding", "UTF8", "--locale", "C"]
    command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    command += ["--no-instructions"] if durable else ["--no-instructions", "--no-sync"]
    made = account.run(command)
    if made.returncode != 0:
        tail = "\n".join(made.stdout.strip().splitlines()[-12:])
        raise unavailable(
            f"The database could not be created in {draft.parent}. initdb said:\n{tail}",
        )


def configure(state: ServerState, account: Account, *, durable: bool) -> None:
    """Write postgresql.conf. ALTER SYSTEM has a file of its own, which stays and comes first."""
    settings = dict(_SETTINGS)
    settings["unix_socket_directories"] = f"'{state.socket_dir}'"
    if not durable:
        settings |= _THROWAWAY_SETTINGS
    lines = ["# Written by rota at every start. Use ALTER SYSTEM for settings of your own."]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    path = state.cluster / "postgresql.conf"
    draft = path.with_suffix(".conf.new")
    draft.touch(mode=0o600)
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    account.take_ownership(draft)
    draft.replace(path)


def with_socket_dir(state: ServerState, account: Account) -> ServerState:
    """Return the state with a usable directory for the socket: the cluster, if its path is short.

    Otherwise a directory of the server's own, 0700, in a short place; its name is random where
    others could have made it first, and one that is not ours alone is never used.
    """
    if _fits(state.cluster):
        return replace(state, socket_dir=state.cluster)
    if state.socket_dir != state.cluster and _fits(state.socket_dir):
        try:
            state.socket_dir.mkdir(mode=0o700)
            account.take_ownership(state.socket_dir)
        except FileExistsError:
            pass
        except FileNotFoundError:
            return _with_new_socket_dir(state, account)
        found = state.socket_dir.lstat()
        if (found.st_mode, found.st_uid) == (stat.S_IFDIR | 0o700, account.uid):
            return state
    return _with_new_socket_dir(state, account)


def _with_new_socket_dir(state: ServerState, account: Account) -> ServerState:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "") if account.is_self else "/run"
    for base in (runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it safe
        usable = Path(base).is_absolute() and os.access(base, os.W_OK | os.X_OK)
        if usable and _fits(Path(base) / "rota-12345678") and account.reaches(Path(base)):
            made = Path(tempfile.mkdtemp(prefix="rota-", dir=base))
            account.take_ownership(made)
            return replace(state, socket_dir=made)
    raise unavailable(
        f"The path of {state.cluster} is too long for a socket, and no directory for temporary "
        "files can be written to. Name a shorter --data-dir.",
    )


def _fits(directory: Path) -> bool:
    path = str(directory / _SOCKET_NAME)
    return len(os.fsencode(path)) < _LONGEST_SOCKET and bool(_PLAIN_PATH.fullmatch(path))


def socket_path(state: ServerState) -> Path:
    """Return the path of the server's socket."""
    return state.socket_dir / _SOCKET_NAME


def ensure_database(state: ServerState, *, fresh: bool) -> None:
    """See that rota can sign in, and make its role and database if they are missing.

    On a fresh cluster they are, and trying first would only leave a complaint in the log.

    Raises psycopg.OperationalError if the server does not let the owner in.
    """
    if fresh:
        _make_database(state)
        return
    try:
        psycopg.connect(url(state, BACKEND_ROLE), connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.OperationalError:
        _make_database(state)


def _make_database(state: ServerState) -> None:
    maintenance = url(state, OWNER_ROLE, "postgres")
    with psycopg.connect(
        maintenance, autocommit=True, connect_timeout=_CONNECT_SECONDS
    ) as connection:
        # Hashed here: the password itself never reaches the server, nor its log.
        verifier = connection.pgconn.encrypt_password(
            state.backend_password.encode(), BACKEND_ROLE.encode(), b"scram-sha-256"
        ).decode()
        role = sql.Identifier(BACKEND_ROLE)
        if not _found(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", BACKEND_ROLE):
            connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        connection.execute(
            sql.SQL(
                "ALTER ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE "
                "NOREPLICATION PASSWORD {}"
            ).format(role, sql.Literal(verifier))
        )
        if not _found(connection, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(OWNER_ROLE)
                )
            )


@contextmanager
def copied_database(state: ServerState, name: str) -> Iterator[tuple[str, str]]:
    """Copy rota's database, which nobody may use meanwhile, for the life of the block.

    Yields the URLs of its owner and of rota's role.
    """
    made = sql.Identifier(name)
    maintenance = url(state, OWNER_ROLE, "postgres")
    with psycopg.connect(
        maintenance, autocommit=True, connect_timeout=_CONNECT_SECONDS
    ) as connection:
        template = sql.Identifier(DATABASE)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made, template))
        try:
            yield url(state, OWNER_ROLE, name), url(state, BACKEND_ROLE, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(made))


@contextmanager
def replaced_database(state: ServerState, name: str) -> Iterator[str]:
    """Make a database, and let it take the place of rota's after the block; drop it on an error.

    One at a time: what an earlier one left that was killed is dropped first.
    """
    made, current, old = map(sql.Identifier, (name, DATABASE, f"old_{name}"))
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with psycopg.connect(
        url(state, OWNER_ROLE, "postgres"), autocommit=True, connect_timeout=_CONNECT_SECONDS
    ) as connection:
        left = "SELECT datname FROM pg_database WHERE datname ~ '^(old_)?new_[0-9a-f]{12}$'"
        for (abandoned,) in connection.execute(left).fetchall():
            connection.execute(drop.format(sql.Identifier(abandoned)))
        owner = sql.Identifier(OWNER_ROLE)
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(made, owner))
        try:
            yield url(state, OWNER_ROLE, name)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname IN (%s, %s) AND pid <> pg_backend_pid()",
                [DATABASE, name],
            )
            with connection.transaction():  # both or none: there is always a database of the name
                connection.execute(rename.format(current, old))
                connection.execute(rename.format(made, current))
        except BaseException:
            connection.execute(drop.format(made))
            raise
        connection.execute(drop.format(old))


def _found(connection: psycopg.Connection, query: str, name: str) -> bool:
    return connection.execute(query.encode(), [name]).fetchone() is not None


def sweep_throwaways(state_dir: Path, stop: Callable[[Path], None]) -> None:
    """Delete the throwaway clusters in root's state directory whose data directories are gone."""
    if os.geteuid() != ROOT:
        return
    for marker in (state_dir / "clusters").glob("*.throwaway"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if not Path(marker.read_text(encoding="utf-8")).exists():
                cluster = marker.with_suffix("")
                stop(cluster)
                shutil.rmtree(cluster, ignore_errors=True)
                marker.unlink()


def mark_throwaway(cluster: Path, data_dir: Path) -> None:
    """Note that a cluster outside its data directory may go when that directory is gone."""
    if not cluster.is_relative_to(data_dir):
        marker = cluster.with_name(f"{cluster.name}.throwaway")
        marker.write_text(str(data_dir), encoding="utf-8")


def remove(data_dir: Path, state: ServerState) -> None:
    """Delete a stopped cluster, what names it, and its socket's directory."""
    shutil.rmtree(state.cluster, ignore_errors=True)
    if state.cluster.parent != data_dir:
        state.cluster.with_name(f"{state.cluster.name}.throwaway").unlink(missing_ok=True)
    ServerState.forget(data_dir)
