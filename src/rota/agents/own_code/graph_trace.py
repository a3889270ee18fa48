"""Traces and limits the calls of an operator's graph, and stops tools that need an approval.

LangChain tells callbacks of every call before it is made. A callback that raises stops the call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, GenerationChunk, LLMResult

from rota.agents.journal.journal import Journal
from rota.agents.models.answers import AnswerStream, check_answer, check_not_cut, check_readable
from rota.agents.own_code.graphs import declaring, tools_of
from rota.agents.tools.definitions import distrusted
from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.verdict import Verdict
from rota.domain.errors import RotaError
from rota.domain.runs.steps import Step
from rota.security.gate.calls import (
    ApprovalContext,
    ToolCall,
    ToolOutcome,
    describe_failure,
    shown_arguments,
)
from rota.security.secrets.hashing import arguments_hash

TRACED: Final = "rota_traced"
"""In the metadata of tools and models that are journalled, gated and limited by themselves."""

_LOOP_ANSWERS_WITHIN: Final = 1.0
"""Seconds after which a loop is taken for blocked by the very call that waits for it."""


class UngatedToolError(RotaError):
    """A graph called a tool of its own that may not run without an approval."""


class _RefusalsToldAnyway(logging.Filter):
    """Drops LangChain's warning when the guard stops a call, as the run's result reports it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and record.args[:1] == (_Guard.__name__,))


def trace_callbacks(
    journal: Journal,
    approval: ApprovalContext,
    *,
    graph: Any = None,
    declared: Mapping[str, ToolDeclaration] | None = None,
) -> list[BaseCallbackHandler]:
    """Return what to give a graph as its callbacks: its calls are kept, counted and guarded.

    `declared` is what is declared of tools beside those that the agent links.
    """
    begun = _Begun({}, {})
    own = _OwnTools(approval, graph, declared or {})
    # The guard comes last: LangChain leaves the coroutines of those after it unawaited.
    return [_Scribe(journal, approval, begun), _Guard(journal, approval, own, begun)]


@dataclass(frozen=True, slots=True)
class _OwnCall:
    """A running call of a tool that a graph brought along."""

    step: Step
    call: ToolCall
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Begun:
    """Calls under way: model calls with their messages, and calls of the graph's own tools."""

    models: dict[UUID, tuple[Step, Sequence[BaseMessage]]]
    tools: dict[UUID, _OwnCall]


class _OwnTools:
    """The tools that a graph brings along: which of them may run, and the advice for the others."""

    def __init__(
        self, approval: ApprovalContext, graph: Any, declared: Mapping[str, ToolDeclaration]
    ) -> None:
        self._approval = approval
        self._graph = graph
        self._declared = declared

    def judged(
        self, name: str, arguments: Mapping[str, Any], asked_beside: Sequence[str]
    ) -> tuple[ToolCall, Verdict]:
        """Return a call that runs by itself; raises UngatedToolError for one that may not.

        `asked_beside` are tools that models of the graph asked for too.
        """
        declaration = self._declaration(name)
        judge = self._approval.policy.judge
        beside = list(filter(self._brings_outside_text, asked_beside))
        # What is known here are the arguments before the tool's schema reads them, so no condition
        # on them lets a call run: it has to be allowed whatever they are. Nor can uses be counted.
        verdicts = [judge(name, declaration, given, beside=beside) for given in (arguments, {})]
        verdict = next((v for v in verdicts if v.decision != "allowed"), verdicts[0])
        if verdict.decision == "allowed" and verdict.uses is None:
            shown = shown_arguments(arguments)
            return ToolCall(name, shown, arguments_hash(shown), None, declaration), verdict
        asyncio.run_coroutine_threadsafe(
            _note_refusal(self._approval, name, arguments), self._approval.loop
        )
        what_to_do = _IN_ITS_PLACE if declaration is not None else self._declaring(name)
        if declaration is not None and declaration.reaches_outside:
            what_to_do += _STAYS_INSIDE
        raise UngatedToolError(
            f"The graph called its own tool {name}, which may not run without approval "
            f"({verdict.reason}).{what_to_do}"
        )

    def _brings_outside_text(self, name: str) -> bool:
        declaration = self._declaration(name)
        return declaration is not None and declaration.brings_outside_text

    def _declaration(self, name: str) -> ToolDeclaration | None:
        """Return what holds for a tool; nobody can see whether one that is pinned is the same."""
        if (linked := self._approval.declarations.get(name)) is not None:
            return linked
        declared = self._declared.get(name)
        if declared is None or declared.definition_hash is None:
            return declared
        return distrusted(declared)

    def _declaring(self, name: str) -> str:
        """Return what to type about a tool that nobody declared, and which others come along."""
        tools = tools_of(self._graph)
        others = [other for other in tools if self._declaration(other) is None and other != name]
        said = f" To let it run, declare it:\n    {declaring(name, tools.get(name))}\n"
        if others:
            said += f"The graph also brings {', '.join(others)}: declare those that may run.\n"
        return f"{said}{_IN_ITS_PLACE.strip()}"


_IN_ITS_PLACE: Final = (
    " Calls of a graph's own tools cannot wait for approval. Give the tool to rota (ROTA_TOOLS), "
    "link it to the agent, and build the graph with the tools of the run's context: those can."
)


_STAYS_INSIDE: Final = (
    " Where the model does not choose where its data goes, declare it with --stays-inside."
)


class _Guard(BaseCallbackHandler):
    """Stops calls that may not be made.

    Synchronous, because LangChain swallows the exceptions of coroutines in synchronous calls.
    """

    raise_error = True
    run_inline = True

    def __init__(
        self,
        journal: Journal,
        approval: ApprovalContext,
        own: _OwnTools,
        begun: _Begun,
    ) -> None:
        self._journal = journal
        self._approval = approval
        self._own = own
        self._begun = begun
        self._streams: dict[UUID, AnswerStream] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Count the call against the budget before it is made; raises LimitReachedError."""
        if _is_traced(metadata):
            return
        asked = [message for batch in messages for message in batch]
        self._begin(run_id, _model_name(serialized, metadata), asked)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Count the call of a model without messages, likewise."""
        asked = [HumanMessage(prompt) for prompt in prompts]
        self._begin(run_id, _model_name(serialized, metadata), asked)

    def on_llm_new_token(
        self,
        token: str | list[Any],  # noqa: ARG002  # LangChain's signature
        *,
        run_id: UUID,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        **_: Any,
    ) -> None:
        """Take a streamed token for a sign of life, and note what came of the answer."""
        self._note_life()
        if (stream := self._streams.get(run_id)) is not None:
            stream.add(chunk)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """Keep an answer that cannot be used from the graph; raises AnswerError."""
        if (stream := self._streams.pop(run_id, None)) is None:
            return
        for message in _messages_of(response):
            check_answer(message, stream)
            check_not_cut(message)
            check_readable(message)  # LangChain's graph ends with such a message without an error

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002  # as above
        """Forget the pieces of an answer that arrived before it failed."""
        self._streams.pop(run_id, None)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Let a tool run that is gated by itself, or declared to run without approval."""
        self._note_life()
        if _is_traced(metadata):
            return
        name = str((serialized or {}).get("name") or "a tool")
        given = {"input": input_str} if inputs is None else inputs
        call, verdict = self._own.judged(name, given, self._journal.asked_beside(name))
        step = self._journal.begin_brought_call(name, call.arguments)
        call = replace(call, step=step.key)
        # Done here: the loop may learn of the end only after the next calls began.
        self._approval.ledger.answered(call, ())
        self._begun.tools[run_id] = _OwnCall(step, call, verdict)
        if not call.read_only:
            started = self._approval.ledger.starting(call, verdict)
            asyncio.run_coroutine_threadsafe(started, self._approval.loop)

    def _begin(self, run_id: UUID, model: str, asked: Sequence[BaseMessage]) -> None:
        self._begun.models[run_id] = self._journal.begin_model_call(model), asked
        self._streams[run_id] = AnswerStream()
        self._note_life()

    def _note_life(self) -> None:
        """Note a sign of life, from whatever thread."""
        self._approval.loop.call_soon_threadsafe(self._journal.alive)


class _Scribe(AsyncCallbackHandler):
    """Records the answers and the use of models, and the answers of the graph's own tools."""

    run_inline = True

    def __init__(self, journal: Journal, approval: ApprovalContext, begun: _Begun) -> None:
        self._journal = journal
        self._approval = approval
        self._begun = begun

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """Write the answer down."""
        begun = self._begun.models.pop(run_id, None)
        if begun is None:
            return
        step, asked = begun
        await self._at_home(self._journal.end_model_call(step, _messages_of(response), asked))

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Write down that the call failed."""
        begun = self._begun.models.pop(run_id, None)
        if begun is not None:
            await self._at_home(self._journal.fail(begun[0], error))

    async def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """Write down what a tool of the graph's own answered."""
        if (own := self._begun.tools.pop(run_id, None)) is not None:
            failed = isinstance(output, ToolMessage) and output.status == "error"
            await self._at_home(self._ended(own, "failed" if failed else "succeeded", ""))
            await self._at_home(self._journal.end_brought_call(own.step, output))

    async def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Write down that it failed."""
        if (own := self._begun.tools.pop(run_id, None)) is not None:
            await self._at_home(self._ended(own, "failed", describe_failure(error, None)))
            await self._at_home(self._journal.fail(own.step, error))

    async def _ended(self, own: _OwnCall, outcome: ToolOutcome, detail: str) -> None:
        await self._approval.ledger.finished(own.call, own.verdict, outcome, detail)

    async def _at_home(self, work: Coroutine[Any, Any, Any]) -> None:
        """Await on the run's own loop: a synchronous call has LangChain use another one.

        Where that call is made on the run's loop itself, which it ought not, the loop comes to it
        only when the call is over: then nobody may wait for it here.
        """
        home = self._approval.loop
        if asyncio.get_running_loop() is home:
            await work
        else:
            future = asyncio.run_coroutine_threadsafe(work, home)
            await asyncio.wait({asyncio.wrap_future(future)}, timeout=_LOOP_ANSWERS_WITHIN)


logging.getLogger("langchain_core.callbacks.manager").addFilter(_RefusalsToldAnyway())


def _messages_of(response: LLMResult) -> list[AIMessage]:
    return [
        generation.message
        if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage)
        else AIMessage(generation.text)
        for batch in response.generations
        for generation in batch
    ]


def _is_traced(metadata: Mapping[str, Any] | None) -> bool:
    return bool(metadata and metadata.get(TRACED))


async def _note_refusal(approval: ApprovalContext, name: str, arguments: Mapping[str, Any]) -> None:
    why = "called by a graph around the gate"
    await approval.ledger.unjudged(name, arguments, "not_run", why)


def _model_name(serialized: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None) -> str:
    """Return `provider:model` as far as the client tells."""
    known = metadata or {}
    model = known.get("ls_model_name") or (serialized or {}).get("name") or "model"
    provider = known.get("ls_provider")
    return f"{provider}:{model}" if provider else str(model)
