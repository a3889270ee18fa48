"""The approval gate: every tool call of an agent passes through a `GatedTool`, or does not run.

`_arun` enforces it: all asynchronous ways to run a LangChain tool end there (ainvoke, arun, abatch,
astream, ToolNode). The synchronous ways end in `_run`, which refuses, because rota runs agents on
an event loop only. Tools are wrapped, never patched in place. `GateGuard` (`guard`), the innermost
middleware, refuses a tool that came into the graph unwrapped.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, assert_never, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp
from pydantic import PrivateAttr

from rota.domain.approvals.actions import OutcomeUnknownError, edit_note
from rota.domain.approvals.verdict import Verdict
from rota.domain.errors import RotaError, SetupRequiredError
from rota.domain.runs.steps import StepKey
from rota.domain.text.sentences import sentence
from rota.security.gate.arguments import ArgumentForm, argument_schema
from rota.security.gate.calls import (
    ASKED_BESIDE,
    CURRENT_STEP,
    ApprovalContext,
    CallAllowed,
    CallApproved,
    CallNotRun,
    GateOutcome,
    ToolCall,
    ToolOutcome,
    describe_failure,
    log_failure,
    noting_sources,
    shown_arguments,
    step_identity,
)
from rota.security.gate.hooks import CURRENT_CALL, IS_FILLED_IN, hooks_of
from rota.security.gate.notes import answer_text, with_note
from rota.security.gate.own_task import in_own_task
from rota.security.gate.policy import Rehearsed, with_signals
from rota.security.secrets.hashing import arguments_hash

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds that an undeclared tool may take once approved."""

_POSITIONAL: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "args": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1}
    },
    "required": ["args"],
}
"""What a tool of one string takes, by position."""

_CALL_SCHEMAS: Final[dict[tuple[Any, str, str], Any]] = {}
_MOST_SCHEMAS: Final = 500


@dataclass(slots=True)
class _Entry:
    """A call on its way through the gate: an answer instead of running it, or what it runs with.

    `note` is for the agent, beside the tool's answer.
    """

    call: ToolCall
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    verdict: Verdict = field(init=False)
    answer: str | None = None
    note: str = ""


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
    _gated_name: str = PrivateAttr()
    _form: ArgumentForm = PrivateAttr()
    _rejected: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def __init__(self, inner: BaseTool, context: ApprovalContext) -> None:
        """Wrap `inner`; raises TypeError for a tool that is wrapped already, or cannot be."""
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
        self._gated_name = inner.name
        self._form = ArgumentForm(inner, self.args_schema, self.tool_call_schema)

    @property
    def gated_name(self) -> str:
        """The name that it was wrapped under: rules go by it, whoever calls it otherwise later."""
        return self._gated_name

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
        try:
            return self._inner._to_args_and_kwargs(tool_input, tool_call_id)  # noqa: SLF001  a tool of one string takes it by position
        except Exception:
            given = tool_input if isinstance(tool_input, dict) else {"input": tool_input}
            self._rejected.append(shown_arguments(given, self._form.hidden))
            raise

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the tool as LangChain does; arguments that it does not take leave an entry too."""
        try:
            return await super().arun(tool_input, *args, **kwargs)
        finally:
            while self._rejected:
                given, why = self._rejected.pop(), "its arguments are not what the tool takes"
                await self._context.ledger.unjudged(self._gated_name, given, "not_run", why)

    async def _arun(
        self, /, *args: Any, config: RunnableConfig, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        entry = self._describe(args, await self._filled_in(kwargs))
        await self._enter(entry)
        if entry.answer is not None:
            return self._as_response(entry.answer)
        call = entry.call
        ledger, inner = self._context.ledger, self._inner
        passed = _accepted(inner._arun, config, run_manager) | entry.kwargs  # noqa: SLF001  `ainvoke` would lose artifacts
        limit = call.declaration.timeout_seconds if call.declaration else DEFAULT_TIMEOUT
        sources: list[str] = []
        try:
            async with asyncio.timeout(limit):
                with _inside(call.identity(self._context.run_id)), noting_sources() as sources:
                    response = await in_own_task(inner._arun(*entry.args, **passed))  # noqa: SLF001  `ainvoke` would lose artifacts
        except asyncio.CancelledError:
            await asyncio.shield(ledger.finished(call, entry.verdict, "unknown", "cancelled"))
            raise
        except GeneratorExit:
            raise
        except BaseException as error:
            ledger.answered(call, sources)  # a failure may quote what was read
            if (found := await self._found_after(call, error)) is None:
                failure = await self._failed(call, entry.verdict, error, limit)
                if entry.note and isinstance(failure, ToolException):
                    failure = ToolException(f"{entry.note}\n\n{failure}")
                raise failure from error
            response = self._as_response(found)
        ledger.answered(call, sources)
        said = self._text(response) if call.action_id is not None else ""
        await ledger.finished(call, entry.verdict, "succeeded", "", said)
        return self._noted(response, entry.note)

    def _run(self, *_args: Any, **_kwargs: Any) -> Any:
        raise ToolException(f"{self.name} can only be called asynchronously; it did not run.")

    async def _enter(self, entry: _Entry) -> None:
        """Judge a call, hold it where it has to wait, and make durable that it begins.

        Sets the answer where it does not run, else what the tool is to be called with.
        """
        match await self._judge(entry):
            case CallNotRun(message):
                entry.answer = message
                return
            case CallApproved(action_id, reason, edited):
                entry.verdict = replace(entry.verdict, decision="allowed", reason=reason)
                entry.note = edit_note(edited) if edited is not None else ""
                entry.call = replace(entry.call, action_id=action_id)
            case CallAllowed():
                pass
            case unreachable:
                assert_never(unreachable)
        if not entry.call.read_only:
            await self._context.ledger.starting(entry.call, entry.verdict)

    async def _judge(self, entry: _Entry) -> GateOutcome:
        """Judge a call once, which sets its verdict, and say what becomes of it."""
        call, policy, ledger = entry.call, self._context.policy, self._context.ledger
        name, beside = self._gated_name, ASKED_BESIDE.get()
        if policy.is_dry_run:
            entry.verdict = policy.judge(name, call.declaration, call.arguments, beside=beside)
            if entry.verdict.decision == "allowed" and call.read_only:
                return CallAllowed()
            entry.verdict = with_signals(entry.verdict, call.arguments)
            rehearsed = Rehearsed(name, call.redacted_arguments, entry.verdict)
            policy.rehearsed.append(rehearsed)
            await ledger.rehearsed(call, entry.verdict)
            return CallNotRun(rehearsed.told())
        if ledger.was_held(call):
            await policy.refresh()  # what was approved may be denied by now
            entry.verdict = policy.judge(name, call.declaration, call.arguments, beside=beside)
        else:
            entry.verdict = await policy.decide(
                name, call.declaration, call.arguments, beside=beside
            )
            if entry.verdict.decision == "allowed":
                return CallAllowed()
        held = replace(
            call,
            schema=_POSITIONAL if entry.args else argument_schema(self),
            ready=lambda approved: self._ready(entry, approved),
            later_problem=lambda: self._form.later_problem(call.arguments, entry.args),
            look_up=self._look_up if hooks_of(self._inner).look_up is not None else None,
        )
        return await ledger.hold(held, entry.verdict)

    async def _filled_in(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with what the tool fills in, before anybody judges them."""
        fill_in = hooks_of(self._inner).fill_in
        if fill_in is None or IS_FILLED_IN.get():
            return kwargs
        declaration = self._context.declarations.get(self._gated_name)
        limit = declaration.timeout_seconds if declaration else DEFAULT_TIMEOUT
        try:
            async with asyncio.timeout(limit):
                return {**kwargs, **await in_own_task(fill_in(kwargs))}
        except SetupRequiredError:
            raise
        except (ToolException, RotaError, TimeoutError) as error:
            self._rejected.append(shown_arguments(kwargs, self._form.hidden))
            raise ToolException(f"{describe_failure(error, limit)} It did not run.") from error

    async def find_outcome(self, step: StepKey, arguments: Mapping[str, Any]) -> str | None:
        """Return what a call at a place of this run answered that an earlier attempt began.

        None where nobody knows whether it took effect.
        """
        found = await self._look_up(step_identity(self._context.run_id, step), arguments)
        if found is not None:
            await self._context.ledger.found(self._gated_name, arguments)
        return found

    async def _look_up(self, identity: str, arguments: Mapping[str, Any]) -> str | None:
        look_up = hooks_of(self._inner).look_up
        if look_up is None:
            return None
        try:
            async with asyncio.timeout(DEFAULT_TIMEOUT):
                return await in_own_task(look_up(identity, arguments))
        except Exception as error:  # noqa: BLE001  whatever it is, the outcome stays unknown
            log_failure(self._gated_name, error, self._context.run_id)
            return None

    async def _found_after(self, call: ToolCall, error: BaseException) -> str | None:
        """Return the answer of a call that failed and took effect, as far as can be found."""
        identity = call.identity(self._context.run_id)
        if identity is None or not _leaves_unknown(call, error):
            return None
        return await self._look_up(identity, call.arguments)

    def _ready(self, entry: _Entry, approved: Mapping[str, Any]) -> str | None:
        """Set what the tool is called with for approved arguments; return why it cannot be.

        What an agent asked for runs as it was read then; what its owner wrote is read once.
        """
        call = entry.call
        approved_hash = arguments_hash(approved)
        if approved_hash == call.arguments_hash:  # judged already
            return None
        verdict = self._context.policy.judge(self._gated_name, call.declaration, approved)
        if verdict.decision == "refused":
            return sentence(f"It is not allowed any more: {verdict.reason}")
        try:
            entry.args, entry.kwargs = self._form.read(approved, entry.args, entry.kwargs)
        except ToolException as error:
            return sentence(str(error))
        entry.call = replace(call, arguments=approved, arguments_hash=approved_hash)
        return None

    def _text(self, response: Any) -> str:
        """Return what it answered, without what only its caller's code sees of it."""
        has_artifact = self.response_format == "content_and_artifact"
        is_pair = has_artifact and isinstance(response, tuple) and response
        return answer_text(response[0] if is_pair else response)

    def _noted(self, response: Any, note: str) -> Any:
        """Put a note to the agent before what answers it."""
        if not note:
            return response
        if self.response_format == "content_and_artifact" and isinstance(response, tuple):
            return (with_note(response[0], note), *response[1:]) if response else response
        return with_note(response, note)

    def _describe(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Entry:
        try:
            own = self._form.detached(kwargs)
            arguments = self._form.written(args, own)
        except ToolException:
            self._rejected.append(shown_arguments(kwargs, self._form.hidden))
            raise
        name = self._gated_name
        call = ToolCall(
            tool_name=name,
            arguments=arguments,
            arguments_hash=arguments_hash(arguments),
            step=CURRENT_STEP.get(),
            declaration=self._context.declarations.get(name),
        )
        return _Entry(call, args, own)

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
        log_failure(self._gated_name, error, self._context.run_id)
        message = describe_failure(error, limit)
        outcome: ToolOutcome = "unknown" if _leaves_unknown(call, error) else "failed"
        if isinstance(error, OutcomeUnknownError):
            message = f"{message} Do not call it again; report that its outcome is unknown."
        await self._context.ledger.finished(call, verdict, outcome, message)
        return error if isinstance(error, SetupRequiredError) else ToolException(message)


def _leaves_unknown(call: ToolCall, error: BaseException) -> bool:
    """Return whether a call that ended so may have taken effect."""
    return not call.read_only and isinstance(error, TimeoutError | OutcomeUnknownError)


@contextmanager
def _inside(identity: str | None) -> Iterator[None]:
    """Give calls that a tool makes no place of their own: its own place is that of its call."""
    step, call, filled = CURRENT_STEP.set(None), CURRENT_CALL.set(identity), IS_FILLED_IN.set(False)
    try:
        yield
    finally:
        CURRENT_STEP.reset(step)
        CURRENT_CALL.reset(call)
        IS_FILLED_IN.reset(filled)


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
