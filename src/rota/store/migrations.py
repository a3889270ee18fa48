"""Applies `supabase/migrations` to embedded, plain and Supabase PostgreSQL alike.

It runs plain SQL files in the order of their names. All pending files run in one transaction, under
an advisory lock, and are recorded in `rota.schema_migrations`. It waits for no lock for long: see
store/lock_waits.py. A file that Supabase's CLI has applied already is only recorded. A database
from before the first release is refused, because no file leads from it to this schema.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import psycopg

from rota.domain.errors import MigrationError, UnavailableError
from rota.store.database import Connection
from rota.store.errors import domain_error
from rota.store.lock_waits import Patience, despite_locks, limit_waiting
from rota.store.roles import grant_request_roles, require_owner_to_migrate, require_request_roles
from rota.store.statements import many, statement, value, values

_LOCK_KEY: Final = 0x726F7461  # "rota"
_MADE_OR_DROPPED: Final = re.compile(
    r"^(CREATE|DROP|ALTER) (?:OR REPLACE )?(?:UNLOGGED )?(TABLE|VIEW|FUNCTION) (?:IF EXISTS )?"
    r"(public|rota)\.(\w+)([^;]*)",
    re.MULTILINE,
)
_RENAMED: Final = re.compile(r"\bRENAME TO (\w+)")
_CREATED_TABLE: Final = re.compile(
    r"^CREATE (?:UNLOGGED )?TABLE ((?:public|rota)\.\w+)", re.MULTILINE
)

_FIRST_BEFORE_RELEASE: Final = "20260216000000"
"""Version of the first file of the schema before the first release: whatever database was made then
has it booked, and none that is made since."""

_PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `version` is its leading digits, as Supabase's CLI counts them."""

    version: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, to notice a file that was edited after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Booked:
    """A record of Supabase's CLI: `name` follows the number in the file's name, or is NULL."""

    version: str
    name: str | None


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """The names of the files that a call of `migrate` handled, in order."""

    applied: tuple[str, ...]
    adopted: tuple[str, ...]
    already: tuple[str, ...]


def migrations() -> tuple[Migration, ...]:
    """Return the shipped files in order: from the wheel, or from the checkout."""
    in_wheel = Path(str(files("rota"))) / "migrations"
    in_checkout = Path(str(files("rota"))).parents[1] / "supabase" / "migrations"
    folder = in_wheel if in_wheel.is_dir() else in_checkout
    found = tuple(
        Migration(path.stem.split("_", 1)[0], path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.sql"))
    )
    if not found:
        raise MigrationError("No migrations were found in this installation; install rota again.")
    return found


def tables_made() -> tuple[str, ...]:
    """Return the tables and views that the shipped files make and drop no more: `public.tools`."""
    return tuple(name for name, is_function in _made_by(migrations()) if not is_function)


async def migrate(
    url: str, *, shipped: Sequence[Migration] | None = None, patience: Patience = _PATIENCE
) -> MigrationReport:
    """Bring the schema up to date; safe to call twice and from two places at once.

    `url` is that of the owner. Raises MigrationError, which says what to do, if a migration fails
    or a lock cannot be had within `patience`. Raises UnavailableError if the server does not answer
    or the connection breaks. After an error the schema is as before.
    """
    pending = tuple(shipped) if shipped is not None else migrations()
    try:
        conn = await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise UnavailableError(
            f"The database refused a connection: {' '.join(str(error).split())}",
            service="database",
        ) from error
    async with conn:
        if (problem := await encoding_problem(conn)) is not None:
            raise MigrationError(problem)

        async def attempt() -> MigrationReport:
            async with conn.transaction():
                await limit_waiting(conn, patience)
                await conn.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_KEY])
                return await _migrate(conn, pending)

        try:
            return await despite_locks(conn, url, patience, attempt)
        except psycopg.errors.InsufficientPrivilege as error:
            raise MigrationError(
                f"The database role may not change the schema ({error.diag.message_primary}). "
                "Run `rota migrate` once with the URL of the role that owns the database."
            ) from error
        except psycopg.Error as error:
            raise domain_error(error, {}) from error


async def encoding_problem(conn: Connection) -> str | None:
    """Say why a database's encoding cannot hold what people and agents write, None where it can.

    Of a database in SQL_ASCII psycopg returns bytes instead of text.
    """
    encoding = conn.info.parameter_status("server_encoding")
    if encoding in {None, "UTF8"}:
        return None
    made = await value(conn, "fetch_new_database", _text)
    return (
        f"The database {conn.info.dbname} is encoded in {encoding}, and rota needs UTF8. Make "
        f"another one as a superuser, and name it in the URL: {made};"
    )


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")


async def pending_migrations(conn: Connection) -> tuple[str, ...]:
    """Return the names of the shipped files that this database lacks; anybody may ask.

    Raises MigrationError where its encoding cannot be worked with, or where it was made before the
    first release.
    """
    if (problem := await encoding_problem(conn)) is not None:
        raise MigrationError(problem)
    booked = await _booked(conn)
    return tuple(m.name for m in migrations() if m.version not in booked)


async def _require_owner_for(conn: Connection, shipped: Sequence[Migration]) -> None:
    """Raise MigrationError for another than the owner, where there is anything to apply."""
    booked = await _booked(conn)
    if any(migration.version not in booked for migration in shipped):
        await require_owner_to_migrate(conn)


async def _migrate(conn: Connection, shipped: Sequence[Migration]) -> MigrationReport:
    await _require_owner_for(conn, shipped)
    await require_request_roles(conn)
    if await value(conn, "lacks_auth_uid", bool):
        await conn.execute(files("rota.store").joinpath("auth_shim.sql").read_bytes())
    booked = await _booked(conn)
    by_supabase = await _applied_by_supabase(conn)
    _refuse_before_release(by_supabase)
    await _refuse_foreign_bookings(conn, shipped, booked, by_supabase)
    applied: list[str] = []
    adopted: list[str] = []
    if not booked:
        await conn.execute(statement("create_schema_migrations"))
    for migration in shipped:
        if migration.version in booked:
            if booked[migration.version] != migration.checksum:
                raise MigrationError(
                    f"Migration {migration.name} was changed after it was applied to this "
                    "database. Restore the file, and put the change into a new migration."
                )
            continue
        if migration.version in by_supabase:
            adopted.append(migration.name)
        else:
            await _refuse_foreign_tables(conn, migration)
            await conn.execute(migration.sql.encode())
            applied.append(migration.name)
        await conn.execute(
            statement("book_migration"),
            {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
        )
    await grant_request_roles(conn)
    if applied:
        await conn.execute(statement("narrow_rights"))
    already = tuple(m.name for m in shipped if m.version in booked)
    return MigrationReport(tuple(applied), tuple(adopted), already)


async def _booked(conn: Connection) -> dict[str, str]:
    if not await value(conn, "has_schema_migrations", bool):
        return {}
    cursor = await conn.execute("SELECT version, checksum FROM rota.schema_migrations")
    booked: dict[str, str] = dict(await cursor.fetchall())
    _refuse_before_release(booked)
    return booked


async def _applied_by_supabase(conn: Connection) -> dict[str, str | None]:
    if not await value(conn, "has_supabase_migrations", bool):
        return {}
    found = await many(conn, "list_supabase_migrations", _Booked)
    return {one.version: one.name for one in found}


async def _refuse_foreign_bookings(
    conn: Connection,
    shipped: Sequence[Migration],
    booked: Container[str],
    by_supabase: Mapping[str, str | None],
) -> None:
    """Raise MigrationError unless what is adopted now is rota's own, and was really applied."""
    adopted = [m for m in shipped if m.version in by_supabase and m.version not in booked]
    for migration in adopted:
        name = by_supabase[migration.version]
        if name is not None and name != migration.name.partition("_")[2]:
            raise MigrationError(
                f"Supabase's CLI has applied a migration {migration.version}_{name}, which is not "
                f"rota's: rota's of that number is {migration.name}. Give yours another number: "
                "rename its file, then supabase migration repair --status reverted "
                f"{migration.version}, and --status applied with the new number."
            )
    made = _made_by(adopted)
    absent = await values(
        conn,
        "list_absent",
        str,
        relations=[name for name, is_function in made if not is_function],
        functions=[name for name, is_function in made if is_function],
    )
    for (name, is_function), migration in made.items():
        shown = f"{name}()" if is_function else name
        if shown not in absent:
            continue
        raise MigrationError(
            f"Supabase's CLI has {migration.name} as applied, but {shown}, which that makes, is "
            "not there. Have it applied: supabase migration repair --status reverted "
            f"{migration.version}, then supabase db push --include-all."
        )


def _made_by(files_of: Sequence[Migration]) -> dict[tuple[str, bool], Migration]:
    """Return what these files make and drop no more: (name, is a function) to its file."""
    made: dict[tuple[str, bool], Migration] = {}
    for migration in files_of:
        for verb, kind, schema, name, rest in _MADE_OR_DROPPED.findall(migration.sql):
            is_function = kind == "FUNCTION"
            renamed = _RENAMED.search(rest) if verb == "ALTER" else None
            if verb == "DROP" or renamed is not None:
                made.pop((f"{schema}.{name}", is_function), None)
            if verb == "CREATE" or renamed is not None:
                now = name if renamed is None else renamed[1]
                made[f"{schema}.{now}", is_function] = migration
    return made


def _refuse_before_release(versions: Container[str]) -> None:
    if _FIRST_BEFORE_RELEASE in versions:
        raise MigrationError(
            "This database was made by a rota from before its first release, and cannot "
            "be updated. Nothing in it is changed or exported. Start with a new data "
            "directory (ROTA_DATA_DIR) or with a new, empty database "
            "(ROTA_DATABASE_URL)."
        )


async def _refuse_foreign_tables(conn: Connection, migration: Migration) -> None:
    for table in _CREATED_TABLE.findall(migration.sql):
        cursor = await conn.execute("SELECT to_regclass(%s)", [table])
        if await cursor.fetchone() != (None,):
            raise MigrationError(
                f"There is already a table {table} that rota did not make (migration "
                f"{migration.name} is not recorded here). Rename or move that table, or "
                "give rota a database of its own."
            )
