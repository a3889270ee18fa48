"""The process that reads one file, started by `reading.py` as `child KIND LIMIT SECONDS`.

The file comes on standard input, and the text goes as JSON to standard output. Whatever the file
does to the libraries that read it, it does here, with bounds on memory and time: the worker that
waits for the answer goes on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import warnings
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Final

MEMORY: Final = 768 * 1024 * 1024
"""Bytes of address space, of which the interpreter and the libraries take about 200 MB."""

_GRACE: Final = 4
"""Seconds of the processor's time for what is read so far to be answered."""


class OutOfTimeError(BaseException):
    """The processor's time is used up. No library's `except Exception` catches it."""


def main() -> None:
    """Read what is on standard input, and print its text."""
    kind, limit, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _bound(seconds)
    # Libraries print what they find odd. Nothing but the answer goes to standard output.
    answer = os.dup(1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    read = _read(sys.stdin.buffer.read(), kind, limit, seconds)
    with os.fdopen(answer, "w", encoding="utf-8", errors="replace") as out:
        json.dump(read, out)


def _bound(seconds: int) -> None:
    """Bound what this process may use."""
    try:
        import resource  # noqa: PLC0415  Windows has none: there, only the clock bounds it
    except ImportError:
        return
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        with suppress(ValueError, OSError):  # macOS refuses some of them
            resource.setrlimit(what, (most, most))

    def end(*_: object) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGXCPU, end)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + _GRACE))


def _read(data: bytes, kind: str, limit: int, seconds: int) -> dict[str, object]:
    """Return the text, whether it is cut, and what is to be said of it; what is odd is a note."""
    from rota.agents.tools.mail.documents.formats import (  # noqa: PLC0415  after the bounds
        FullError,
        Gathered,
        UnreadableError,
        read_document,
    )

    text = Gathered(limit)
    try:
        read_document(BytesIO(data), kind, text)
    except FullError:
        text.cut("")
    except UnreadableError as error:
        text.notes.append(str(error))
    except OutOfTimeError:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        text.cut(f"Reading it took longer than {seconds} s.")
    except Exception as error:  # noqa: BLE001  the sender chooses what the libraries are given
        text.cut(_fault(error))
    return {
        "kind": text.kind,
        "text": "".join(text.parts)[:limit],
        "truncated": text.is_cut,
        "notes": text.notes,
    }


def _fault(error: Exception) -> str:
    """Say why a file could not be read, without a word of its own."""
    # Not every library calls it a MemoryError.
    if isinstance(error, MemoryError) or _peak() > MEMORY / 2:
        return f"Reading it needs more memory than rota gives it ({MEMORY >> 20} MB)."
    if type(error).__name__ == "LimitReachedError":  # of pypdf
        return "It has more pages or parts, or larger ones, than are read of one file."
    return f"It is damaged ({type(error).__name__})."


def _peak() -> int:
    """Return the most memory that this process had so far, in bytes; 0 where Linux does not tell.

    Not by getrusage: that begins with the peak of the worker which started this process.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
