"""Gmail over its REST API (v1): read, and, where its owner grants that, sent from."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import httpx

from rota.agents.tools.google_api import GoogleApi, GoogleService, Params, Renewal
from rota.agents.tools.mail.gmail_messages import (
    GmailMessage,
    MessagePage,
    Profile,
    StoredBody,
    files_of_message,
    full_message,
    headers_of,
    message_without_text,
    unread_message,
)
from rota.agents.tools.mail.headers import Headers
from rota.agents.tools.mail.mime import AttachedFile, MailMessage, MessageFiles
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError

ENDPOINT: Final = "gmail"
"""Name in ROTA_ENDPOINTS of another base URL for the API."""

DEFAULT_BASE_URL: Final = "https://gmail.googleapis.com"
"""Where Google serves the API."""

SCOPE: Final = "https://www.googleapis.com/auth/gmail.readonly"
"""The OAuth scope that the tools need."""

COMPOSE_SCOPE: Final = "https://www.googleapis.com/auth/gmail.compose"
"""The OAuth scope that sending and drafts need beside."""

MOST_RESULTS: Final = 50
"""Messages that one search returns."""

_PARALLEL: Final = 5
_MOST_PAGES: Final = 10
_LONGEST_QUERY: Final = 1_000
_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LISTED_HEADERS: Final = ("Date", "From", "Subject")

_GMAIL: Final = GoogleService(
    name="Gmail",
    connection="gmail",
    forbidden=f"The Gmail connection does not allow reading mail: it needs the scope {SCOPE}.",
)


_GMAIL_WRITING: Final = replace(
    _GMAIL,
    forbidden="The Gmail connection allows reading only: it needs the scope "
    f"{COMPOSE_SCOPE} to send mail and to keep drafts.",
)


def gmail_url(endpoints: Mapping[str, str]) -> str:
    """Return the API's base URL, the operator's where there is one."""
    return endpoints.get(ENDPOINT, DEFAULT_BASE_URL)


class GmailClient:
    """One person's Gmail.

    `token_provider` and `renew` return tokens as for GoogleApi, with `SCOPE`; to write, with
    `COMPOSE_SCOPE`.
    """

    def __init__(
        self,
        base_url: str,
        token_provider: Callable[[], Awaitable[str]],
        *,
        http: httpx.AsyncClient,
        renew: Renewal | None = None,
        timeout: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not base_url.startswith(("https://", "http://")):
            raise InvalidInputError(f"{base_url!r} is no URL of an API.", field="base_url")
        me = f"{base_url.rstrip('/')}/gmail/v1/users/me"
        self._messages_url, self._profile_url = f"{me}/messages", f"{me}/profile"
        self._drafts_url = f"{me}/drafts"
        self._api, self._writing = (
            GoogleApi(service, token_provider, http=http, renew=renew, timeout=timeout, sleep=sleep)
            for service in (_GMAIL, _GMAIL_WRITING)
        )

    async def profile(self) -> Profile:
        """Return whose mailbox it is, and how much is in it; raises as `search`."""
        return self._api.parsed(Profile, await self._api.request(self._profile_url, {}))

    async def search(self, query: str = "", max_results: int = 20) -> list[MailMessage]:
        """Return messages without their text, in Gmail's order (newest first).

        `query` is in Gmail's search syntax; `max_results` is 1 to 50. Raises InvalidInputError,
        SetupRequiredError (no or no longer valid permission) and UnavailableError.
        """
        if not 1 <= max_results <= MOST_RESULTS:
            raise InvalidInputError(
                f"A search returns 1 to {MOST_RESULTS} messages.", field="max_results"
            )
        if len(query) > _LONGEST_QUERY:
            raise InvalidInputError(
                f"A search has at most {_LONGEST_QUERY} characters.", field="query"
            )
        ids = await self._list(query, max_results)
        places = asyncio.Semaphore(_PARALLEL)
        found: dict[str, MailMessage] = {}
        failed: dict[str, UnavailableError] = {}

        async def fetch(message_id: str) -> None:
            async with places:
                try:
                    found[message_id] = await self._summary(message_id)
                except NotFoundError:  # deleted since it was listed
                    return
                except UnavailableError as error:
                    failed[message_id] = error

        try:
            async with asyncio.TaskGroup() as group:
                for message_id in ids:
                    group.create_task(fetch(message_id))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from faults
        if failed and not found:
            raise next(iter(failed.values()))
        # If one message cannot be read, the others are still returned.
        found |= {
            message_id: unread_message(message_id, failed[message_id]) for message_id in failed
        }
        return [found[message_id] for message_id in ids if message_id in found]

    async def get(self, message_id: str) -> MailMessage:
        """Return one message; raises NotFoundError and what `search` raises."""
        answer = await self._fetch(message_id, {"format": "full"})
        # In a thread: a large message in HTML takes a while.
        return await asyncio.to_thread(full_message, answer)

    async def get_files(self, message_id: str) -> MessageFiles:
        """Return the attachments of one message; raises as `get`.

        Of large ones only `stored_as` is there: `fetch_stored` has the content.
        """
        answer = await self._fetch(message_id, {"format": "full"})
        message = await asyncio.to_thread(message_without_text, answer)
        return MessageFiles(message.sender, await asyncio.to_thread(files_of_message, answer))

    async def fetch_stored(self, message_id: str, file: AttachedFile) -> AttachedFile:
        """Return an attachment of a message with its content; raises as `get`."""
        if file.data or not file.stored_as:
            return file
        url = f"{self._messages_url}/{message_id}/attachments/{quote(file.stored_as, safe='')}"
        answer = await self._api.request(url, {}, missing=_missing(message_id))
        return replace(file, data=self._api.parsed(StoredBody, answer).content)

    async def headers(self, message_id: str, names: Sequence[str]) -> tuple[Headers, str]:
        """Return some headers of a message as they were sent, and the id of its thread."""
        asked: Params = {"format": "metadata", "metadataHeaders": list(names)}
        answer = await self._fetch(message_id, asked)
        return headers_of(answer), answer.thread_id

    async def send(self, message: bytes, thread_id: str = "") -> None:
        """Send a message to the recipients in its headers; Gmail puts a copy into Sent.

        Raises OutcomeUnknownError where Gmail does not say whether it took it.
        """
        await self._write(f"{self._messages_url}/send", _message(message, thread_id))

    async def keep_draft(self, message: bytes, thread_id: str = "") -> None:
        """Put a message into Drafts; raises as `send`."""
        await self._write(self._drafts_url, {"message": _message(message, thread_id)})

    async def holds(self, message_id: str, *, drafts: bool) -> bool:
        """Return whether a message is in the mailbox, by its Message-ID; drafts count if asked."""
        bare = message_id.strip("<>")
        query = f"rfc822msgid:{bare} in:anywhere" + ("" if drafts else " -in:drafts")
        return bool(await self._list(query, 1))

    async def _write(self, url: str, content: object) -> None:
        try:
            await self._writing.request(url, {}, method="POST", content=content, is_once=True)
        except ConflictError as error:
            raise UnavailableError(error.message, service="gmail") from error

    async def _list(self, query: str, max_results: int) -> list[str]:
        ids: dict[str, None] = {}
        token: str | None = None
        for _ in range(_MOST_PAGES):
            params: dict[str, str | int] = {"maxResults": max_results - len(ids)}
            if query.strip():
                params["q"] = query
            if token:
                params["pageToken"] = token
            answer = await self._api.request(self._messages_url, params)
            page = self._api.parsed(MessagePage, answer)
            ids.update((reference.id, None) for reference in page.messages)
            token = page.next_page_token
            if not token or len(ids) >= max_results:
                break
        return list(ids)[:max_results]

    async def _summary(self, message_id: str) -> MailMessage:
        answer = await self._fetch(
            message_id, {"format": "metadata", "metadataHeaders": list(_LISTED_HEADERS)}
        )
        return message_without_text(answer)

    async def _fetch(self, message_id: str, params: Params) -> GmailMessage:
        if not _MESSAGE_ID.fullmatch(message_id):
            raise InvalidInputError(
                "That is no id of a Gmail message. Use one that gmail_search returned.",
                field="message_id",
            )
        url = f"{self._messages_url}/{message_id}"
        missing = _missing(message_id)
        return self._api.parsed(GmailMessage, await self._api.request(url, params, missing=missing))


def _missing(message_id: str) -> NotFoundError:
    hint = "Search again, and use an id that gmail_search returned."
    return NotFoundError("message", message_id, hint=hint)


def _message(message: bytes, thread_id: str) -> dict[str, str]:
    thread = {"threadId": thread_id} if thread_id else {}
    return {"raw": base64.urlsafe_b64encode(message).decode("ascii"), **thread}
