"""What a backup holds, and what a restore made of it."""

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
    """Where a sequence had come to."""

    name: str
    value: int
    is_called: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. `key_id` names the key that opens its `sealed` secrets.

    `key_id` is None where rota had no key yet.
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
    """What was not over in a database: runs, schedules that are due, calls that wait."""

    under_way: int
    due: int
    to_decide: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore brought back, what of it was not over, and whether the key opens it."""

    manifest: Manifest
    left: UnderWay
    cancelled: int
    opens: bool
