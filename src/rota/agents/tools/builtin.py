"""The tools that rota brings. A function here makes each tool, and declares what holds for it.

A worker builds the tools from these functions. `rota migrate` and the start of an embedded database
write the declarations to `tools`. The code of a tool, and LangChain, are imported only when the
tool is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rota.agents.tools.context import ToolContext, ToolFactory, ToolRegistry
from rota.domain.agents.configuration import ToolFacts

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

_FACTORIES: Final[dict[str, ToolFactory]] = {}
_FACTS: Final[dict[str, ToolFacts]] = {}

_MAIL_READER: Final = ToolFacts(
    read_only=True, idempotent=True, risk="low", default_tier="auto", reaches_outside=False
)
"""Reads one mailbox, which the model cannot choose, and brings what strangers wrote to it."""

_CALENDAR_READER: Final = _MAIL_READER
"""As above, of calendars: anybody can invite their owner."""

_CALENDAR_WRITER: Final = ToolFacts(
    idempotent=True,
    risk="medium",
    default_tier="user_configurable",
    brings_outside_text=False,
)
"""Makes an event with an id of the call's own; its attendees are invited, wherever they are.

Without any it reaches nobody (`stays_with_owner`).
"""

_MAIL_WRITER: Final = ToolFacts(
    risk="medium",
    default_tier="user_configurable",
    timeout_seconds=300,
    brings_outside_text=False,
    reaches_outside=True,
)
"""Sends what the model writes to whom the model chooses: never repeated, and held by default."""


_FILE_READER: Final = replace(_MAIL_READER, timeout_seconds=120)
"""As a mail reader; large files take time to be fetched and read."""


def builtin_tools() -> ToolRegistry:
    """Return a registry of the built-in tools."""
    return ToolRegistry(_FACTORIES)


def builtin_facts() -> dict[str, ToolFacts]:
    """Return what is declared of the built-in tools, by name."""
    return dict(_FACTS)


def _declared(facts: ToolFacts) -> Callable[[ToolFactory], ToolFactory]:
    """Register the tool of the function's name, with what is declared of it."""

    def register(factory: ToolFactory) -> ToolFactory:
        _FACTORIES[factory.__name__] = factory
        _FACTS[factory.__name__] = facts
        return factory

    return register


@_declared(_MAIL_READER)
def gmail_search(context: ToolContext) -> BaseTool:
    """Search the owner's Gmail."""
    from rota.agents.tools.mail.gmail_tools import gmail_search_tool  # noqa: PLC0415  LangChain

    return gmail_search_tool(context=context)


@_declared(_MAIL_READER)
def gmail_get_message(context: ToolContext) -> BaseTool:
    """Read one message of the owner's Gmail."""
    from rota.agents.tools.mail.gmail_tools import (  # noqa: PLC0415  LangChain
        gmail_get_message_tool,
    )

    return gmail_get_message_tool(context=context)


@_declared(_FILE_READER)
def gmail_get_attachment(context: ToolContext) -> BaseTool:
    """Read one attachment of a message of the owner's Gmail, as text."""
    from rota.agents.tools.mail.gmail_tools import (  # noqa: PLC0415  LangChain
        gmail_get_attachment_tool,
    )

    return gmail_get_attachment_tool(context=context)


@_declared(_MAIL_READER)
def mail_search(context: ToolContext) -> BaseTool:
    """Search the owner's mailbox: the connected one, or the folder on disk."""
    from rota.agents.tools.mail.folder_tools import mail_search_tool  # noqa: PLC0415  LangChain

    return mail_search_tool(context=context)


@_declared(_MAIL_READER)
def mail_get_message(context: ToolContext) -> BaseTool:
    """Read one message of the owner's mailbox."""
    from rota.agents.tools.mail.folder_tools import mail_get_message_tool  # noqa: PLC0415  LangChain

    return mail_get_message_tool(context=context)


@_declared(_FILE_READER)
def mail_get_attachment(context: ToolContext) -> BaseTool:
    """Read one attachment of a message of the owner's mailbox, as text."""
    from rota.agents.tools.mail.folder_tools import (  # noqa: PLC0415  LangChain
        mail_get_attachment_tool,
    )

    return mail_get_attachment_tool(context=context)


@_declared(_CALENDAR_READER)
def calendar_agenda(context: ToolContext) -> BaseTool:
    """List the events of the owner's calendars."""
    from rota.agents.tools.calendar.reading_tools import (  # noqa: PLC0415  LangChain
        calendar_agenda_tool,
    )

    return calendar_agenda_tool(context=context)


@_declared(_CALENDAR_READER)
def calendar_find_time(context: ToolContext) -> BaseTool:
    """Find times when the owner is free."""
    from rota.agents.tools.calendar.reading_tools import (  # noqa: PLC0415  LangChain
        calendar_find_time_tool,
    )

    return calendar_find_time_tool(context=context)


@_declared(_MAIL_WRITER)
def send_mail(context: ToolContext) -> BaseTool:
    """Send a mail from the owner's mailbox."""
    from rota.agents.tools.mail.sending.sending_tools import send_mail_tool  # noqa: PLC0415  LangChain

    return send_mail_tool(context=context)


# It stays in the mailbox: nothing leaves before its owner sends it.
@_declared(replace(_MAIL_WRITER, risk="low", reaches_outside=False))
def draft_mail(context: ToolContext) -> BaseTool:
    """Put a mail into the drafts of the owner's mailbox."""
    from rota.agents.tools.mail.sending.sending_tools import draft_mail_tool  # noqa: PLC0415  LangChain

    return draft_mail_tool(context=context)


# It tells the addresses of a message, which its sender wrote.
@_declared(replace(_MAIL_WRITER, brings_outside_text=True))
def reply(context: ToolContext) -> BaseTool:
    """Answer a message of the owner's mailbox."""
    from rota.agents.tools.mail.sending.sending_tools import reply_tool  # noqa: PLC0415  LangChain

    return reply_tool(context=context)


@_declared(_CALENDAR_WRITER)
def calendar_create_event(context: ToolContext) -> BaseTool:
    """Put an event into one of the owner's calendars."""
    from rota.agents.tools.calendar.writing_tools import (  # noqa: PLC0415  LangChain
        calendar_create_event_tool,
    )

    return calendar_create_event_tool(context=context)
