"""The arguments and answers of the mail tools, the same for a mail folder and for Gmail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from langchain_core.tools import ToolException
from pydantic import BaseModel, Field

from rota.agents.tools.mail.gmail import MOST_RESULTS
from rota.agents.tools.mail.mime import MailMessage
from rota.domain.approvals.actions import OutcomeUnknownError
from rota.domain.approvals.outside_texts import mail_source
from rota.domain.errors import RotaError, SetupRequiredError
from rota.domain.text.storable import cut, storable_text
from rota.security.gate.calls import note_source

TEXT_LIMIT: Final = 20_000
"""Characters of a message's text that a tool answers with."""

MAILBOX: Final = "Which mailbox, by its name. Needed only where several are connected."


class SearchArguments(BaseModel):
    """Arguments of a search."""

    query: str = Field(default="", description="What to search for. Empty finds every message.")
    max_results: int = Field(
        default=20, ge=1, le=MOST_RESULTS, description="How many messages to return at most."
    )

    mailbox: str = Field(default="", description=MAILBOX)


class MessageArguments(BaseModel):
    """Arguments of reading a message."""

    message_id: str = Field(min_length=1, description="The id of a message, as a search gave it.")
    mailbox: str = Field(default="", description=MAILBOX)


def note_sender(sender: str) -> None:
    """Say that the answer has a text of this sender's, by the From header as it is shown."""
    note_source(mail_source(sender))


def listing_as_json(messages: Sequence[MailMessage]) -> str:
    """Return a JSON list with what is needed to choose among messages."""
    for message in reversed(messages):  # the newest comes last: it is told of first
        note_sender(message.sender)
    return as_json(
        [
            {
                "id": message.id,
                "date": _date(message),
                "from": message.sender,
                "subject": message.subject,
                "snippet": message.snippet,
                "unread": message.unread,
                "notes": message.notes,
            }
            for message in messages
        ]
    )


def message_as_json(message: MailMessage) -> str:
    """Return a JSON object of a message, its text cut at `TEXT_LIMIT` (`truncated` tells)."""
    note_sender(message.sender)
    text = cut(message.text, TEXT_LIMIT)
    return as_json(
        {
            "id": message.id,
            "date": _date(message),
            "from": message.sender,
            "to": message.to,
            "cc": message.cc,
            "subject": message.subject,
            "text": text.text,
            "attachments": [
                {"name": file.name, "content_type": file.content_type, "size": file.size}
                for file in message.attachments
            ],
            "truncated": text.truncated or message.truncated,
            "notes": message.notes,
        }
    )


@contextmanager
def errors_for_the_model() -> Iterator[None]:
    """Turn rota's errors into ToolException: a sentence that the model can act on.

    SetupRequiredError passes: only a person can act on it. So does OutcomeUnknownError, which the
    gate acts on.
    """
    try:
        yield
    except (SetupRequiredError, OutcomeUnknownError):
        raise
    except RotaError as error:
        raise ToolException(str(error)) from error


def _date(message: MailMessage) -> str | None:
    return message.date.isoformat() if message.date else None


def as_json(value: object) -> str:
    """Return JSON that can be stored."""
    return storable_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
