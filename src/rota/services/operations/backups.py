"""Backups: writes a snapshot of all rows to a zip file, and restores it. It leaves out the key.

Each table is a file in PostgreSQL's text format, which any server reads (`COPY ... FROM`).
`manifest.json` lists the content. It is written last, so a file without it is incomplete.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from rota.domain.approvals.actions import ActionStatus
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    MigrationError,
    NotFoundError,
)
from rota.domain.ids import ResultId, UserId
from rota.domain.notifications.notification import NewNotification
from rota.domain.operations.backups import (
    FORMAT,
    BookedMigration,
    KeptSequence,
    KeptTable,
    Manifest,
    UnderWay,
)
from rota.domain.runs.run import Outcome, ResultStatus, RunStatus
from rota.domain.text.sentences import sentence
from rota.security.secrets.encryption import Cipher
from rota.services.notifications.service import draft, draft_unknown_outcome, write_notifications
from rota.services.operations.archives import named_entry, new_archive
from rota.store.approvals import actions as action_rows
from rota.store.database import Connection
from rota.store.migrations import Migration, migrations
from rota.store.operations import backups as rows
from rota.store.operations import processes
from rota.store.operations.backups import CancelledRun
from rota.store.operations.sealed import count_sealed
from rota.store.runs import rows as run_rows
from rota.store.runs.admission import delete_jobs
from rota.version import __version__

_MANIFEST: Final = "manifest.json"
_BLOCK: Final = 1 << 20
_READ: Final = TypeAdapter(Manifest)


async def back_up(url: str, file: Path, *, cipher: Cipher | None, now: datetime) -> Manifest:
    """Write what the database holds at one moment to a new file of mode 0600.

    `url` is the owner's; rota may run meanwhile. Raises ConflictError where the file is there,
    SetupRequiredError for another role, InvalidInputError where the file cannot be written,
    UnavailableError where the disk is full. A file that is not
    whole does not stay.
    """
    with new_archive(file) as archive:
        async with rows.session(url, reads_only=True) as conn:
            booked = await rows.list_booked(conn)
            if not booked:
                raise NotFoundError("schema of rota's", "in this database", hint="Nothing to keep.")
            _refuse_newer(booked)
            tables = [rows.PEOPLE, *await rows.list_tables(conn)]
            counted: list[KeptTable] = []
            for table in tables:
                named = named_entry(_entry(table), now)
                with archive.open(named, "w", force_zip64=True) as entry:
                    count = await rows.copy_out(conn, table, entry.write)
                counted.append(replace(table, rows=count))
            manifest = Manifest(
                format=FORMAT,
                rota=__version__,
                taken_at=now,
                postgres=conn.info.server_version // 10_000,
                migrations=booked,
                tables=tuple(counted),
                sequences=await rows.list_sequences(conn, tables[1:]),
                sealed=await count_sealed(conn),
                key_id=cipher.key_id if cipher is not None else None,
            )
        archive.writestr(_MANIFEST, _READ.dump_json(manifest, indent=2))
    return manifest


class Backup:
    """A backup that is open for reading, as `open_backup` yields it."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def blocks_of(self, table: KeptTable) -> Iterator[bytes]:
        """Yield a table's rows."""
        with self._archive.open(_entry(table)) as entry:
            while block := entry.read(_BLOCK):
                yield block


@contextmanager
def open_backup(file: Path) -> Iterator[Backup]:
    """Open a backup, and check that it is one, is whole, and is not of a newer rota.

    Raises InvalidInputError, also where it cannot be read, and MigrationError.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _READ.validate_json(archive.read(_MANIFEST))
            if manifest.format > FORMAT:
                raise MigrationError("This backup was made by a newer rota. Install that one.")
            _refuse_newer(manifest.migrations)
            yield Backup(archive, manifest)
    except (zipfile.BadZipFile, KeyError, ValidationError, EOFError) as error:
        raise InvalidInputError(
            f"{file} is no backup of rota's, or is not whole. Nothing was changed.", field="file"
        ) from error
    except OSError as error:
        raise InvalidInputError(
            f"{file} cannot be read: {error.strerror or error}.", field="file"
        ) from error


def migrations_of(manifest: Manifest) -> tuple[Migration, ...]:
    """Return the shipped files that the database of a backup had."""
    return tuple(m for m in migrations() if m.version in manifest.checksums)


async def check_replaceable(url: str, *, replaces: bool, is_fresh: bool) -> None:
    """See that nothing runs on a database, and that it is empty, or may be replaced.

    Raises ConflictError, and SetupRequiredError for another role than the owner.
    """
    async with rows.session(url, reads_only=True) as conn:
        if not await rows.list_booked(conn):
            return
        alive = [p for p in await processes.list_processes(conn) if p.is_alive]
        if alive:
            named = ", ".join(f"{p.kind} {p.pid} on {p.host}" for p in alive)
            raise ConflictError(
                f"rota runs on this database ({named}). Stop it first. One that was killed counts "
                "for a minute."
            )
        tables = await rows.list_tables(conn)
        if not replaces and await rows.holds_rows(conn, tables):
            instead = "another data directory" if is_fresh else "an empty database"
            raise ConflictError(
                f"This database is not empty. Restore into {instead}, or give --replace: what is "
                "in it now is deleted."
            )


async def check_same_schema(url: str, manifest: Manifest) -> None:
    """See that a database has no migration that the backup lacks; raises ConflictError."""
    async with rows.session(url, reads_only=True) as conn:
        booked = await rows.list_booked(conn)
    if newer := [m for m in booked if m.version not in manifest.checksums]:
        raise ConflictError(
            f"The schema of this database is newer than the backup's by {len(newer)} migrations. "
            "Restore into a new, empty database: it is brought up to date there."
        )


async def reached_sequences(url: str) -> tuple[KeptSequence, ...]:
    """Return how far a database has numbered its rows and attempts; nothing where rota is not."""
    async with rows.session(url, reads_only=True) as conn:
        if not await rows.list_booked(conn):
            return ()
        return await rows.list_sequences(conn, await rows.list_tables(conn))


async def load(
    url: str,
    backup: Backup,
    *,
    reached: Sequence[KeptSequence],
    goes_on: bool,
    skips_due: bool,
) -> tuple[UnderWay, int]:
    """Replace the rows of a database that has the backup's schema, in one transaction.

    Runs that were under way are cancelled, and their people told, unless work `goes_on`. Numbers
    go on above those that were `reached` in the database that this one replaces. Returns
    what was not over, and how many runs were cancelled. Raises ConflictError where people are
    missing, InvalidInputError for a damaged file.
    """
    manifest = backup.manifest
    async with rows.session(url, reads_only=False) as conn:
        tables = await rows.list_tables(conn)
        _refuse_foreign(manifest, tables)
        await rows.copy_in(conn, manifest.tables, backup.blocks_of)
        await rows.advance_sequences(conn, (*manifest.sequences, *reached))
        if skips_due:
            await rows.skip_due(conn)
        left = await rows.what_is_left(conn)
        cancelled = 0 if goes_on else await _cancel_runs(conn, manifest.taken_at)
    return left, cancelled


async def _cancel_runs(conn: Connection, taken_at: datetime) -> int:
    when = f"{taken_at:%Y-%m-%d %H:%M} UTC"
    why = f"rota was restored from a backup of {when}; what this run did after it is not known"
    runs = await rows.cancel_runs(conn, why)
    await delete_jobs(conn, [run.id for run in runs])
    notices: list[NewNotification] = []
    for run in runs:
        if run.status is RunStatus.RUNNING:
            notices += await _end_run(conn, run, why)
    per_person: Counter[UserId] = Counter(run.user_id for run in runs)
    notices += [
        draft(
            user_id,
            f"rota was restored from a backup of {when}",
            f"{'1 run of yours was' if count == 1 else f'{count} runs of yours were'} under way "
            "then. What they did after it is not known, so they are cancelled and not repeated by "
            "themselves. `rota runs list` shows them; look what they did, then `rota runs retry "
            "RUN` where you want it done.",
        )
        for user_id, count in per_person.items()
    ]
    await write_notifications(conn, notices)
    return len(runs)


async def _end_run(conn: Connection, run: CancelledRun, why: str) -> list[NewNotification]:
    """End a run as cancelled in the place of its worker, and return what its person is told."""
    held = await run_rows.hold_run(conn, run.id)
    if held is None:
        return []
    content = sentence(f"Cancelled: {why}")
    outcome = Outcome(
        run_id=held.run_id,
        result_id=ResultId(uuid4()),
        session_id=held.session_id,
        agent_name=held.agent_name,
        status=ResultStatus.ERROR,
        content=content,
        pending_actions_created=0,
        duration_ms=0,
        metadata={"session_id": held.session_id, "attempt": held.attempt, "cancelled": why},
    )
    await run_rows.finish_runs(conn, [(held.token, outcome, None)])
    notices = [
        draft(
            held.user_id,
            f"{held.agent_name} was cancelled",
            content,
            metadata={"result_id": str(outcome.result_id), "status": outcome.status.value},
            run_id=held.run_id,
        )
    ]
    if run.action_id is not None:
        found = await action_rows.fetch_to_execute(conn, action_id=run.action_id)
        if found is not None and found.action.status in {
            ActionStatus.APPROVED,
            ActionStatus.RUNNING,
        }:
            became = await action_rows.close(conn, found.action, content)
            if became is ActionStatus.UNKNOWN:
                notices.append(
                    draft_unknown_outcome(
                        held.user_id,
                        found.action.tool_name,
                        found.action.id,
                        agent_name=held.agent_name,
                        run_id=held.run_id,
                    )
                )
    return notices


def _refuse_newer(booked: Sequence[BookedMigration]) -> None:
    shipped = {m.version: m.checksum for m in migrations()}
    if any(shipped.get(m.version) != m.checksum for m in booked):
        raise MigrationError(
            "The schema was made by another rota, a newer one. Install that rota for this."
        )


def _refuse_foreign(manifest: Manifest, tables: Sequence[KeptTable]) -> None:
    """Let a file name no table and no column that rota does not have: they become SQL."""
    known = {table.name: set(table.columns) for table in (rows.PEOPLE, *tables)}
    for table in manifest.tables:
        if not set(table.columns) <= known.get(table.name, set()):
            raise InvalidInputError(
                f"The backup has a table that rota does not: {table.name[:80]}.", field="file"
            )


def _entry(table: KeptTable) -> str:
    return f"tables/{table.name}.tsv"
