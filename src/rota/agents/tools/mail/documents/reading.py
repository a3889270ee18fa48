"""Finds out what a file is, and reads its text: in a process of its own where that takes a library.

A file may be made to use up memory, to be read for ever, or to break the library that reads it. So
PDF, Office and calendar files are read by `child.py`, which the worker bounds and ends. It gets no
environment of the worker's, where keys may be.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from rota.agents.tools.mail.html_text import HTML_LIMIT, html_to_text
from rota.agents.tools.mail.message_text import decode_text
from rota.domain.text.cleaning import clean_text
from rota.domain.text.storable import cut

PROCESSOR_SECONDS: Final = 10
"""Seconds of the processor's time after which what was read so far is the answer."""

SECONDS: Final = 40.0
"""After these the process is ended, however busy the machine is."""

_AT_A_TIME: Final = 2
_LOOKED_AT: Final = 65_536
_MODULE: Final = "rota.agents.tools.mail.documents.child"

_NEEDED: Final = ("LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
"""Variables that Python may need to start."""

_PDF: Final = b"%PDF-"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OFFICE: Final = "EncryptedPackage".encode("utf-16-le")
_BYTE_ORDERS: Final = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}

_KINDS: Final = {
    "pdf": "a PDF file",
    "docx": "a Word document",
    "xlsx": "an Excel workbook",
    "pptx": "a PowerPoint presentation",
    "calendar": "a calendar file",
    "html": "an HTML file",
    "text": "plain text",
}
_ENDINGS: Final = {
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), "docx"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx", ".xltm"), "xlsx"),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".ppsm", ".potx"), "pptx"),
    **dict.fromkeys((".ics", ".vcs", ".ical"), "calendar"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".txt", ".csv", ".tsv", ".md", ".json", ".xml", ".log", ".yaml"), "text"),
    ".pdf": "pdf",
}
_TYPES: Final = {
    "application/ics": "calendar",
    "application/json": "text",
    "application/pdf": "pdf",
    "application/xhtml+xml": "html",
    "application/xml": "text",
    "text/calendar": "calendar",
    "text/html": "html",
}
_READ: Final = "rota reads text, HTML, PDF, Word, Excel, PowerPoint and calendar files"

_places: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True, slots=True)
class DocumentText:
    """The text of a file, at most as much of it as was asked for (`truncated` tells).

    `notes` are rota's own sentences: why there is no text, or what is odd about the file.
    """

    text: str
    truncated: bool = False
    notes: tuple[str, ...] = ()


async def read_text(
    data: bytes, *, limit: int, name: str = "", content_type: str = "", charset: str | None = None
) -> DocumentText:
    """Return at most `limit` characters of a file's text. No content of a file makes it raise."""
    declared = _declared(name, content_type)
    kind = _kind_of(data, declared)
    if not data:
        return DocumentText("", notes=("It is empty.",))
    if kind == "ole":
        return DocumentText("", notes=(_of_ole(data),))
    if kind is None:
        return DocumentText("", notes=(f"Its text cannot be read: {_READ}.",))
    if kind in {"text", "html"}:
        found = await asyncio.to_thread(_read_here, data, kind, charset, limit)
    else:
        kind, found = await _read_apart(data, kind, limit)
    if declared and kind in _KINDS and declared != kind:
        note = f"It is named as {_KINDS[declared]}, and is {_KINDS[kind]}."
        return DocumentText(found.text, found.truncated, (note, *found.notes))
    return found


def _declared(name: str, content_type: str) -> str | None:
    """Return what a file says it is: its name, which people see, before its type."""
    ending = PurePath(name.strip().lower()).suffix
    return _ENDINGS.get(ending) or _TYPES.get(content_type.lower())


def _kind_of(data: bytes, declared: str | None) -> str | None:
    """Return what a file is, by its content where that can be told."""
    begins = data[:200].lstrip(b"\xef\xbb\xbf\r\n\t ").upper()
    for kind, is_one in (
        ("pdf", _PDF in data[: 1024 if declared == "pdf" else len(_PDF)]),
        ("zip", data.startswith(_ZIP)),
        ("ole", data.startswith(_OLE)),
        ("calendar", begins.startswith(b"BEGIN:VCALENDAR")),
    ):
        if is_one:
            return kind
    if _is_text(data, is_declared=declared in {"html", "text"}):
        return "html" if declared == "html" else "text"
    return None


def _is_text(data: bytes, *, is_declared: bool) -> bool:
    """Tell text by what is in it; where it is declared, any charset will do."""
    beginning = data[:_LOOKED_AT]
    if data.startswith(tuple(_BYTE_ORDERS)):
        return True
    if is_declared or b"\0" in beginning:
        return b"\0" not in beginning
    try:
        beginning.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > _LOOKED_AT - 4  # a character that is cut in two
    return True


def _of_ole(data: bytes) -> str:
    if _ENCRYPTED_OFFICE in data:
        return "It is encrypted with a password."
    return (
        f"It is of an old Office format (doc, xls, ppt) or a message of Outlook's: {_READ}, of "
        "Office those since 2007."
    )


def _read_here(data: bytes, kind: str, charset: str | None, limit: int) -> DocumentText:
    most = data[: max(limit, HTML_LIMIT) * 4]
    marked = next((name for mark, name in _BYTE_ORDERS.items() if data.startswith(mark)), charset)
    text = clean_text(decode_text(most, marked))
    is_cut = len(most) < len(data)
    if kind == "html":
        is_cut = is_cut or len(text) > HTML_LIMIT
        text = html_to_text(text)
    kept = cut(text, limit)
    return DocumentText(kept.text, kept.truncated or is_cut)


async def _read_apart(data: bytes, kind: str, limit: int) -> tuple[str, DocumentText]:
    """Return what the file is found to be, and its text, read by a process of its own."""
    try:
        async with _place(), asyncio.timeout(SECONDS), _child(kind, limit) as child:
            said = await _exchange(child, data, most=20 * limit + 100_000)
            code = await child.wait()
    except TimeoutError:
        note = f"Its text was not read: that took longer than {SECONDS:g} s."
        return kind, DocumentText("", notes=(note,))
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        note = f"Its text was not read: reading it ended abruptly ({_ending(code)})."
        return kind, DocumentText("", notes=(note,))
    kept = cut(clean_text(answer["text"]).strip(), limit)
    is_cut = kept.truncated or bool(answer["truncated"])
    return answer["kind"] or kind, DocumentText(kept.text, is_cut, tuple(answer["notes"]))


def _ending(code: int) -> str:
    if code in {-9, -24}:  # SIGKILL, SIGXCPU
        return "it used up its time or memory"
    return f"status {code}"


@asynccontextmanager
async def _place() -> AsyncIterator[None]:
    """Wait until few enough files are read at a time, so that they cannot use up a machine."""
    loop = asyncio.get_running_loop()
    async with _places.setdefault(loop, asyncio.Semaphore(_AT_A_TIME)):
        yield


@asynccontextmanager
async def _child(kind: str, limit: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the process, and end it with the block, also where the run is cancelled."""
    kept = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    environment = kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", _MODULE, kind, str(limit), str(PROCESSOR_SECONDS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _exchange(child: asyncio.subprocess.Process, data: bytes, *, most: int) -> bytes:
    """Hand over the file, and return what the process answers."""
    file = cast("asyncio.StreamWriter", child.stdin)
    answer = cast("asyncio.StreamReader", child.stdout)
    with suppress(BrokenPipeError, ConnectionResetError):
        file.write(data)
        await file.drain()
        file.close()
    try:
        said = await answer.readexactly(most)
    except asyncio.IncompleteReadError as error:
        return error.partial
    child.kill()  # more than any answer has
    return said
