"""The approval gate: every tool call of an agent passes through a `GatedTool`, or does not run.

Enforcement sits in `_run` and `_arun`, which every public way of running a LangChain tool ends in
(invoke, ainvoke, run, arun, batch, stream, ToolNode). Tools are wrapped, never patched in place.
`GateGuard`, the innermost middleware, refuses a tool that reached the graph around the wrapper.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, TypeVar, get_type_hints

import rfc8785
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from pydantic import PrivateAttr
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from rota.domain.agents import ToolDeclaration
from rota.domain.approvals import Verdict
from rota.domain.content import storable_json
from rota.domain.errors import RotaError, SetupRequiredError
from rota.domain.ids import RunId, UserId
from rota.security.call_policy import CallPolicy, Rehearsed
from rota.security.hashing import arguments_hash
from rota.security.redaction import redact, redact_text

ToolOutcome = Literal["succeeded", "failed", "not_run", "unknown"]
T = TypeVar("T")

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds that an undeclared tool may take once approved."""

_FAILURES: Final = (Exception, SystemExit, KeyboardInterrupt)
"""Any failure of a tool is a message to the model; one that calls `sys.exit` ends no worker."""

_ERROR_LIMIT: Final = 2_000
_CONFIG_KEYS: Final = frozenset({"config", "run_manager", "callbacks"})


_CALL_SCHEMAS: Final[dict[tuple[Any, str, str], Any]] = {}
_MOST_SCHEMAS: Final = 500


@dataclass(frozen=True, slots=True)
class StepKey:
    """Where a tool call stands in its run: the model call that made it, and its place there."""

    model_step: int
    call_index: int


CURRENT_STEP: ContextVar[StepKey | None] = ContextVar("rota_current_step", default=None)
"""Set by the journal around each tool call; None for a call that no model message asked for."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call about to be judged. `arguments` are validated, JSON, and without injected values."""

    tool_name: str
    arguments: Mapping[str, Any]
    arguments_hash: str
    step: StepKey | None
    declaration: ToolDeclaration | None
    schema: Mapping[str, Any] | None = None  # of a held call: JSON Schema of its arguments

    @property
    def read_only(self) -> bool:
        """Whether the tool is declared to change nothing; an undeclared one is not."""
        return self.declaration is not None and self.declaration.read_only

    @property
    def redacted_arguments(self) -> dict[str, Any]:
        """The arguments with secrets replaced, for logs."""
        redacted: dict[str, Any] = redact(self.arguments)
        return redacted


@dataclass(frozen=True, slots=True)
class Permit:
    """A held call that was approved, and that this attempt alone may run, with these arguments."""

    arguments: Mapping[str, Any]
    reason: str
    note: str = ""  # for the agent, beside the answer


class ApprovalLedger(Protocol):
    """Where calls are written down: pending actions and the audit log."""

    def was_held(self, call: ToolCall) -> bool:
        """Return whether an earlier attempt held this call: then only its action decides."""
        ...

    async def hold(self, call: ToolCall, verdict: Verdict) -> str | Permit:
        """Store a pending action, durably, and return what the agent is told.

        Where its owner has approved it by now, and the call may run here, return a permit.
        """
        ...

    async def starting(self, call: ToolCall, verdict: Verdict) -> None:
        """Make durable that the call begins, before anything with an effect does."""
        ...

    async def finished(
        self,
        call: ToolCall,
        verdict: Verdict,
        outcome: ToolOutcome,
        detail: str,
        response: object = None,
    ) -> None:
        """Record how an allowed call ended, and what a successful one answered."""
        ...

    async def refused(self, tool_name: str, arguments: Mapping[str, Any], detail: str) -> None:
        """Record a call that tried to go round the gate."""
        ...

    async def rehearsed(self, call: ToolCall, verdict: Verdict) -> None:
        """Record a call that a dry run judged and did not make."""
        ...


@dataclass(frozen=True, slots=True)
class ApprovalContext:
    """Whose calls these are, what is declared of the tools, and where calls are written down.

    `policy` judges them; without one given, by what is declared alone.
    `loop` is the event loop that `ledger` lives on; a synchronous call from another thread is
    handed to it, one on the loop's own thread is refused, because it could only deadlock.
    """

    user_id: UserId
    run_id: RunId
    agent_name: str
    session_id: str
    declarations: Mapping[str, ToolDeclaration]
    ledger: ApprovalLedger
    loop: asyncio.AbstractEventLoop
    policy: CallPolicy = field(default_factory=CallPolicy)


@dataclass(frozen=True, slots=True)
class WrappingFailure:
    """A tool that could not be wrapped, and why."""

    tool: BaseTool = field(repr=False)
    tool_name: str
    error: str


@dataclass(frozen=True, slots=True)
class WrappedTools:
    """The wrapped tools in their order, and those that could not be wrapped."""

    tools: tuple[GatedTool, ...]
    failures: tuple[WrappingFailure, ...] = ()


class GatedTool(BaseTool):
    """A tool behind the gate. Looks to LangChain like the tool that it wraps.

    A held call returns a message for the agent instead of running. A failing tool becomes a
    message too, never a crash of the run; SetupRequiredError alone ends the run, as nothing that
    the agent does can mend it.
    """

    _inner: BaseTool = PrivateAttr()
    _context: ApprovalContext = PrivateAttr()

    def __init__(self, inner: BaseTool, context: ApprovalContext) -> None:
        """Wrap `inner`; raises TypeError for a tool that is wrapped already."""
        if isinstance(inner, GatedTool):
            raise TypeError(f"{inner.name} is wrapped already")
        super().__init__(
            name=inner.name,
            description=inner.description,
            args_schema=inner.args_schema or inner.get_input_schema(),
            return_direct=inner.return_direct,
            response_format=inner.response_format,
            tags=inner.tags,
            metadata=inner.metadata,
            extras=inner.extras,
            handle_tool_error=True,
            handle_validation_error=inner.handle_validation_error,
        )
        self._inner = inner
        self._context = context

    @property
    def context(self) -> ApprovalContext:
        """The context that this tool enforces."""
        return self._context

    @property
    def func(self) -> Callable[..., Any] | None:
        """A stand-in with the inner function's annotations: ToolNode injects arguments by them."""
        inner = getattr(self._inner, "func", None) or getattr(self._inner, "coroutine", None)
        return _annotations_of(inner) if inner is not None else None

    @property
    def tool_call_schema(self) -> Any:
        """The schema that a model sees; made once for all runs, as making it is slow."""
        schema = self.args_schema
        if schema is None or isinstance(schema, dict):
            return super().tool_call_schema
        key = (schema, self.name, self.description)
        if (known := _CALL_SCHEMAS.get(key)) is None:
            if len(_CALL_SCHEMAS) >= _MOST_SCHEMAS:
                _CALL_SCHEMAS.clear()
            known = _CALL_SCHEMAS[key] = super().tool_call_schema
        return known

    @property
    def _injected_args_keys(self) -> frozenset[str]:
        return frozenset(getattr(self._inner, "_injected_args_keys", frozenset()))

    def _to_args_and_kwargs(
        self, tool_input: str | dict[str, Any], tool_call_id: str | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self._inner._to_args_and_kwargs(tool_input, tool_call_id)  # noqa: SLF001  a tool of one string takes it by position

    async def _arun(
        self, *args: Any, config: RunnableConfig, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        call = self._describe(args, kwargs)
        verdict, answer = await self._decide(call)
        ledger = self._context.ledger
        note = ""
        if answer is not None:
            if isinstance(answer, str):
                return self._as_response(answer)
            if (denied := self._denied(call, answer)) is not None:
                await ledger.finished(call, denied, "failed", denied.reason)
                return self._as_response(f"{self.name} did not run: {denied.reason}.")
            verdict, note = replace(verdict, decision="allowed", reason=answer.reason), answer.note
            args, kwargs = self._with(answer.arguments, args, kwargs)
        if not call.read_only:
            await ledger.starting(call, verdict)
        passed = _accepted(self._inner._arun, config, run_manager) | kwargs  # noqa: SLF001  `ainvoke` would lose artifacts
        limit = call.declaration.timeout_seconds if call.declaration else DEFAULT_TIMEOUT
        try:
            async with asyncio.timeout(limit):
                with _inside():
                    response = await self._inner._arun(*args, **passed)  # noqa: SLF001  as above
        except asyncio.CancelledError:
            await asyncio.shield(ledger.finished(call, verdict, "unknown", "cancelled"))
            raise
        except _FAILURES as error:
            raise await self._failed(call, verdict, error, limit) from error
        await ledger.finished(call, verdict, "succeeded", "", response)
        return self._noted(response, note)

    def _run(
        self, *args: Any, config: RunnableConfig, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        call = self._describe(args, kwargs)
        verdict, answer = self._on_loop(self._decide(call))
        ledger = self._context.ledger
        note = ""
        if answer is not None:
            if isinstance(answer, str):
                return self._as_response(answer)
            if (denied := self._denied(call, answer)) is not None:
                self._on_loop(ledger.finished(call, denied, "failed", denied.reason))
                return self._as_response(f"{self.name} did not run: {denied.reason}.")
            verdict, note = replace(verdict, decision="allowed", reason=answer.reason), answer.note
            args, kwargs = self._with(answer.arguments, args, kwargs)
        if not call.read_only:
            self._on_loop(ledger.starting(call, verdict))
        passed = _accepted(self._inner._run, config, run_manager) | kwargs  # noqa: SLF001  as in _arun
        try:
            with _inside():
                response = self._inner._run(*args, **passed)  # noqa: SLF001  as in _arun
        except _FAILURES as error:
            raise self._on_loop(self._failed(call, verdict, error, None)) from error
        self._on_loop(ledger.finished(call, verdict, "succeeded", "", response))
        return self._noted(response, note)

    def forecast(self, given: Mapping[str, Any]) -> Verdict:
        """Say what becomes of a call, by the rules as they were read last; counts no use.

        `given` is what a model asks for. It is judged as the tool will get it where the tool takes
        it like this, else as it is.
        """
        context = self._context
        declaration = context.declarations.get(self.name)
        arguments: Mapping[str, Any] = {}
        if context.policy.looks_at_arguments(self.name):
            try:
                arguments = self._describe(*self._to_args_and_kwargs(dict(given), None)).arguments
            except Exception:  # noqa: BLE001  a foreign schema raises what it likes; the call itself will say
                arguments = canonical_arguments(given)
        verdict = context.policy.judge(self.name, declaration, arguments)
        if context.policy.is_dry_run and not (declaration and declaration.read_only):
            return replace(verdict, decision="held")
        return verdict

    async def _decide(self, call: ToolCall) -> tuple[Verdict, str | Permit | None]:
        """Judge a call; with the verdict, what to answer instead of running it, or a permit."""
        policy, ledger = self._context.policy, self._context.ledger
        if policy.is_dry_run:
            verdict = policy.judge(self.name, call.declaration, call.arguments)
            if verdict.decision == "allowed" and call.read_only:
                return verdict, None
            rehearsed = Rehearsed(self.name, call.redacted_arguments, verdict)
            policy.rehearsed.append(rehearsed)
            await ledger.rehearsed(call, verdict)
            return verdict, rehearsed.told()
        if ledger.was_held(call):
            await policy.refresh()  # what was approved may be denied by now
            verdict = policy.judge(self.name, call.declaration, call.arguments)
        else:
            verdict = await policy.decide(self.name, call.declaration, call.arguments)
            if verdict.decision == "allowed":
                return verdict, None
        held = replace(call, schema=argument_schema(self))
        return verdict, await ledger.hold(held, verdict)

    def _denied(self, call: ToolCall, permit: Permit) -> Verdict | None:
        """Return the verdict on approved arguments that a rule denies; they may be edited ones."""
        verdict = self._context.policy.judge(self.name, call.declaration, permit.arguments)
        return verdict if verdict.decision == "refused" else None

    def _with(
        self, arguments: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the tool is called with: what was approved, and what was injected.

        Raises ToolException where the tool takes no such arguments (any more).
        """
        hidden = self._injected_args_keys | _CONFIG_KEYS | _hidden_by_schema(self)
        injected = {key: value for key, value in kwargs.items() if key in hidden}
        inner = self._inner
        try:
            if args and "args" in arguments:  # a tool of one string takes it by position
                return tuple(arguments["args"]), injected
            parsed = inner._parse_input({**arguments, **injected}, None)  # noqa: SLF001  as `run` does with what a model sends
        except ValueError as error:
            raise ToolException(
                f"{self.name} does not take the arguments that were approved: "
                f"{redact_text(str(error))[:_ERROR_LIMIT]}"
            ) from error
        if not isinstance(parsed, dict):
            return (parsed,), injected
        return self._inner._to_args_and_kwargs({**parsed, **injected}, None)  # noqa: SLF001  as above

    def _noted(self, response: Any, note: str) -> Any:
        """Put a note to the agent before a text that answers it."""
        if note and isinstance(response, str):
            return f"{note}\n\n{response}"
        if note and isinstance(response, tuple) and response and isinstance(response[0], str):
            return (f"{note}\n\n{response[0]}", *response[1:])
        return response

    def _describe(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ToolCall:
        hidden = self._injected_args_keys | _CONFIG_KEYS | _hidden_by_schema(self)
        shown = {key: value for key, value in kwargs.items() if key not in hidden}
        if args:
            shown["args"] = list(args)
        arguments = canonical_arguments(shown)
        return ToolCall(
            tool_name=self.name,
            arguments=arguments,
            arguments_hash=arguments_hash(arguments),
            step=CURRENT_STEP.get(),
            declaration=self._context.declarations.get(self.name),
        )

    def _as_response(self, message: str) -> Any:
        if self.response_format == "content_and_artifact":
            return message, None
        return message

    async def _failed(
        self, call: ToolCall, verdict: Verdict, error: BaseException, limit: float | None
    ) -> Exception:
        """Record a failure and return what to raise for it."""
        if isinstance(error, GraphBubbleUp):  # LangGraph's control flow is no failure
            await self._context.ledger.finished(call, verdict, "unknown", "interrupted")
            return error
        message = _describe_failure(error, limit)
        timed_out = isinstance(error, TimeoutError) and not call.read_only
        outcome: ToolOutcome = "unknown" if timed_out else "failed"
        await self._context.ledger.finished(call, verdict, outcome, message)
        return error if isinstance(error, SetupRequiredError) else ToolException(message)

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._context.loop or not self._context.loop.is_running():
            work.close()
            raise ToolException(
                f"{self.name} was called synchronously where only an asynchronous call can be "
                "checked; it did not run."
            )
        return asyncio.run_coroutine_threadsafe(work, self._context.loop).result()


@contextmanager
def _inside() -> Iterator[None]:
    """Give calls that a tool makes no place of their own: its own place is that of its call."""
    token = CURRENT_STEP.set(None)
    try:
        yield
    finally:
        CURRENT_STEP.reset(token)


def wrap_tools_with_approval(tools: Sequence[BaseTool], context: ApprovalContext) -> WrappedTools:
    """Return new tools that enforce approval, leaving the given ones untouched.

    A tool that cannot be wrapped is reported in `failures` instead of raising: what to do with it
    is the caller's decision (SPEC-003: a failure to wrap is not fatal to the run).
    """
    wrapped: list[GatedTool] = []
    failures: list[WrappingFailure] = []
    for tool in tools:
        try:
            wrapped.append(GatedTool(tool, context))
        except Exception as error:  # noqa: BLE001  whatever a foreign tool's schema raises
            name = str(getattr(tool, "name", type(tool).__name__))
            failures.append(WrappingFailure(tool, name, f"{type(error).__name__}: {error}"))
    return WrappedTools(tuple(wrapped), tuple(failures))


class GateGuard(AgentMiddleware[Any, Any, Any]):
    """The innermost middleware: refuses any tool that is not this run's `GatedTool`.

    `admitted` are tools that the caller lets run unwrapped (read-only ones whose wrapping failed).
    """

    def __init__(self, context: ApprovalContext, admitted: Sequence[BaseTool] = ()) -> None:
        super().__init__()
        self._context = context
        self._admitted = tuple(admitted)

    def _may_run(self, request: ToolCallRequest) -> bool:
        tool = request.tool
        if tool is None:  # a name that no tool has: ToolNode answers with an error message
            return True
        if isinstance(tool, GatedTool):
            return tool.context is self._context
        return any(tool is admitted for admitted in self._admitted)

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        """Refuse or pass on a synchronous call."""
        if self._may_run(request):
            return handler(request)
        asyncio.run_coroutine_threadsafe(self._record(request), self._context.loop).result()
        return _refusal(request)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Refuse or pass on an asynchronous call."""
        if self._may_run(request):
            return await handler(request)
        await self._record(request)
        return _refusal(request)

    async def _record(self, request: ToolCallRequest) -> None:
        await self._context.ledger.refused(
            request.tool_call["name"],
            canonical_arguments(request.tool_call["args"]),
            "the tool is not behind the approval gate",
        )


def canonical_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as storable JSON; raises ToolException for what has no JSON form."""
    try:
        value = storable_json(to_jsonable_python(dict(arguments), serialize_unknown=True))
        rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as error:
        raise ToolException(
            f"The arguments cannot be written as JSON ({error}); the tool did not run."
        ) from error
    if not isinstance(value, dict):
        raise ToolException("The arguments are not an object; the tool did not run.")
    return value


def _hidden_by_schema(tool: BaseTool) -> frozenset[str]:
    schema = tool.args_schema
    if schema is None or isinstance(schema, dict):
        return frozenset()
    visible = tool.tool_call_schema
    if isinstance(visible, dict):
        return frozenset()
    return frozenset(_fields(schema)) - frozenset(_fields(visible))


def argument_schema(tool: BaseTool) -> Mapping[str, Any] | None:
    """Return the JSON Schema of what a model may pass, None where the tool has none."""
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return schema
    try:
        made = schema.model_json_schema if hasattr(schema, "model_json_schema") else schema.schema
        stored: Mapping[str, Any] = storable_json(made())
    except (ValueError, TypeError, PydanticUserError):  # of a type that JSON Schema cannot say
        return None
    return stored


def _fields(schema: Any) -> Mapping[str, Any]:
    fields: Mapping[str, Any] | None = getattr(schema, "model_fields", None)
    return fields if fields is not None else schema.__fields__  # a schema of pydantic 1


def _accepted(
    function: Callable[..., Any], config: RunnableConfig, run_manager: Any
) -> dict[str, Any]:
    """Pass `config` and `run_manager` on only to a tool that takes them."""
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    passed: dict[str, Any] = {}
    if "config" in parameters:
        passed["config"] = config
    if "run_manager" in parameters or (takes_any and "config" in parameters):
        passed["run_manager"] = run_manager
    return passed


def _annotations_of(function: Callable[..., Any]) -> Callable[..., Any]:
    def stand_in(*_args: Any, **_kwargs: Any) -> Any:
        raise ToolException("This function stands for a gated tool; call the tool instead.")

    stand_in.__annotations__ = get_type_hints(function, include_extras=True)
    return stand_in


def _describe_failure(error: BaseException, limit: float | None) -> str:
    if isinstance(error, TimeoutError) and limit is not None:
        text = f"The tool did not answer within {limit:g} s."
    elif isinstance(error, ToolException | RotaError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return redact_text(text)[:_ERROR_LIMIT] or type(error).__name__


def _refusal(request: ToolCallRequest) -> ToolMessage:
    name = request.tool_call["name"]
    return ToolMessage(
        content=f"{name} was refused: it is not behind the approval gate. It did not run.",
        name=name,
        tool_call_id=request.tool_call["id"] or "",
        status="error",
    )
