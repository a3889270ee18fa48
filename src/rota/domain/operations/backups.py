"""The contents of a backup, and the result of a restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

FORMAT: Final = 1
"""How backups are laid out. A rota reads its own format and those before it."""


@dataclass(frozen=True, slots=True)
class BookedMigration:
    """A migration that the database had when the backup was made."""

    version: str
    name: str
    checksum: str


@dataclass(frozen=True, slots=True)
class KeptTable:
    """A table: its columns, quoted as in SQL, and how many rows of it there are."""

    name: str
    columns: tuple[str, ...]
    rows: int = 0


@dataclass(frozen=True, slots=True)
class KeptSequence:
    """A sequence and its value at the time of the backup."""

    name: str
    value: int
    is_called: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup's description of itself. `key_id` names the key that opens its `sealed` secrets.

    `key_id` is None if rota had no key yet.
    """

    format: int
    rota: str
    taken_at: datetime
    postgres: int
    migrations: tuple[BookedMigration, ...]
    tables: tuple[KeptTable, ...]
    sequences: tuple[KeptSequence, ...]
    sealed: int
    key_id: str | None

    def rows_of(self, table: str) -> int:
        """Return how many rows of a table there are; 0 for one that is not in it."""
        return next((t.rows for t in self.tables if t.name == table), 0)

    @property
    def checksums(self) -> Mapping[str, str]:
        """Checksums of the migrations, by version."""
        return {m.version: m.checksum for m in self.migrations}


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What was unfinished in a database: runs, schedules that are due, calls that wait."""

    under_way: int
    due: int
    to_decide: int


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore: what it restored, what was unfinished, and whether the key fits."""

    manifest: Manifest
    left: UnderWay
    cancelled: int
    opens: bool
