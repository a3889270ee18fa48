"""The context that a tool gets of its run, and the registry that maps a row's tool name to code."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rota.domain.agents.connections import ConnectedAccount
from rota.domain.errors import ConflictError, SetupRequiredError
from rota.domain.ids import UserId

if TYPE_CHECKING:
    import httpx
    from langchain_core.tools import BaseTool


ConnectionUse: TypeAlias = Callable[[str], AbstractAsyncContextManager[str]]
"""Gives the secret of a connection, by its name, for a block, and notes how the block went."""


def nothing_connected(name: str) -> AbstractAsyncContextManager[str]:
    """Be the `connection` of somebody who has none."""
    raise SetupRequiredError(f"{name} is not connected.", what=f"connection:{name}")


async def no_accounts(_gives: str) -> tuple[ConnectedAccount, ...]:
    """Be the `connected` of somebody who has connected nothing."""
    return ()


async def no_other_secret(_name: str, refused: str) -> str:
    """Be the `renew` of a context whose tokens are all that there is."""
    return refused


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Whose run it is, its clock, and ways to that person's accounts.

    `connected` lists the owner's connections that give "mail" or "calendar". `connection` gives the
    secret of one, by its name, for a block, and notes how the block went, for its owner to see;
    raises SetupRequiredError where it is not connected, or not to be tried. `secret` returns the
    same, and nothing is noted. Of an OAuth grant that secret is an access token, just refreshed.
    `renew` takes a connection's name and a secret of it that was refused, as a token is that ended
    early. It returns the one to use instead; the same, where there is no other.
    `mail_folder` returns the operator's mail folder for this person; raises SetupRequiredError.

    >>> from langchain_core.tools import BaseTool, tool
    >>> def note_writer(context: rota.ToolContext) -> BaseTool:
    ...     @tool
    ...     def write_note(text: str) -> str:
    ...         "Write a note."
    ...         return f"{context.now():%Y-%m-%d} {text}"
    ...     return write_note
    """

    user_id: UserId
    now: Callable[[], datetime]
    secret: Callable[[str], Awaitable[str]]
    mail_folder: Callable[[], Path]
    http: httpx.AsyncClient
    endpoints: Mapping[str, str] = field(default_factory=dict)
    connection: ConnectionUse = nothing_connected
    connected: Callable[[str], Awaitable[tuple[ConnectedAccount, ...]]] = no_accounts
    renew: Callable[[str, str], Awaitable[str]] = no_other_secret


ToolFactory: TypeAlias = "Callable[[ToolContext], BaseTool]"


class ToolRegistry:
    """Tools by name: the only way from a row to code."""

    def __init__(self, factories: Mapping[str, ToolFactory]) -> None:
        self._factories = dict(factories)

    def register(self, name: str, factory: ToolFactory) -> None:
        """Add an operator's tool; raises ConflictError for a name that is taken."""
        if name in self._factories:
            raise ConflictError(f"A tool named {name!r} is registered already.")
        self._factories[name] = factory

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        return tuple(sorted(self._factories))

    def build(self, name: str, context: ToolContext) -> BaseTool:
        """Return a new tool for one run; raises SetupRequiredError for an unregistered name."""
        factory = self._factories.get(name)
        if factory is None:
            raise unregistered(name)
        return factory(context)


def unregistered(name: str) -> SetupRequiredError:
    """Return the error for a tool that an agent links and this process does not have."""
    return SetupRequiredError(
        f"The agent has the tool {name!r}, and {started_without('ROTA_TOOLS')}, or take the tool "
        "from the agent.",
        what=f"tool:{name}",
    )


def started_without(variable: str) -> str:
    """Say that this process lacks what the variable would name, and what to do."""
    return (
        f"the worker {socket.gethostname()}:{os.getpid()} was started without it: set {variable} "
        "there and restart it"
    )
