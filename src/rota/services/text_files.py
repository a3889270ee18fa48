"""Reads small files that people name on the command line: rules, agents, schemas.

It makes the error for a file that cannot be read. It does not check the content.
"""

from __future__ import annotations

from pathlib import Path

from rota.domain.errors import InvalidInputError


def read_text_file(path: Path, *, most_bytes: int) -> str:
    """Return a file's text, UTF-8; raises InvalidInputError that names the file."""
    try:
        if path.stat().st_size > most_bytes:
            raise InvalidInputError(f"{path} is larger than {most_bytes} bytes.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text.") from error
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error
