"""Gmail over its REST API (v1), read only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import httpx

from rota.agents.tools.google_api import GoogleApi, GoogleService, Params
from rota.agents.tools.mail.gmail_messages import (
    GmailMessage,
    MessagePage,
    Profile,
    StoredBody,
    files_of_message,
    full_message,
    message_without_text,
    unread_message,
)
from rota.agents.tools.mail.mime import AttachedFile, MailMessage, MessageFiles
from rota.domain.errors import InvalidInputError, NotFoundError, UnavailableError

ENDPOINT: Final = "gmail"
"""Name in ROTA_ENDPOINTS of another base URL for the API."""

DEFAULT_BASE_URL: Final = "https://gmail.googleapis.com"
"""Where Google serves the API."""

SCOPE: Final = "https://www.googleapis.com/auth/gmail.readonly"
"""The OAuth scope that the tools need."""

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


def gmail_url(endpoints: Mapping[str, str]) -> str:
    """Return the API's base URL, the operator's where there is one."""
    return endpoints.get(ENDPOINT, DEFAULT_BASE_URL)


class GmailClient:
    """Reads one person's Gmail. `token_provider` returns a token with `SCOPE`, as for GoogleApi."""

    def __init__(
        self,
        base_url: str,
        token_provider: Callable[[], Awaitable[str]],
        *,
        http: httpx.AsyncClient,
        timeout: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not base_url.startswith(("https://", "http://")):
            raise InvalidInputError(f"{base_url!r} is no URL of an API.", field="base_url")
        me = f"{base_url.rstrip('/')}/gmail/v1/users/me"
        self._messages_url, self._profile_url = f"{me}/messages", f"{me}/profile"
        self._api = GoogleApi(_GMAIL, token_provider, http=http, timeout=timeout, sleep=sleep)

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
