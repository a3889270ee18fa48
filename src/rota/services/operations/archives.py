"""Zip archives that hold people's data: new, of mode 0600, and there only when they are whole."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rota.domain.errors import ConflictError, UnavailableError


@contextmanager
def new_archive(file: Path) -> Iterator[zipfile.ZipFile]:
    """Write an archive beside its place, and put it there when it is whole.

    Raises ConflictError where the file is there, UnavailableError where it cannot be written.
    """
    if file.exists():
        raise ConflictError(f"{file} is there already. Name a new file.")
    draft_path = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w+b") as opened:
                with zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive:
                    yield archive
                opened.flush()
                os.fsync(opened.fileno())
            os.link(draft_path, file)  # unlike a rename, it replaces nothing
        finally:
            draft_path.unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"{file} cannot be written: {error.strerror or error}.", service="file"
        ) from error


def named_entry(name: str, now: datetime) -> zipfile.ZipInfo:
    """Return a compressed entry of an archive, to be written."""
    entry = zipfile.ZipInfo(name, now.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
