"""The tools that rota brings, by the names that rows use."""

from __future__ import annotations

from typing import Final

from langchain_core.tools import BaseTool

from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.agents.tools.mail.folder import mail_get_message_tool, mail_search_tool
from rota.agents.tools.mail.gmail import (
    DEFAULT_BASE_URL,
    GmailClient,
    gmail_get_message_tool,
    gmail_search_tool,
)

GMAIL_ENDPOINT: Final = "gmail"
"""Name in ROTA_ENDPOINTS of another base URL for the Gmail API."""


def builtin_tools() -> ToolRegistry:
    """Return a registry of the built-in tools."""
    return ToolRegistry(
        {
            "gmail_search": _gmail_search,
            "gmail_get_message": _gmail_get_message,
            "mail_search": _mail_search,
            "mail_get_message": _mail_get_message,
        }
    )


def _gmail(context: ToolContext) -> GmailClient:
    async def token() -> str:
        return await context.secret("gmail")

    base_url = context.endpoints.get(GMAIL_ENDPOINT, DEFAULT_BASE_URL)
    return GmailClient(base_url, token, http=context.http)


def _gmail_search(context: ToolContext) -> BaseTool:
    return gmail_search_tool(client=_gmail(context))


def _gmail_get_message(context: ToolContext) -> BaseTool:
    return gmail_get_message_tool(client=_gmail(context))


def _mail_search(context: ToolContext) -> BaseTool:
    return mail_search_tool(folder_path=context.mail_folder(), now=context.now)


def _mail_get_message(context: ToolContext) -> BaseTool:
    return mail_get_message_tool(folder_path=context.mail_folder())
