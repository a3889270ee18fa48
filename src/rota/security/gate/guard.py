"""The innermost middleware of an agent: what reaches a tool has passed it, or is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from langgraph.types import Command

from rota.security.gate.calls import (
    ApprovalContext,
    ToolOutcome,
    describe_failure,
    on_loop,
    shown_arguments,
)
from rota.security.gate.tool_wrapper import GatedTool

T = TypeVar("T")


class GateGuard(AgentMiddleware[Any, Any, Any]):
    """The innermost middleware: refuses any tool that is not this run's `GatedTool`.

    `admitted` are tools that the caller lets run unwrapped (read-only ones whose wrapping failed).
    """

    def __init__(self, context: ApprovalContext, admitted: Sequence[BaseTool] = ()) -> None:
        super().__init__()
        self._context = context
        self._admitted = tuple(admitted)

    def _why_not(self, request: ToolCallRequest) -> str | None:
        """Return why a call does not run; None: it does."""
        tool = request.tool
        if tool is None:  # ToolNode answers with an error message
            return "the agent has no such tool"
        if isinstance(tool, GatedTool) and tool.context is self._context:
            names = {tool.name, tool.gated_name, request.tool_call["name"]}
            return None if len(names) == 1 else "the tool was renamed"
        return None if self._is_admitted(tool) else "the tool is not behind the approval gate"

    def _is_admitted(self, tool: BaseTool | None) -> bool:
        return any(tool is admitted for admitted in self._admitted)

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        """Refuse or pass on a synchronous call."""
        name, arguments = request.tool_call["name"], shown_arguments(request.tool_call["args"])
        try:
            if (why := self._why_not(request)) is not None:
                on_loop(self._context, name, self._refuse(request, why))
                return handler(request) if request.tool is None else _refusal(request)
            if not self._is_admitted(request.tool):
                return handler(request)
            ledger = self._context.ledger
            on_loop(self._context, name, ledger.unwrapped(name, arguments, "started"))
        except ToolException as error:  # called on the ledger's own loop
            return _error(request, str(error))
        try:
            answer = handler(request)
        except BaseException as error:
            failure = describe_failure(error, None)
            on_loop(self._context, name, ledger.unwrapped(name, arguments, "failed", failure))
            raise
        on_loop(self._context, name, ledger.unwrapped(name, arguments, _outcome(answer)))
        return answer

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Refuse or pass on an asynchronous call."""
        if (why := self._why_not(request)) is not None:
            await self._refuse(request, why)
            return await handler(request) if request.tool is None else _refusal(request)
        if not self._is_admitted(request.tool):
            return await handler(request)
        return await recording_unwrapped(
            self._context.ledger,
            request.tool_call["name"],
            shown_arguments(request.tool_call["args"]),
            lambda: handler(request),
        )

    async def _refuse(self, request: ToolCallRequest, why: str) -> None:
        call = request.tool_call
        await self._context.ledger.refused(call["name"], shown_arguments(call["args"]), why)


class UnwrappedLedger(Protocol):
    """Where calls of tools that run without the gate are written down."""

    async def unwrapped(
        self, tool_name: str, arguments: Mapping[str, Any], outcome: str, detail: str = ""
    ) -> None:
        """See ApprovalLedger."""
        ...


async def recording_unwrapped(
    ledger: UnwrappedLedger,
    tool_name: str,
    arguments: Mapping[str, Any],
    work: Callable[[], Awaitable[T]],
) -> T:
    """Call a tool that is not behind the gate, and record that it began and how it ended."""
    await ledger.unwrapped(tool_name, arguments, "started")
    try:
        answer = await work()
    except asyncio.CancelledError:
        await asyncio.shield(ledger.unwrapped(tool_name, arguments, "unknown", "cancelled"))
        raise
    except BaseException as error:
        failure = describe_failure(error, None)
        await ledger.unwrapped(tool_name, arguments, "failed", failure)
        raise
    await ledger.unwrapped(tool_name, arguments, _outcome(answer))
    return answer


def _outcome(answer: object) -> ToolOutcome:
    failed = isinstance(answer, ToolMessage) and answer.status == "error"
    return "failed" if failed else "succeeded"


def _refusal(request: ToolCallRequest) -> ToolMessage:
    name = request.tool_call["name"]
    return _error(
        request, f"{name} was refused: it is not behind the approval gate. It did not run."
    )


def _error(request: ToolCallRequest, text: str) -> ToolMessage:
    return ToolMessage(
        content=text,
        name=request.tool_call["name"],
        tool_call_id=request.tool_call["id"] or "",
        status="error",
    )
