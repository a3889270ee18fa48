"""Tool declarations, which the operator makes for everybody. They decide which calls may run."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from rota.agents.tools.builtin import builtin_facts
from rota.domain.agents.configuration import ToolFacts
from rota.domain.agents.declared_tools import DeclarationChange, DeclaredTool, ToolChange
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.runs.option_kinds import counted
from rota.domain.text.shortening import quoted
from rota.domain.text.storable import storable_text
from rota.store.agents import tools as rows
from rota.store.database import Database

LONGEST_TIMEOUT: Final = 86_400
"""Seconds."""

LONGEST_DESCRIPTION: Final = 2_000
"""Characters: it is sent to the model with each call."""

Check = Callable[[DeclaredTool | None], None]
"""Raises where a tool, None for none, is not what somebody saw who changes it."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as it was declared, and what that changed."""

    tool: DeclaredTool
    change: DeclarationChange


class ToolService:
    """Acts as the backend, because no person owns a tool. People may only read declarations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> tuple[DeclaredTool, ...]:
        """Return all declared tools, by name."""
        async with self._database.connection() as conn:
            return await rows.list_tools(conn)

    async def get(self, name: str) -> DeclaredTool:
        """Return a declared tool; raises NotFoundError."""
        for tool in await self.all():
            if tool.name == name:
                return tool
        raise NotFoundError("tool", name, hint="See `rota tools list`.")

    async def declare(
        self, name: str, change: ToolChange, *, check: Check = lambda _: None
    ) -> Declared:
        """Declare a tool, or change what is declared of it; raises InvalidInputError.

        A new one that nothing is said of changes things, must not be repeated, is of high risk,
        requires approval, may take 60 seconds, brings text from outside and reaches outside. Its
        version counts the changes. `check` is asked of the tool as it is, None for none, while
        nobody else can change it.
        """
        _check(name, change)
        async with self._database.transaction() as conn:
            check(await rows.lock_tool(conn, name))
            made = await rows.declare_tool(conn, name, change)
            tool = await rows.fetch_tool(conn, name)
        if tool is None:  # it was written, and is locked, in this very transaction
            raise RuntimeError("declare_tool left no row")
        return Declared(tool, made)

    async def forget(self, name: str, *, check: Check = lambda _: None) -> DeclaredTool:
        """Delete the declaration of a tool, and return it; `check` as in `declare`.

        Raises NotFoundError, and ConflictError for a tool of rota's own, or one that agents use.
        """
        async with self._database.transaction() as conn:
            tool = await rows.lock_tool(conn, name)
            if tool is None:
                raise _unknown(name, [known.name for known in await rows.list_tools(conn)])
            check(tool)
            if name in builtin_facts():
                raise ConflictError(
                    f"{name} is a tool of rota's own, which is always declared. Change its "
                    f"declaration with `rota tools declare {name}`."
                )
            if agents := await rows.list_agents_with(conn, name):
                raise ConflictError(
                    f"{name} is used by {counted(len(agents), 'agent')}: {', '.join(agents[:5])}. "
                    "Take it out of their `tools:` first, and apply the file anew."
                )
            await rows.delete_tool(conn, name)
        return tool

    async def refresh(self, declared: Mapping[str, ToolFacts]) -> tuple[str, ...]:
        """Bring rota's own tools to what their code declares; returns the names of the changed.

        What the operator declared of one stays. A version rises only where something changed.
        """
        async with self._database.transaction() as conn:
            return await rows.refresh_tools(conn, declared)


def lack_of(
    tool: DeclaredTool,
    *,
    connected: Collection[str],
    registered: Collection[str],
    has_folder: bool,
) -> str | None:
    """Say what a person lacks to use a tool; None for nothing.

    `connected` are the kinds of their connections, and what these give. `registered` are the tools
    of the operator's own that this process has; `has_folder`: their mail is on this machine's disk.
    """
    if not tool.is_active:
        return "The operator has switched it off."
    if tool.name not in builtin_facts():
        if tool.name in registered:
            return None
        return "Its code is not named in ROTA_TOOLS here; a worker may have it."
    if tool.name.startswith("calendar_"):
        return None if "calendar" in connected else "You have connected no calendar."
    if tool.name.startswith("gmail_"):
        return None if "gmail" in connected else "You have connected no Gmail account."
    is_there = "mail" in connected or (has_folder and tool.read_only)
    return None if is_there else "You have connected no mailbox."


def _unknown(name: str, declared: Collection[str]) -> NotFoundError:
    near = get_close_matches(name, declared, n=1)
    hint = f"Did you mean {near[0]}?" if near else "See `rota tools list`."
    return NotFoundError("tool", name, hint=hint)


def _check(name: str, change: ToolChange) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"A tool's name is of 1 to 64 letters, digits, - and _; not {quoted(name, 80)}.",
            field="name",
        )
    seconds = change.timeout_seconds
    if seconds is not None and not 0 < seconds <= LONGEST_TIMEOUT:
        raise InvalidInputError(
            f"A tool may take from more than 0 to {LONGEST_TIMEOUT} seconds.",
            field="timeout_seconds",
        )
    text = change.description or ""
    if len(text) > LONGEST_DESCRIPTION or storable_text(text) != text:
        raise InvalidInputError(
            f"A tool's description is a text of at most {LONGEST_DESCRIPTION} characters.",
            field="description",
        )
