"""What rota writes to a mailbox by IMAP: drafts, and copies of what was sent. And what it finds.

Each has a session of its own; reading (`imap.py`) never writes. It blocks: call it in a thread.
"""

from __future__ import annotations

import imaplib
from typing import Any, Final

from imapclient.exceptions import IMAPClientError  # type: ignore[import-untyped]
from imapclient.imapclient import (  # type: ignore[import-untyped]  # it has no types
    DRAFTS,
    SENT,
)

from rota.agents.tools.mail.imap import signed_in
from rota.domain.agents.mail_accounts import ImapAccount

_USUAL: Final = {
    SENT: (
        *("sent", "sent items", "sent messages", "sent mail", "gesendet", "gesendete objekte"),
        *("gesendete elemente", "envoyés", "éléments envoyés", "enviados", "posta inviata"),
        *("verzonden", "verzonden items", "wysłane"),
    ),
    DRAFTS: (
        *("drafts", "draft", "entwürfe", "brouillons", "borradores", "bozze", "concepten"),
        *("szkice", "wersje robocze"),
    ),
}
"""Names of folders, in small letters, where the server does not say what a folder is for."""

_MADE: Final = {SENT: "Sent", DRAFTS: "Drafts"}


class MailCopies:
    """The folders of an account for drafts and for what was sent, by SPECIAL-USE or usual names.

    Every method raises as those of `ImapMailbox`.
    """

    def __init__(self, account: ImapAccount) -> None:
        self._account = account

    def keep_sent(self, message: bytes, message_id: str) -> None:
        """Put a copy into Sent, which is made where there is none; not where it is there already.

        Servers that put it there by themselves are more than those that rota knows.
        """
        self._append(SENT, message, [rb"\Seen"], unless=message_id)

    def keep_draft(self, message: bytes) -> None:
        """Put a message into Drafts, which is made where there is none."""
        self._append(DRAFTS, message, [rb"\Draft", rb"\Seen"])

    def was_sent(self, message_id: str) -> bool:
        """Return whether a message is known to have been sent, by its Message-ID.

        It is in Sent; or it came back to the folder that is read, as a copy to oneself; or an
        answer to it, or a report that it was not delivered, is there.
        """
        with signed_in(self._account) as client:
            if _has(client, _folder(client, SENT), ["HEADER", "MESSAGE-ID", message_id]):
                return True
            return any(
                _has(client, self._account.folder, ["HEADER", name, message_id])
                for name in ("IN-REPLY-TO", "REFERENCES", "MESSAGE-ID")
            )

    def was_drafted(self, message_id: str) -> bool:
        """Return whether a draft is there, or was sent by now."""
        with signed_in(self._account) as client:
            return any(
                _has(client, _folder(client, use), ["HEADER", "MESSAGE-ID", message_id])
                for use in (DRAFTS, SENT)
            )

    def _append(self, use: bytes, message: bytes, flags: list[bytes], *, unless: str = "") -> None:
        with signed_in(self._account) as client:
            folder = _folder(client, use)
            if unless and _has(client, folder, ["HEADER", "MESSAGE-ID", unless]):
                return
            client.append(folder or _make(client, _MADE[use]), message, flags)


def _folder(client: Any, use: bytes) -> str | None:
    """Return the folder for a use, None where there is none."""
    usual: dict[str, str] = {}
    for flags, delimiter, name in client.list_folders():
        if use in flags:
            return str(name)
        sign = delimiter.decode() if isinstance(delimiter, bytes) else (delimiter or "")
        bare = str(name).removeprefix(f"INBOX{sign}") if sign else str(name)
        usual.setdefault(bare.lower(), str(name))
    return next((usual[name] for name in _USUAL[use] if name in usual), None)


def _make(client: Any, name: str) -> str:
    """Make a folder where the server lets a person have folders."""
    prefix = ""
    if client.has_capability("NAMESPACE") and (personal := client.namespace().personal):
        prefix = str(personal[0][0])
    client.create_folder(f"{prefix}{name}")
    client.subscribe_folder(f"{prefix}{name}")
    return f"{prefix}{name}"


def _has(client: Any, folder: str | None, criteria: list[str]) -> bool:
    if folder is None:
        return False
    try:
        client.select_folder(folder, readonly=True)
    except IMAPClientError as error:
        if isinstance(error, imaplib.IMAP4.abort):
            raise
        return False
    return bool(client.search(criteria))
