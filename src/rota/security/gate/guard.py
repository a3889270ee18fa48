"""The innermost middleware of an agent: it refuses calls that went around the approval gate.

The caller may admit a read-only tool that could not be wrapped. Its calls run, and are recorded in
the audit log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.outside_texts import OutsideTexts
from rota.domain.errors import RotaError
from rota.security.gate.calls import (
    ASKED_BESIDE,
    ApprovalContext,
    ApprovalLedger,
    ToolOutcome,
    describe_failure,
    log_failure,
    shown_arguments,
)
from rota.security.gate.own_task import in_own_task
from rota.security.gate.tool_wrapper import GatedTool

T = TypeVar("T")

_UNGATED: Final = "not behind the approval gate"


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
        if not self._is_admitted(tool):
            return "the tool is not behind the approval gate"
        declaration = self._context.declarations.get(request.tool_call["name"])
        return unheld_problem(declaration, self._context.policy.outside)

    def _is_admitted(self, tool: BaseTool | None) -> bool:
        return any(tool is admitted for admitted in self._admitted)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Refuse a call, or pass it on."""
        ledger, name = self._context.ledger, request.tool_call["name"]
        arguments = shown_arguments(request.tool_call["args"])
        if (why := self._why_not(request)) is not None:
            await ledger.unjudged(name, arguments, "not_run", why)
            return await handler(request) if request.tool is None else _refusal(request, why)
        if not self._is_admitted(request.tool):
            return await handler(request)
        try:
            return await recording_unwrapped(ledger, name, arguments, lambda: handler(request))
        except (RotaError, GraphBubbleUp):
            raise
        except Exception as error:  # noqa: BLE001  as `GatedTool`: a failing tool ends no run
            return _error(request, describe_failure(error, None))


def unheld_problem(declaration: ToolDeclaration | None, outside: OutsideTexts) -> str | None:
    """Return why a tool that is not behind the gate is refused: its call would have to wait."""
    reaches_outside = declaration is None or declaration.reaches_outside
    why = outside.why_not(ASKED_BESIDE.get()) if reaches_outside else ""
    return f"it reaches outside, and {why}; without the gate no call can wait" if why else None


async def recording_unwrapped(
    ledger: ApprovalLedger,
    tool_name: str,
    arguments: Mapping[str, Any],
    work: Callable[[], Awaitable[T]],
) -> T:
    """Call a tool that is not behind the gate, and record that it began and how it ended."""
    await ledger.unjudged(tool_name, arguments, "started", _UNGATED)
    try:
        answer = await in_own_task(work())
    except asyncio.CancelledError:
        ended = ledger.unjudged(tool_name, arguments, "unknown", f"{_UNGATED}: cancelled")
        await asyncio.shield(ended)
        raise
    except BaseException as error:
        log_failure(tool_name, error)
        failure = f"{_UNGATED}: {describe_failure(error, None)}"
        await ledger.unjudged(tool_name, arguments, "failed", failure)
        raise
    await ledger.unjudged(tool_name, arguments, _outcome(answer), _UNGATED)
    return answer


def _outcome(answer: object) -> ToolOutcome:
    failed = isinstance(answer, ToolMessage) and answer.status == "error"
    return "failed" if failed else "succeeded"


def _refusal(request: ToolCallRequest, why: str) -> ToolMessage:
    name = request.tool_call["name"]
    return _error(request, f"{name} was refused: {why}. It did not run.")


def _error(request: ToolCallRequest, message: str) -> ToolMessage:
    return ToolMessage(
        message,
        name=request.tool_call["name"],
        tool_call_id=request.tool_call["id"] or "",
        status="error",
    )
