"""A mailbox on an IMAP server, read and never written: opened by EXAMINE, fetched by BODY.PEEK.

Each search and each message has a session of its own, which ends with it. IMAPClient speaks the
protocol, and blocks: call it in a thread.
"""

from __future__ import annotations

import imaplib
import logging
import re
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from imapclient import IMAPClient, SocketTimeout  # type: ignore[import-untyped]  # it has no types
from imapclient.exceptions import (  # type: ignore[import-untyped]
    CapabilityError,
    IMAPClientError,
    LoginError,
)

from rota.agents.tools.mail.dates import TOLERANCE, Arrival
from rota.agents.tools.mail.folder import MESSAGE_LIMIT, newest_first
from rota.agents.tools.mail.headers import Headers, read_headers
from rota.agents.tools.mail.imap_criteria import criteria, is_ascii
from rota.agents.tools.mail.mime import (
    MailMessage,
    MessageFiles,
    read_files,
    read_head,
    read_message,
)
from rota.agents.tools.mail.query import MailQuery, parse_query
from rota.domain.agents.connections import LoginRefusedError
from rota.domain.agents.mail_accounts import ImapAccount, provider_of
from rota.domain.errors import (
    InvalidInputError,
    NotFoundError,
    SetupRequiredError,
    UnavailableError,
)
from rota.domain.text.cleaning import clean_line
from rota.domain.text.storable import cut

WHAT: Final = "connection"
"""What a person has to set up where a mailbox cannot be read: whoever uses it knows its name."""

_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 20.0
_LONGEST: Final = 45.0
"""Seconds after which nothing more is asked for: a tool has 60."""

_SNIPPET_BYTES: Final = 64 * 1024
_PART_BYTES: Final = 1024 * 1024
_HEAD_BYTES: Final = 256 * 1024
_HEADS: Final = 200
_LOADED: Final = 20
_MOST_SEARCHED: Final = 50_000
"""Messages of one SEARCH: imaplib takes no line longer than a million bytes."""

_LONGEST_COMMAND: Final = 7_000
_UNKNOWN: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""When a message came where the server does not say: it is read before the others."""
_ID: Final = re.compile(r"([0-9]{1,10})-([0-9]{1,10})")
_ATOM: Final = re.compile(r"[A-Za-z0-9@._+=/-]+")
_CODE: Final = re.compile(r"\[([A-Z-]+)")
_PASSING: Final = frozenset({"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CONTACTADMIN"})
"""What a server calls it (RFC 5530) where a login failed, and not for the password."""

_HEADERS: Final = (
    f"BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT MESSAGE-ID RECEIVED)]<0.{_HEAD_BYTES}>"
)


logging.getLogger("imapclient").setLevel(logging.ERROR)
# Its warnings are of words that are not ASCII, as a server may say; errors have them whole.


class _Client(IMAPClient):  # type: ignore[misc]  # it has no types
    """An IMAPClient that keeps letters beyond ASCII in what a server says."""

    def _check_resp(self, expected: str, command: str, typ: str, data: list[bytes | None]) -> None:
        if typ != expected:
            said = (data[0] or b"").decode("utf-8", "replace")
            raise IMAPClientError(f"{command} failed: {said}")


class ImapMailbox:
    """One folder of a mailbox. An id is UIDVALIDITY and UID: it stays until the server renumbers.

    Every method raises SetupRequiredError for what its owner has to mend (LoginRefusedError for a
    wrong password), UnavailableError for what may pass.
    """

    def __init__(self, account: ImapAccount) -> None:
        self._account = account

    def check(self) -> int:
        """Sign in and return how many messages the folder has."""
        with self._session() as session:
            return session.count

    def search(self, query: str, limit: int, *, now: datetime) -> list[MailMessage]:
        """Return at most `limit` messages that match, newest first, as `MailFolder.search` does."""
        if limit < 1:
            raise InvalidInputError("A search returns at least 1 message.", field="max_results")
        wanted = parse_query(query, now=now)
        with self._session() as session:
            loaded = self._loaded(session, wanted)
            return list(islice(filter(wanted.body_matches, loaded), limit))

    def get(self, message_id: str) -> MailMessage:
        """Return one message; raises NotFoundError."""
        with self._session() as session:
            for uid in session.uids(message_id):
                for message, _ in session.messages([uid], MESSAGE_LIMIT):
                    return message
        raise _not_found(message_id)

    def get_files(self, message_id: str) -> MessageFiles:
        """Return the attachments of one message; raises NotFoundError."""
        with self._session() as session:
            for uid in session.uids(message_id):
                for raw, _, data in session.contents([uid], MESSAGE_LIMIT):
                    sender = read_head(read_headers(raw), message_id=message_id).sender
                    is_cut = _is_cut(raw, data, MESSAGE_LIMIT)
                    return MessageFiles(sender, read_files(raw), is_cut)
        raise _not_found(message_id)

    @staticmethod
    def _loaded(session: _Session, wanted: MailQuery) -> Iterator[MailMessage]:
        """Yield what may match, newest first, with as much of its text as is needed."""
        uids = _newest(session, wanted)
        while batch := list(islice(uids, _LOADED)):
            size = _PART_BYTES if wanted.needs_body else _SNIPPET_BYTES
            there = {uid: found for found, uid in session.messages(batch, size)}
            for uid in batch:
                message = there.get(uid)
                if message is None:  # deleted meanwhile
                    continue
                if message.truncated and wanted.needs_body and not wanted.body_matches(message):
                    message = next((m for m, _ in session.messages([uid], MESSAGE_LIMIT)), message)
                yield message

    def headers(self, message_id: str, names: Iterable[str]) -> Headers:
        """Return some headers of a message as they were sent; raises NotFoundError."""
        asked = f"BODY.PEEK[HEADER.FIELDS ({' '.join(names).upper()})]<0.{_HEAD_BYTES}>"
        with self._session() as session:
            for uid in session.uids(message_id):
                for data in session.fetch(uid, asked):
                    return read_headers(data)
        raise _not_found(message_id)

    @contextmanager
    def _session(self) -> Iterator[_Session]:
        with signed_in(self._account) as client:
            yield _Session(client, self._account)


@contextmanager
def signed_in(account: ImapAccount) -> Iterator[Any]:
    """Give an IMAPClient that is signed in; raises as the methods of `ImapMailbox`."""
    with _translated(account):
        client = _connect(account)
        try:
            _login(client, account)
            yield client
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                client.shutdown()
            raise
        with suppress(Exception):  # all is done already
            client.logout()


class _Session:
    """A folder that is open for reading."""

    def __init__(self, client: Any, account: ImapAccount) -> None:
        self._client = client
        self._account = account
        self._until = time.monotonic() + _LONGEST
        try:
            opened = client.select_folder(account.folder, readonly=True)
        except IMAPClientError as error:
            if isinstance(error, imaplib.IMAP4.abort):
                raise
            raise SetupRequiredError(
                f"The mailbox {account.user} has no folder {account.folder!r} that can be read: "
                f"{_said(error)}. It has: {self._folders()}. Connect it again with --folder.",
                what=WHAT,
            ) from error
        self.count = int(opened[b"EXISTS"])
        self.validity = int(opened.get(b"UIDVALIDITY", 0))

    def search(self, wanted: MailQuery) -> list[int]:
        """Return the UIDs of at least the messages that match."""
        asked = criteria(wanted)
        if is_ascii(asked):
            return self._search(asked, None)
        try:
            return self._search(asked, "UTF-8")
        except IMAPClientError as error:
            if isinstance(error, imaplib.IMAP4.abort):
                raise
            # Not every server knows UTF-8 here: it is judged after all.
            return self._search(criteria(wanted, ascii_only=True), None)

    def arrivals(self, uids: Iterable[int]) -> list[tuple[datetime, int]]:
        """Return when each message came, newest first."""
        found = [
            (data.get(b"INTERNALDATE") or _UNKNOWN, uid)
            for batch in _batches(uids)
            for uid, data in self._fetch(batch, ["INTERNALDATE"])
        ]
        return sorted(found, reverse=True)

    def heads(self, uids: Iterable[int]) -> Iterator[tuple[MailMessage, int]]:
        """Yield messages of their headers alone, and their UIDs."""
        for batch in _batches(uids):
            for uid, data in self._fetch(batch, ["FLAGS", "INTERNALDATE", _HEADERS]):
                yield read_head(read_headers(_body(data)), **self._known(uid, data)), uid

    def messages(self, uids: Iterable[int], size: int) -> Iterator[tuple[MailMessage, int]]:
        """Yield messages of their first `size` bytes, and their UIDs."""
        for raw, uid, data in self.contents(uids, size):
            message = read_message(raw, **self._known(uid, data))
            yield (replace(message, truncated=True) if _is_cut(raw, data, size) else message), uid

    def contents(
        self, uids: Iterable[int], size: int
    ) -> Iterator[tuple[bytes, int, dict[bytes, Any]]]:
        """Yield the first `size` bytes of messages, their UIDs, and what it says of each."""
        asked = ["FLAGS", "INTERNALDATE", "RFC822.SIZE", f"BODY.PEEK[]<0.{size}>"]
        for batch in _batches(uids):
            for uid, data in self._fetch(batch, asked):
                yield _body(data), uid, data

    def uids(self, message_id: str) -> list[int]:
        """Return the UID in an id of a message, none where the id is not of this folder."""
        found = _ID.fullmatch(message_id)
        is_here = found is not None and int(found[1]) == self.validity
        return [int(found[2])] if found is not None and is_here else []

    def fetch(self, uid: int, asked: str) -> Iterator[bytes]:
        """Yield one part of one message, nothing where that is not there."""
        return (_body(data) for _, data in self._fetch([uid], [asked]))

    def _known(self, uid: int, data: dict[bytes, Any]) -> dict[str, Any]:
        came = data.get(b"INTERNALDATE")
        return {
            "message_id": f"{self.validity}-{uid}",
            "unread": b"\\Seen" not in data.get(b"FLAGS", ()),
            "arrival": None if came is None else Arrival(came, "when the server received it"),
        }

    def _search(self, asked: list[Any], charset: str | None) -> list[int]:
        found: list[int] = []
        for first in range(1, self.count + 1, _MOST_SEARCHED):
            last = min(first + _MOST_SEARCHED - 1, self.count)
            self._in_time()
            found += self._client.search([f"{first}:{last}", *asked], charset)
        return found

    def _fetch(self, uids: list[int], asked: list[str]) -> list[tuple[int, dict[bytes, Any]]]:
        self._in_time()
        return list(self._client.fetch(uids, asked).items())

    def _in_time(self) -> None:
        if time.monotonic() > self._until:
            raise UnavailableError(
                f"{self._account.host} takes too long for this search. Ask for less: a sender, or "
                "newer_than:7d.",
                service="imap",
            )

    def _folders(self) -> str:
        with suppress(IMAPClientError):
            names = [str(name) for _flags, _delimiter, name in self._client.list_folders()]
            return cut(clean_line(", ".join(names)), 300).text or "none"
        return "none that it tells"


def _newest(session: _Session, wanted: MailQuery) -> Iterator[int]:
    """Yield the UIDs of messages whose headers match, by date, the newest first.

    No message is dated long after it came: so none is read that came before all that are wanted.
    """
    arrived = session.arrivals(session.search(wanted))
    ready: list[tuple[MailMessage, int]] = []
    for first in range(0, len(arrived), _HEADS):
        batch = arrived[first : first + _HEADS]
        latest = batch[0][0] + TOLERANCE
        ready.sort(key=_order)
        while ready and ready[0][0].date is not None and ready[0][0].date > latest:
            yield ready.pop(0)[1]
        heads = session.heads(uid for _, uid in batch)
        ready += [found for found in heads if wanted.headers_match(found[0])]
    yield from (uid for _, uid in sorted(ready, key=_order))


def _order(found: tuple[MailMessage, int]) -> tuple[tuple[bool, float], int]:
    return newest_first(found[0]), found[1]


def _batches(uids: Iterable[int]) -> Iterator[list[int]]:
    """Yield UIDs in batches whose commands are no longer than servers take."""
    batch: list[int] = []
    length = 0
    for uid in uids:
        digits = len(str(uid)) + 1
        if length + digits > _LONGEST_COMMAND:
            yield batch
            batch, length = [], 0
        batch.append(uid)
        length += digits
    if batch:
        yield batch


def _is_cut(raw: bytes, data: dict[bytes, Any], size: int) -> bool:
    return len(raw) >= size and int(data.get(b"RFC822.SIZE", 0)) > size


def _not_found(message_id: str) -> NotFoundError:
    hint = "Search again, and use an id that it returns."
    return NotFoundError("message", message_id[:100], hint=hint)


def _body(data: dict[bytes, Any]) -> bytes:
    """Return what was fetched of a message, however the server names it."""
    found = next((value for key, value in data.items() if key.startswith(b"BODY[")), None)
    return found if isinstance(found, bytes) else b""


def _connect(account: ImapAccount) -> Any:
    context = ssl.create_default_context(cadata=account.certificate or None)
    client = _Client(
        account.host,
        account.port,
        ssl=account.encryption == "tls",
        ssl_context=context,
        timeout=SocketTimeout(_CONNECT_SECONDS, _ANSWER_SECONDS),
    )
    client.normalise_times = False  # aware, as the server has them
    if account.encryption == "starttls":
        try:
            client.starttls(context)
        except BaseException:
            with suppress(OSError):
                client.shutdown()
            raise
    return client


def _login(client: Any, account: ImapAccount) -> None:
    try:
        if account.token:
            client.oauth2_login(account.user, account.token)
        elif _ATOM.fullmatch(account.user) and account.password.isascii():
            client.login(account.user, account.password)
        else:  # imaplib quotes no name, and LOGIN knows ASCII only
            client.plain_login(account.user, account.password)
    except LoginError as error:
        if isinstance(error.__context__, imaplib.IMAP4.abort):  # it hung up; nothing was refused
            raise error.__context__ from None
        said = _said(error)
        code = _CODE.search(str(error))
        if code is not None and code[1] in _PASSING:
            raise UnavailableError(
                f"{account.host} lets nobody in at the moment: {said}. Try again later.",
                service="imap",
            ) from error
        known = provider_of(account.user)
        advice = f" {known.advice}" if known is not None and not account.token else ""
        kind = "access token" if account.token else "password"
        raise LoginRefusedError(
            f"{account.host} refused the {kind} of {account.user}: {said}.{advice}"
        ) from error


@contextmanager
def _translated(account: ImapAccount) -> Iterator[None]:
    """Turn what the protocol, TLS and the network raise into sentences."""
    where = account.address
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise SetupRequiredError(
            f"The certificate of {where} does not verify ({error.verify_message.rstrip('.')}), so "
            "rota did not send it the password. Is the server's name right? For a server of your "
            "own, connect it again with --certificate FILE, its authority's in PEM.",
            what=WHAT,
        ) from error
    except CapabilityError as error:
        raise SetupRequiredError(
            f"{where} does not offer what is needed ({_said(error)}), and rota sends no password "
            "unencrypted. Try the other of --encryption tls and starttls.",
            what=WHAT,
        ) from error
    except ssl.SSLError as error:
        raise UnavailableError(
            f"{where} does not speak TLS as expected ({error.reason or error}). Are port and "
            "--encryption right?",
            service="imap",
        ) from error
    except TimeoutError as error:
        raise UnavailableError(
            f"{where} did not answer in time. Try again later.", service="imap"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnavailableError(
            f"{where} cannot be reached: {reason}. Try again later.", service="imap"
        ) from error
    except imaplib.IMAP4.abort as error:
        raise UnavailableError(
            f"{where} ended the connection: {_said(error)}. Try again later.", service="imap"
        ) from error
    except imaplib.IMAP4.error as error:
        raise UnavailableError(
            f"{where} refused to go on: {_said(error)}. Try again later.", service="imap"
        ) from error


def _said(error: Exception) -> str:
    """Return a server's words, on one line."""
    # IMAPClient makes a LoginError of str(error), which shows bytes as Python writes them.
    cause = error.__context__ if isinstance(error, LoginError) else None
    args = (cause or error).args
    said = args[0] if args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return cut(clean_line(text.partition("\n")[0]), 300).text.rstrip(".") or "it gave no reason"
