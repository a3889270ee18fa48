"""Writes zip archives with people's data: a new file of mode 0600, visible only once complete."""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from rota.domain.errors import ConflictError, InvalidInputError, UnavailableError

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems without hard links say: those of USB sticks, and some of a network."""

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""What is no fault of the name: the disk is full, or ill."""


@contextmanager
def new_archive(file: Path) -> Iterator[zipfile.ZipFile]:
    """Write an archive beside its place, and put it there when it is whole.

    Raises ConflictError where the file is there, InvalidInputError where it cannot be written, and
    UnavailableError where that passes: the disk is full.
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
            _put(draft_path, file)
        finally:
            draft_path.unlink(missing_ok=True)
    except OSError as error:
        said = f"{file} cannot be written: {error.strerror or error}."
        if error.errno in _PASSING:
            raise UnavailableError(said, service="file") from error
        raise InvalidInputError(said, field="file") from error


def named_entry(name: str, now: datetime) -> zipfile.ZipInfo:
    """Return a compressed entry of an archive, to be written."""
    entry = zipfile.ZipInfo(name, now.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _put(draft: Path, file: Path) -> None:
    """Give a whole file its name; what has that name since is not replaced."""
    try:
        os.link(draft, file)  # unlike a rename, it replaces nothing
    except FileExistsError:
        raise ConflictError(f"{file} is there already. Name a new file.") from None
    except OSError as error:
        if error.errno not in _NO_LINKS or file.exists():
            raise
        draft.rename(file)
