"""Builds registered tools only to describe them: their text and their arguments.

Used by commands that show or declare a tool. No tool is called here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from rota.domain.errors import RotaError, SetupRequiredError
from rota.domain.ids import UserId
from rota.settings import Settings

T = TypeVar("T")


def argument_names(
    settings: Settings, name: str, *, now: Callable[[], datetime]
) -> frozenset[str] | None:
    """Return the names of a tool's arguments; None where it takes others, or cannot be looked at.

    A tool that is registered elsewhere only, or cannot be made here, is the worker's to look at.
    """
    from rota.security.gate.arguments import argument_names as names_of

    own = {name: settings.tools[name]} if name in settings.tools else {}
    try:
        return look_at(
            replace(settings, tools=own),
            name,
            names_of,
            now=now,
            mail=lambda: settings.mail or Path(),
        )
    except RotaError:
        return None


def look_at(
    settings: Settings,
    name: str,
    look: Callable[[Any], T],
    *,
    now: Callable[[], datetime],
    mail: Callable[[], Path],
) -> T:
    """Return what is seen of a registered tool.

    Raises SetupRequiredError for one that is not registered, or cannot be made.
    """
    # LangChain takes seconds to import, and most commands never look at a tool.
    import httpx

    from rota.agents.own_code.registered import tool_registry
    from rota.agents.tools.context import ToolContext

    async def secret(service: str) -> str:
        raise SetupRequiredError("The tool is only looked at.", what=service)

    context = ToolContext(
        user_id=UserId(UUID(int=0)),
        now=now,
        secret=secret,
        mail_folder=mail,
        http=httpx.AsyncClient(),
        endpoints=settings.endpoints,
    )
    registry = tool_registry(settings.tools, called=settings.name_of("ROTA_TOOLS"))
    if name not in registry.names():
        raise SetupRequiredError(
            f"No tool is registered as {name!r} here: set ROTA_TOOLS for this command.",
            what=f"tool:{name}",
        )
    return look(registry.build(name, context))
