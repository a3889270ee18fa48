"""Values and protocols of the gate: a tool call, its outcome, its context and its ledger.

The gate shares them with the services that record calls. `policy` judges calls; `tool_wrapper` and
`guard` enforce the verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog
from langchain_core.tools import ToolException

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.verdict import Verdict
from rota.domain.errors import RotaError
from rota.domain.ids import ActionId, RunId, UserId
from rota.domain.runs.steps import StepKey, StepStatus
from rota.security.gate.arguments import ERROR_LIMIT, canonical_arguments
from rota.security.gate.hooks import LookUp
from rota.security.gate.policy import CallPolicy
from rota.security.secrets.redaction import redact, redact_beginning

log = structlog.get_logger(__name__)

ToolOutcome = Literal["succeeded", "failed", "not_run", "unknown"]


CURRENT_STEP: ContextVar[StepKey | None] = ContextVar("rota_current_step", default=None)
"""Set by the journal around each tool call; None for a call that no model message asked for."""

ENCLOSING_STEP: ContextVar[StepKey | None] = ContextVar("rota_enclosing_step", default=None)
"""As `CURRENT_STEP`, and also set for the calls that a tool makes itself."""

ASKED_BESIDE: ContextVar[tuple[str, ...]] = ContextVar("rota_asked_beside", default=())
"""Other tools that the same model message asked for, of those that bring text from outside."""

_SOURCES: ContextVar[list[str] | None] = ContextVar("rota_sources", default=None)


def note_source(source: str) -> None:
    """Say in a tool whose text it is going to answer with: whoever decides on later calls reads it.

    One line, of which nothing is a stranger's own words. A tool that says nothing is named itself.
    """
    if (noted := _SOURCES.get()) is not None:
        noted.append(source)


@contextmanager
def noting_sources() -> Iterator[list[str]]:
    """Collect what a tool says about whose text it answers with, in whatever thread it runs."""
    noted: list[str] = []
    token = _SOURCES.set(noted)
    try:
        yield noted
    finally:
        _SOURCES.reset(token)


def step_identity(run_id: RunId, step: StepKey) -> str:
    """Return the identity of the call at a place of a run, whatever attempt makes it."""
    return f"{run_id}/{step.model_step}.{step.call_index}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call about to be judged. `arguments` are validated, JSON, and without injected values.

    `schema` is the JSON Schema of the arguments. `ready` prepares the tool for the approved
    arguments; it returns a reason where that is not possible. `later_problem` returns why the call
    could not run later without its agent. `look_up` returns what an earlier attempt at the call
    answered, by the identity and the arguments of that; None: nobody knows. `action_id` is set for
    a call that was approved.
    """

    tool_name: str
    arguments: Mapping[str, Any]
    arguments_hash: str
    step: StepKey | None
    declaration: ToolDeclaration | None
    action_id: ActionId | None = None
    schema: Mapping[str, Any] | None = None
    ready: Callable[[Mapping[str, Any]], str | None] = field(
        default=lambda _: "nothing can run it", repr=False
    )
    later_problem: Callable[[], str | None] = field(default=lambda: None, repr=False)
    look_up: LookUp | None = field(default=None, repr=False)

    def identity(self, run_id: RunId) -> str | None:
        """Return what is the same in every attempt at this call, None where nothing is."""
        if self.action_id is not None:
            return str(self.action_id)
        return None if self.step is None else step_identity(run_id, self.step)

    @property
    def read_only(self) -> bool:
        """Whether the tool is declared to change nothing; an undeclared one is not."""
        return self.declaration is not None and self.declaration.read_only

    @property
    def brings_outside_text(self) -> bool:
        """Whether its answer may hold what a stranger wrote; so may that of an undeclared tool."""
        return self.declaration is None or self.declaration.brings_outside_text

    @property
    def redacted_arguments(self) -> dict[str, Any]:
        """The arguments with secrets replaced, for logs."""
        redacted: dict[str, Any] = redact(self.arguments)
        return redacted


@dataclass(frozen=True, slots=True)
class CallAllowed:
    """The rules let the call run; nobody is asked."""


@dataclass(frozen=True, slots=True)
class CallApproved:
    """The call's owner approved it, and this attempt alone may run it; its tool is ready.

    `edited` are the arguments that it runs with, as they are shown, where the owner changed them.
    """

    action_id: ActionId
    reason: str
    edited: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CallNotRun:
    """The call does not run now: it waits, was refused, or ran before. Its agent gets `message`.

    `status` is how its step ends. `is_parked`: the run does not go on before the call is decided.
    `edited` are the arguments that it ran with, as they are shown, where the owner changed them.
    """

    message: str
    status: StepStatus = "held"
    is_parked: bool = False
    edited: Mapping[str, Any] | None = None


HoldOutcome = CallApproved | CallNotRun
"""What becomes of a call that needs approval."""

GateOutcome = CallAllowed | HoldOutcome
"""What becomes of any call that reaches the gate."""


class ApprovalLedger(Protocol):
    """Where calls are written down: pending actions and the audit log."""

    def was_held(self, call: ToolCall) -> bool:
        """Return whether an earlier attempt held this call: then only its action decides."""
        ...

    async def hold(self, call: ToolCall, verdict: Verdict) -> HoldOutcome:
        """Store a pending action, durably, or find what became of an earlier one."""
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
        answer: str = "",
    ) -> None:
        """Record how an allowed call ended, and what a successful one that was held answered."""
        ...

    def answered(self, call: ToolCall, sources: Sequence[str]) -> None:
        """Mark the run where the answer of a call brings text from outside; `sources` say whose."""
        ...

    async def unjudged(
        self, tool_name: str, arguments: Mapping[str, Any], outcome: str, detail: str
    ) -> None:
        """Record a call that no rule judged, durably where it begins.

        It was refused (`not_run`), or runs without the gate, which has `outcome`s of its own.
        """
        ...

    async def rehearsed(self, call: ToolCall, verdict: Verdict) -> None:
        """Record a call that a dry run judged and did not make."""
        ...

    async def found(self, tool_name: str, arguments: Mapping[str, Any]) -> None:
        """Record that a call of an earlier attempt turned out to have taken effect."""
        ...


@dataclass(frozen=True, slots=True)
class ApprovalContext:
    """The owner of the calls, the declarations of the tools, and the ledger that records calls.

    `policy` judges the calls. The default policy goes by the declarations alone. `ledger` lives on
    the event loop `loop`.
    """

    user_id: UserId
    run_id: RunId
    agent_name: str
    session_id: str
    declarations: Mapping[str, ToolDeclaration]
    ledger: ApprovalLedger
    loop: asyncio.AbstractEventLoop
    policy: CallPolicy = field(default_factory=CallPolicy)


def shown_arguments(
    arguments: Mapping[str, Any], hidden: AbstractSet[str] = frozenset()
) -> dict[str, Any]:
    """Return arguments for an entry, without injected ones; none where they have no JSON form."""
    try:
        return canonical_arguments({k: v for k, v in arguments.items() if k not in hidden})
    except ToolException:
        return {}


def log_failure(tool_name: str, error: BaseException, run_id: RunId | None = None) -> None:
    """Log what a tool let out, with its traceback, unless that is its way of saying no."""
    if not isinstance(error, ToolException | RotaError | TimeoutError):
        run = {} if run_id is None else {"run_id": str(run_id)}
        log.warning("tool_failed", tool=tool_name, **run, exc_info=error)


def describe_failure(error: BaseException, limit: float | None) -> str:
    """Say what a tool failed of, without secrets; `limit` is the time that it had, in seconds."""
    if isinstance(error, TimeoutError) and limit is not None:
        return f"The tool did not answer within {limit:g} s."
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  a foreign error may not know what to say of itself
        text = ""
    if not isinstance(error, ToolException | RotaError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return redact_beginning(text, ERROR_LIMIT) or type(error).__name__
