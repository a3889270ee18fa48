"""A mailbox on disk (mbox file or Maildir). It is read only: no locks, no moved files.

`mbox.py` splits an mbox. A line quoted as ">From " stays as it is. A message that a mail program
marked as deleted, and that is still in the file, is left out.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

from rota.agents.tools.mail.dates import Arrival
from rota.agents.tools.mail.headers import Headers, read_headers, split_head
from rota.agents.tools.mail.mbox import spans
from rota.agents.tools.mail.mime import (
    MailMessage,
    MessageFiles,
    read_files,
    read_head,
    read_message,
)
from rota.agents.tools.mail.query import MailQuery, parse_query
from rota.domain.errors import (
    InvalidInputError,
    NotFoundError,
    SetupRequiredError,
    UnavailableError,
)
from rota.domain.text.cleaning import clean_line

MESSAGE_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a message that are read; what is longer loses its end, mostly of an attachment."""

_HEAD_LIMIT: Final = 256 * 1024
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")
_ATTEMPTS: Final = 3
_IDENTITY: Final = ("message-id", "from", "date", "subject")
_MOZILLA_READ: Final = 0x1
_MOZILLA_DELETED: Final = 0x8


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a message is: a file, and its bytes from `start` to before `stop`.

    `is_within` warns that it may be part of the message before it, written to look like a message.
    """

    path: Path
    start: int
    stop: int
    arrival: Arrival
    name: str = ""
    unread: bool | None = None
    is_within: bool = False


class _Layout(Protocol):
    def entries(self) -> Iterator[Entry]: ...


class MailFolder:
    """An mbox file or a Maildir, read again at every call. Nothing is kept between calls.

    A message keeps its id while its mailbox grows or is compacted. In a Maildir, the id is the
    unique part of the file name. In an mbox, it is a hash of the Message-ID, or of the headers if
    there is none.
    """

    def __init__(self, path: Path, layout: _Layout) -> None:
        self._path = path
        self._layout = layout

    @classmethod
    def open(cls, path: Path) -> MailFolder:
        """Open a mailbox; raises SetupRequiredError for what is missing, unreadable or none.

        Every method raises SetupRequiredError if it can no longer be read.
        """
        with _readable(path):
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                return cls(path, _Maildir(path))
            if stat.S_ISREG(mode):
                return cls(path, _Mbox(path))
        raise _not_a_mailbox(path, "it is neither a file nor a directory")

    def messages(self) -> Iterator[tuple[str, MailMessage]]:
        """Yield ids and messages: an mbox in its order, a Maildir by file name (oldest first)."""
        with _readable(self._path):
            for entry, head in self._scan():
                yield head.id, _load(entry, head)

    def check(self, most: int) -> int:
        """Return how many messages there are, having read the headers of at most `most`."""
        with _readable(self._path):
            return sum(1 for _ in islice(self._scan(), most))

    def search(self, query: str, limit: int, *, now: datetime) -> list[MailMessage]:
        """Return at most `limit` messages that match, newest first (undated ones last).

        Messages of the same date stay in the mailbox's order. For the syntax see
        `rota.agents.tools.mail.query`; raises InvalidInputError for what it does not know.
        """
        if limit < 1:
            raise InvalidInputError("A search returns at least 1 message.", field="max_results")
        wanted = parse_query(query, now=now)
        return self._undisturbed(lambda: self._matches(wanted, limit))

    def get(self, message_id: str) -> MailMessage:
        """Return one message; raises NotFoundError."""
        return self._found(message_id, _load)

    def get_files(self, message_id: str) -> MessageFiles:
        """Return the attachments of one message; raises NotFoundError."""
        return self._found(message_id, _load_files)

    def _found(self, message_id: str, load: Callable[[Entry, MailMessage], T]) -> T:
        found = self._undisturbed(
            lambda: next(
                (load(entry, head) for entry, head in self._scan() if head.id == message_id), None
            )
        )
        if found is None:
            raise NotFoundError(
                "message", message_id[:100], hint="Search again, and use an id that it returns."
            )
        return found

    def _undisturbed(self, read: Callable[[], T]) -> T:
        """Read again where a mail program changed the mailbox meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with _readable(self._path):
                    return read()
            except UnavailableError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("The last attempt returns or raises.")

    def _matches(self, wanted: MailQuery, limit: int) -> list[MailMessage]:
        candidates = [found for found in self._scan() if wanted.headers_match(found[1])]
        candidates.sort(key=lambda found: newest_first(found[1]))
        loaded = (_load(entry, head) for entry, head in candidates)
        return list(islice(filter(wanted.body_matches, loaded), limit))

    def _scan(self) -> Iterator[tuple[Entry, MailMessage]]:
        """Yield where each message lies, and what its headers say."""
        seen: Counter[str] = Counter()
        outer = ""
        for entry in self._layout.entries():
            data, _ = split_head(_read(entry, _HEAD_LIMIT))
            headers = read_headers(data)
            state = _state(entry, headers)
            name = entry.name or _hash(headers, data)
            seen[name] += 1  # copies of a message are told apart by their order
            head = read_head(
                headers,
                message_id=name if seen[name] == 1 else f"{name}-{seen[name]}",
                unread=state.unread,
                arrival=entry.arrival,
            )
            if entry.is_within:
                head = _doubtful(head, outer)
            else:
                outer = head.sender
            if not state.deleted:
                yield entry, head


class _Mbox:
    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            beginning = file.read(4096)
        if beginning.startswith(_COMPRESSED):
            raise _not_a_mailbox(path, "it is compressed; unpack it first")
        if beginning.strip() and not beginning.lstrip(b"\r\n").startswith(b"From "):
            raise _not_a_mailbox(path, 'it does not begin with a line "From ..."')

    def entries(self) -> Iterator[Entry]:
        changed = _changed(self._path.stat())
        for span in spans(self._path):
            arrival = changed if span.date is None else Arrival(span.date, _OF_ENVELOPE)
            yield Entry(self._path, span.start, span.stop, arrival, is_within=span.is_within)


class _Maildir:
    def __init__(self, path: Path) -> None:
        self._folders = tuple(path / name for name in ("new", "cur") if (path / name).is_dir())
        if not self._folders:
            raise _not_a_mailbox(path, "it is a directory with neither new nor cur in it")

    def entries(self) -> Iterator[Entry]:
        found = [
            (file.name.partition(":")[0], folder.name, Path(file.path), file.stat())
            for folder in self._folders
            for file in os.scandir(folder)
            if not file.name.startswith(".") and file.is_file()
        ]
        for name, folder, path, about in sorted(found):
            flags = path.name.partition(":2,")[2]
            if "T" in flags:  # trashed, and not yet removed
                continue
            unread = folder == "new" or "S" not in flags
            yield Entry(
                path, 0, about.st_size, _changed(about), name=clean_line(name), unread=unread
            )


def _open(entry: Entry) -> BinaryIO:
    try:
        return entry.path.open("rb")
    except FileNotFoundError:
        # A mail program moves what it has shown from new to cur, and adds flags to the name.
        unique = entry.path.name.partition(":")[0]
        for file in entry.path.parent.with_name("cur").glob("*"):
            if file.name.partition(":")[0] == unique:
                return file.open("rb")
        raise


def _read(entry: Entry, limit: int) -> bytes:
    """Read at most `limit` bytes of a message, without the line that separates it in an mbox."""
    with _open(entry) as file:
        file.seek(entry.start)
        data = file.read(min(limit, entry.stop - entry.start))
    if entry.name:
        return data
    if not data.startswith(b"From "):
        raise UnavailableError(
            f"The mailbox {entry.path} changed while it was read. Try again.", service="mail"
        )
    message = data.partition(b"\n")[2]
    # As Python's mailbox does: the blank line before the next separator is none of the message.
    return message[:-1] if message.endswith(b"\n\n") or message == b"\n" else message


def _load(entry: Entry, head: MailMessage) -> MailMessage:
    message = read_message(
        _read(entry, MESSAGE_LIMIT), message_id=head.id, unread=head.unread, arrival=entry.arrival
    )
    if entry.is_within:
        message = replace(message, sender=head.sender, notes=head.notes)
    return replace(message, truncated=True) if entry.stop - entry.start > MESSAGE_LIMIT else message


def _load_files(entry: Entry, head: MailMessage) -> MessageFiles:
    files = read_files(_read(entry, MESSAGE_LIMIT))
    return MessageFiles(head.sender, files, is_cut=entry.stop - entry.start > MESSAGE_LIMIT)


def _doubtful(head: MailMessage, outer: str) -> MailMessage:
    """Take the sender from what may be a part of another message, written by *its* sender."""
    note = (
        "Nobody can tell whether this is a message, or a part of the one before it that was made "
        "to look like one: it stands within the length that the message from "
        f"{outer or 'nobody'} declares. "
        f"What it says of its sender: {head.sender or 'nothing'}."
    )
    return replace(head, sender="(not certain)", notes=(note, *head.notes))


@dataclass(frozen=True, slots=True)
class _State:
    unread: bool
    deleted: bool = False


def _state(entry: Entry, headers: Headers) -> _State:
    """Tell what a mail program has noted of a message."""
    if entry.unread is not None:
        return _State(entry.unread)
    try:  # Thunderbird and similar programs
        flags = int(headers.written_by_program("x-mozilla-status"), 16)
    except ValueError:
        # Others write "Status: RO" for what was read (R) and is old (O), "X-Status: D" for deleted.
        status = headers.text("status")
        return _State("R" not in status, "D" in status or "D" in headers.text("x-status"))
    return _State(not flags & _MOZILLA_READ, bool(flags & _MOZILLA_DELETED))


_OF_ENVELOPE: Final = 'of the line "From " in the mailbox'


def _changed(about: os.stat_result) -> Arrival:
    changed = datetime.fromtimestamp(about.st_mtime, UTC)
    return Arrival(changed, "when its file was last changed", bounds=False)


def _hash(headers: Headers, head: bytes) -> str:
    """Return what stays of a message: not all of its headers, as mail programs add some."""
    said = [value for name in _IDENTITY for value in headers.all(name)]
    data = "\n".join(said).encode("utf-8", "surrogateescape") if said else head
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def newest_first(message: MailMessage) -> tuple[bool, float]:
    """Return what messages are sorted by: their date, undated ones last."""
    return (True, 0) if message.date is None else (False, -message.date.timestamp())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if path.exists():  # a mail program moved a message of a Maildir
            raise UnavailableError(
                f"The mailbox {path} changed while it was read. Try again.", service="mail"
            ) from error
        raise _unreadable(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SetupRequiredError:
    if isinstance(error, FileNotFoundError):
        reason = "does not exist"
    elif isinstance(error, PermissionError):
        reason = "may not be read by this user"
    else:
        reason = f"cannot be read: {error.strerror or error}"
    return SetupRequiredError(f"The mailbox {path} {reason}.", what="mail_folder")


def _not_a_mailbox(path: Path, reason: str) -> SetupRequiredError:
    return SetupRequiredError(
        f"{path} is not a mailbox: {reason}. Name an mbox file or a Maildir.", what="mail_folder"
    )
