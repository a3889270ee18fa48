"""The context of a person who has a mail folder on disk, and nothing connected."""

from uuid import UUID

import httpx

from rota.agents.tools.context import ToolContext
from rota.domain.errors import SetupRequiredError
from rota.domain.ids import UserId


def mail_context(path, now):
    async def secret(service):
        raise SetupRequiredError("Not connected.", what=service)

    http = httpx.AsyncClient()
    return ToolContext(UserId(UUID(int=1)), lambda: now, secret, lambda: path, http)
