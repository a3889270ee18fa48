"""Reads and writes sets of files in a directory. Nothing outside of it is read or written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from rota.domain.errors import ConflictError, InvalidInputError
from rota.services.agent_files.faults import Faults
from rota.services.agent_files.file_sets import (
    AGENTS,
    ENDINGS,
    MOST_FILES,
    SEEN,
    Seen,
    carry_over,
    hash_of,
    is_export_name,
    read_seen,
)
from rota.services.text_files import read_text_file

LARGEST_FILE: Final = 2_000_000
"""Bytes."""

_FOLDER: Final = AGENTS.rstrip("/")


@dataclass(frozen=True, slots=True)
class Written:
    """What an export did in a directory, by the names of files.

    `kept` are files of things that are gone: written by an export, and left there.
    """

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


def read_directory(folder: Path) -> dict[str, str]:
    """Return the files of a directory by their names, for FileSetService to apply.

    These are the YAML and JSON files in it and anywhere in its folder `agents`, without hidden
    ones, and the note of an export. Raises InvalidInputError for all that cannot be read at once.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no directory. `rota export {folder}` makes it.")
    found: dict[str, str] = {}
    faults = Faults()
    for path in sorted(_paths(folder)):
        name = path.relative_to(folder).as_posix()
        with faults.gathered():
            if path.is_symlink() or not path.is_file():
                raise InvalidInputError(f"{path} is no plain file; links are not followed.")
            if len(found) > MOST_FILES:
                raise InvalidInputError(f"{folder} has more than {MOST_FILES} files.")
            found[name] = read_text_file(path, most_bytes=LARGEST_FILE)
    faults.check(by_line=False)
    if not found:
        raise InvalidInputError(f"{folder} has no YAML or JSON files. `rota export` writes some.")
    return found


def write_directory(
    folder: Path, files: Mapping[str, str], *, prune: bool = False, force: bool = False
) -> Written:
    """Write an export; with `prune` remove files of what is gone, if an export wrote them.

    Raises ConflictError, with nothing written, where a file was changed since an export wrote it,
    or was never written by one, unless `force`. Raises InvalidInputError for links and what cannot
    be written.
    """
    try:
        return _write(folder, files, prune=prune, force=force)
    except OSError as error:
        where = error.filename or folder
        raise InvalidInputError(f"{where} cannot be written: {error.strerror}.") from error


def _write(folder: Path, files: Mapping[str, str], *, prune: bool, force: bool) -> Written:
    _check_folder(folder)
    _check_folder(folder / _FOLDER)
    seen = _seen(folder)
    there = {name: _text(folder / name) for name in [*files, *seen]}
    edited = [
        str(folder / name)
        for name, text in there.items()
        if name != SEEN
        and text is not None
        and text != files.get(name)
        and (name in files or prune)
        and (name not in seen or seen[name].text != hash_of(text))
    ]
    if edited and not force:
        raise ConflictError(
            "\n".join(f"{one} is not as an export wrote it." for one in edited)
            + "\nNothing was written. Apply or commit your changes first; --force writes over them."
        )
    gone = [name for name in seen if name not in files and there[name] is not None]
    removed = gone if prune else []
    kept = [name for name in gone if name not in removed]
    files = {**files, SEEN: carry_over(files[SEEN], {name: seen[name] for name in kept})}
    changed = [name for name, text in files.items() if there.get(name) != text]
    (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
    for name in changed:
        _replace(folder / name, files[name])
    for name in removed:
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    return Written(
        tuple(name for name in changed if name != SEEN),
        tuple(name for name in files if name not in changed and name != SEEN),
        tuple(removed),
        tuple(kept),
    )


def _paths(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        is_wanted = path.suffix in ENDINGS and not path.name.startswith(".")
        if is_wanted or path.name == SEEN:
            yield path
    inside = folder / _FOLDER
    _check_folder(inside)
    for parent, folders, names in os.walk(inside, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in [*folders, *names]:
            path = Path(parent, name)
            if path.is_symlink() or (path.suffix in ENDINGS and not name.startswith(".")):
                yield path


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is a link within, or a file."""
    if folder.name == _FOLDER and folder.is_symlink():
        raise InvalidInputError(f"{folder} is a link; links are not followed.")
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is no directory.")


def _seen(folder: Path) -> dict[str, Seen]:
    """Return what an earlier export wrote here; other names may be anything, and are left alone."""
    text = _text(folder / SEEN)
    seen = read_seen(text) if text is not None else None
    return {name: one for name, one in (seen or {}).items() if is_export_name(name)}


def _text(path: Path) -> str | None:
    if path.is_symlink():
        raise InvalidInputError(f"{path} is a link; links are not followed.")
    if not path.exists():
        return None
    return read_text_file(path, most_bytes=LARGEST_FILE)


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".rota-", delete=False, newline="\n"
    ) as out:
        out.write(text)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    Path(out.name).chmod(mode)
    Path(out.name).replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
