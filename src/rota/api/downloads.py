"""Answers that are files: written first, then sent, however slowly their reader takes them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO, Final

from fastapi.responses import StreamingResponse

from rota.api.answers import KEPT_NOWHERE

_PIECE: Final = 65_536


async def download_lines(lines: AsyncIterator[str], name: str) -> StreamingResponse:
    """Return lines of JSON as a file of this name.

    They are all read before the answer begins: so a slow reader holds no connection to the
    database, and an error on the way is answered as one.
    """
    file = new_file()
    async for line in lines:
        file.write(f"{line}\n".encode())
    return download(file, name, "application/x-ndjson")


def new_file() -> IO[bytes]:
    """Return a file without a name, which is gone once it is closed."""
    return tempfile.TemporaryFile()


def download(file: IO[bytes], name: str, media_type: str) -> StreamingResponse:
    """Return a file, which is closed at the end, as one to save under this name."""
    headers = {
        "Content-Length": str(file.seek(0, 2)),
        "Content-Disposition": f'attachment; filename="{name}"',
        **KEPT_NOWHERE,
    }
    file.seek(0)
    return StreamingResponse(_pieces(file), headers=headers, media_type=media_type)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
