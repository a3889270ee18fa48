"""The journal: every model and tool call of a run is written down, and replayed to a later attempt.

Keyed by (model step, index of the call in that model message), with `tool_call_id` as data only,
because some providers repeat or omit it. A finished step is replayed; a tool that was started,
changes something, and never finished is not repeated unless it declares itself idempotent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.tools import ToolException
from langgraph.types import Command

from rota.domain.agents import ToolDeclaration
from rota.domain.content import normalize_content, storable_json
from rota.domain.errors import RotaError
from rota.security.redaction import redact, redact_text
from rota.security.tool_wrapper import (
    CURRENT_STEP,
    StepKey,
    arguments_hash,
    canonical_arguments,
)

MODEL_CALL: Final = -1
"""`call_index` of a model call; its tool calls count from 0."""

StepStatus = Literal["started", "finished", "failed", "held", "unknown"]


@dataclass(frozen=True, slots=True)
class Step:
    """One journalled call. `request` holds redacted arguments and their hash."""

    key: StepKey
    kind: Literal["model", "tool"]
    name: str
    status: StepStatus
    started_at: datetime
    tool_call_id: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    response: Any = None
    usage: Mapping[str, Any] | None = None
    error: str | None = None
    finished_at: datetime | None = None


class StepRecorder(Protocol):
    """Where steps are kept. `recorded` are those of earlier attempts."""

    def recorded(self, key: StepKey) -> Step | None:
        """Return what an earlier attempt wrote under this key."""
        ...

    async def record(self, step: Step, *, durable: bool = False) -> None:
        """Write a step; with `durable` it is in the database before this returns."""
        ...


class ReplayMismatchError(RotaError):
    """A later attempt asked for another call than the one recorded at the same place."""


class StepLimitError(RotaError):
    """The agent made as many model calls as it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The agent stopped at its limit of {limit} model calls.")
        self.limit = limit


@dataclass(slots=True)
class Progress:
    """What a run has done so far, for its result's metadata and for a partial result."""

    model_calls: int = 0
    tool_calls: int = 0
    replayed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    texts: list[str] = field(default_factory=list)
    stop_reason: str | None = None

    def add(self, message: AIMessage) -> None:
        """Count a model's answer."""
        self.model_calls += 1
        if text := normalize_content(message.content):
            self.texts.append(text)
        usage = message.usage_metadata
        if usage is not None:
            self.input_tokens += usage["input_tokens"]
            self.output_tokens += usage["output_tokens"]
        metadata = message.response_metadata
        reason = (
            metadata.get("stop_reason")
            or metadata.get("finish_reason")
            or metadata.get("done_reason")
            or (metadata.get("incomplete_details") or {}).get("reason")
        )
        self.stop_reason = str(reason) if reason else None


class JournalMiddleware(AgentMiddleware[Any, Any, Any]):
    """Journals and replays the calls of one attempt, and stops it at its step limit."""

    def __init__(
        self,
        recorder: StepRecorder,
        *,
        max_steps: int,
        declarations: Mapping[str, ToolDeclaration],
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._max_steps = max_steps
        self._declarations = declarations
        self._clock = clock
        self.progress = Progress()
        self._model_step = 0

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Answer from the journal, or ask the model and write its answer down."""
        # Counted here: messages may be summarised away, or replaced by one with the same id.
        self._model_step += 1
        if self._model_step > self._max_steps:
            raise StepLimitError(self._max_steps)
        key = StepKey(self._model_step, MODEL_CALL)
        earlier = self._recorder.recorded(key)
        if earlier is not None and earlier.status == "finished":
            messages = messages_from_dict(earlier.response)
            self.progress.replayed += 1
            self._count(messages)
            return ModelResponse(result=messages)
        step = Step(key, "model", _model_name(request), "started", self._clock())
        try:
            response = await handler(request)
        except Exception as error:
            await self._recorder.record(
                replace(
                    step,
                    status="failed",
                    error=redact_text(f"{type(error).__name__}: {error}")[:2_000],
                    finished_at=self._clock(),
                )
            )
            raise
        _name_calls(response.result, self._model_step)
        self._count(response.result)
        await self._recorder.record(
            replace(
                step,
                status="finished",
                response=storable_json([message_to_dict(m) for m in response.result]),
                usage=_usage(response.result),
                finished_at=self._clock(),
            )
        )
        return response

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Answer from the journal, or run the tool and write its answer down."""
        call = request.tool_call
        key = StepKey(self._model_step, _index_of(request))
        self.progress.tool_calls += 1
        try:
            arguments = canonical_arguments(call["args"])
        except ToolException as error:
            return ToolMessage(
                str(error), name=call["name"], tool_call_id=call["id"] or "", status="error"
            )
        fingerprint = arguments_hash(arguments)
        earlier = self._recorder.recorded(key)
        if earlier is not None:
            replayed = self._replay(earlier, call["name"], call["id"] or "", fingerprint)
            if replayed is not None:
                return replayed
        step = Step(
            key,
            "tool",
            call["name"],
            "started",
            self._clock(),
            tool_call_id=call["id"],
            request={"arguments": redact(arguments), "arguments_hash": fingerprint},
        )
        declaration = self._declarations.get(call["name"])
        if declaration is None or not declaration.read_only:
            await self._recorder.record(step, durable=True)
        token = CURRENT_STEP.set(key)
        try:
            answer = await handler(request)
        except Exception as error:
            await self._recorder.record(
                replace(
                    step,
                    status="failed",
                    error=redact_text(f"{type(error).__name__}: {error}")[:2_000],
                    finished_at=self._clock(),
                )
            )
            raise
        finally:
            CURRENT_STEP.reset(token)
        await self._recorder.record(
            replace(
                step,
                status="finished",
                response=storable_json(message_to_dict(answer))
                if isinstance(answer, ToolMessage)
                else None,
                finished_at=self._clock(),
            )
        )
        return answer

    def _replay(
        self, earlier: Step, name: str, tool_call_id: str, fingerprint: str
    ) -> ToolMessage | None:
        """Return the recorded answer, or None where running (again) is right."""
        if (earlier.name, earlier.request.get("arguments_hash")) != (name, fingerprint):
            raise ReplayMismatchError(
                f"An earlier attempt of this run called {earlier.name} at step "
                f"{earlier.key.model_step}; this attempt calls {name} with other arguments there. "
                "The run stops rather than do something else."
            )
        declaration = self._declarations.get(name)
        harmless = declaration is not None and (declaration.read_only or declaration.idempotent)
        if earlier.status in {"finished", "held"} and earlier.response is not None:
            (message,) = messages_from_dict([earlier.response])
            if isinstance(message, ToolMessage):
                self.progress.replayed += 1
                message.tool_call_id = tool_call_id
                return message
        if harmless:
            return None
        return ToolMessage(
            content=(
                f"{name} was started by an earlier attempt of this run, which ended before the "
                "tool answered. Whether it took effect is unknown, so it was not repeated. Do not "
                "call it again; report that its outcome is unknown."
            ),
            name=name,
            tool_call_id=tool_call_id,
            status="error",
        )

    def _count(self, messages: Sequence[BaseMessage]) -> None:
        for message in messages:
            if isinstance(message, AIMessage):
                self.progress.add(message)


def _name_calls(messages: Sequence[BaseMessage], model_step: int) -> None:
    """Give tool calls the ids that some providers omit: LangGraph answers by them."""
    for message in messages:
        if isinstance(message, AIMessage):
            for index, call in enumerate(message.tool_calls):
                if not call["id"]:
                    call["id"] = f"rota_{model_step}_{index}"


def _index_of(request: ToolCallRequest) -> int:
    """Return the call's place among those of the model message that asked for it."""
    models = [m for m in request.state["messages"] if isinstance(m, AIMessage)]
    calls = models[-1].tool_calls if models else []
    same = [i for i, c in enumerate(calls) if c is request.tool_call]
    if not same:  # rebuilt by LangGraph on the way: find it by id, then by name and arguments
        same = [i for i, c in enumerate(calls) if c["id"] and c["id"] == request.tool_call["id"]]
    if len(same) != 1:
        same = [
            i
            for i, c in enumerate(calls)
            if (c["id"], c["name"], c["args"])
            == (request.tool_call["id"], request.tool_call["name"], request.tool_call["args"])
        ] or [0]
    return same[0]


def _model_name(request: ModelRequest[Any]) -> str:
    model = request.model
    return str(
        getattr(model, "model_name", None) or getattr(model, "model", None) or type(model).__name__
    )


def _usage(messages: Sequence[BaseMessage]) -> dict[str, Any] | None:
    for message in messages:
        if isinstance(message, AIMessage) and message.usage_metadata is not None:
            return dict(message.usage_metadata)
    return None
