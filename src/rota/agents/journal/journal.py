"""The journal: every model and tool call of a run is written down, and replayed to a later attempt.

Keyed by (model step, index of the call in that model message), with `tool_call_id` as data only,
because some providers repeat or omit it. A finished step is replayed; a tool that was started,
changes something, and never finished is not repeated unless it declares itself idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol

from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ToolMessage,
    messages_from_dict,
)
from langchain_core.tools import BaseTool, ToolException
from langgraph.types import Command

from rota.agents.journal.budget import Budget
from rota.agents.journal.messages import (
    M,
    advised,
    calls_with,
    index_of,
    settle_calls,
    storable_messages,
    usage_in_all,
    usage_of,
)
from rota.agents.journal.steps import Progress, StepRecorder
from rota.agents.models.prices import unknown_price
from rota.agents.models.tool_answers import LONGEST_KEPT, cut_answer
from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.agents.message_content import normalize_content, said_in
from rota.domain.errors import InvalidInputError, RotaError, SuspendedError
from rota.domain.runs.limits import Spent
from rota.domain.runs.steps import MODEL_CALL, Step, StepKey, StepStatus
from rota.security.gate.arguments import canonical_arguments
from rota.security.gate.calls import (
    ASKED_BESIDE,
    CURRENT_STEP,
    ENCLOSING_STEP,
    ApprovalLedger,
)
from rota.security.gate.guard import recording_unwrapped, unheld_problem
from rota.security.gate.hooks import IS_FILLED_IN
from rota.security.gate.tool_wrapper import DEFAULT_TIMEOUT, GatedTool
from rota.security.secrets.hashing import arguments_hash
from rota.security.secrets.redaction import redact, redact_error

CostOf = Callable[[str, Mapping[str, Any]], Decimal | None]
"""What a model call cost in US dollars, by the model's name and LangChain's usage."""


_BROUGHT: Final = "brought"
"""In the request of a step: a tool that a graph brought along, which is not kept from repeating."""


class Ask(Protocol):
    """Asks a model, then its fallback models; returns the name of the model that answered."""

    name: str

    async def __call__(
        self,
        request: ModelRequest[Any],
        failed: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> tuple[str, ModelResponse[Any]]:
        """Ask; `failed` is awaited after each failed attempt, with what is to be known of it."""
        ...


class ReplayMismatchError(RotaError):
    """A later attempt asked for another call than the one recorded at the same place."""


class Journal:
    """Journals and replays the calls of one attempt, and keeps the attempt within its budget.

    The watcher of the run sets `moved`. It is called at every sign of life, with the seconds that
    silence may last from now on. None means that the idle limit applies.
    """

    def __init__(
        self,
        steps: StepRecorder,
        ledger: ApprovalLedger,
        *,
        declarations: Mapping[str, ToolDeclaration],
        clock: Callable[[], datetime],
        budget: Budget | None = None,
        cost: CostOf = lambda _model, _usage: None,
    ) -> None:
        self._steps = steps
        self._ledger = ledger
        self._declarations = declarations
        self._clock = clock
        self._cost = cost
        self.moved: Callable[[float | None], None] = lambda _seconds: None
        self.budget = budget or Budget()
        self.progress = Progress()
        self._model_step = 0
        self._may_be_silent: dict[StepKey, float] = {}  # tools under way, and for how many seconds
        self._own_keys: set[StepKey] = set()
        self._asked: list[str] = []  # the tools that models asked for, in all their messages
        # What answers cost that could not be used, by the model call that was made for another one.
        self._lost: dict[StepKey, tuple[dict[str, Any], Decimal | None]] = {}

    async def model_call(self, request: ModelRequest[Any], ask: Ask) -> ModelResponse[Any]:
        """Answer from the journal, or ask the model and write its answer down.

        Raises LimitReachedError where the run has nothing left to spend.
        """
        self.check_parked()
        if (replayed := self._replay_model_call()) is not None:
            self.alive()
            return ModelResponse(result=replayed)
        self.budget.step()
        # Counted here: messages may be summarised away, or replaced by one with the same id.
        self._model_step += 1
        self.alive()
        key = StepKey(self._model_step, MODEL_CALL)
        step = Step(*key, "model", ask.name, "started", self._clock())
        earlier = self._steps.recorded(key)
        if earlier is not None:  # what failed for an earlier attempt of the run stays in its trace
            step = replace(step, attempts=earlier.attempts)

        async def failed(attempt: Mapping[str, Any]) -> None:
            nonlocal step
            step = await self.note_attempt(step, attempt)

        try:
            name, response = await ask(advised(request, self.budget.advice()), failed)
        except Exception as error:
            await self._end(step, "failed", error=redact_error(error))
            raise
        response.result = await self.end_model_call(
            replace(step, name=name),
            settle_calls(response.result, self._model_step, request.messages),
            request.messages,
        )
        return response

    def check_parked(self) -> None:
        """Raise SuspendedError where a call waits without which the run does not go on."""
        if self._steps.parked:
            raise SuspendedError

    def alive(self, seconds: float | None = None) -> None:
        """Give a sign of life; silence may last `seconds`, or as long as a tool under way may."""
        self.moved(max([*self._may_be_silent.values(), seconds or 0.0]) or None)

    def catch_up(self) -> Progress:
        """Return the progress of the run: this attempt's, or that of earlier ones if it is more.

        For an attempt that ends before it came as far as they did.
        """
        while self._replay_model_call() is not None:
            pass
        return self.progress

    def count_earlier(self) -> None:
        """Count the model calls of earlier attempts, which this one makes again.

        For the operator's own code: what it asked before is not answered from the journal, and all
        of it was made. Calls of this attempt come after those.
        """
        while True:
            earlier = self._steps.recorded(StepKey(self._model_step + 1, MODEL_CALL))
            if earlier is None:
                return
            self._model_step += 1
            self.budget.replay()
            self.progress.failed_calls += len(earlier.attempts) + (earlier.status == "failed")
            if earlier.status == "finished":
                self._count_recorded(earlier)

    def _replay_model_call(self) -> list[BaseMessage] | None:
        """Go on to the next model call if an earlier attempt finished it; returns its answer."""
        earlier = self._steps.recorded(StepKey(self._model_step + 1, MODEL_CALL))
        if earlier is None or earlier.status != "finished":
            return None
        self._model_step += 1
        self.progress.replayed += 1
        self.budget.replay()
        return self._count_recorded(earlier)

    def _count_recorded(self, earlier: Step) -> list[BaseMessage]:
        """Count a model call that an earlier attempt made; returns what it answered."""
        messages: list[BaseMessage] = []
        if earlier.response is None:  # the operator's code made it, and told what it used
            self.progress.model_calls += 1
        else:
            messages = messages_from_dict(earlier.response)
        self._count(messages, earlier.usage or {}, earlier.cost_usd, counted_today=True)
        return messages

    async def tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Answer from the journal, or run the tool and write its answer down."""
        call = request.tool_call
        key = StepKey(self._model_step, index_of(request))
        asked = [one["name"] for one in calls_with(request)]
        beside = [*asked[: key.call_index], *asked[key.call_index + 1 :]]

        async def work() -> ToolMessage | Command[Any]:
            answer = await handler(request)
            if isinstance(answer, ToolMessage):  # which a tool may have made itself
                answer.tool_call_id = call["id"] or ""
            return answer

        return await self._call_tool(
            key,
            call["name"],
            call["id"] or "",
            call["args"],
            work,
            tool=request.tool,
            beside=beside,
        )

    async def own_call(
        self,
        tool: BaseTool,
        arguments: Mapping[str, Any],
        *,
        key: StepKey | None = None,
    ) -> str:
        """Call a gated tool without a model: for a pre-check, or a callable. Returns its text.

        Without a `key` the call is known by what it asks for: a later attempt finds it again in
        whatever order it asks. Raises ToolException where the tool fails.
        """
        key = key or self._own_key(tool.name, arguments)
        call_id = f"rota_{key.model_step}_{key.call_index}"

        async def answered() -> Any:
            return await tool.ainvoke(
                {"name": tool.name, "args": dict(arguments), "id": call_id, "type": "tool_call"},
                # Otherwise the tracer of the caller's graph would see the call twice.
                config={"callbacks": []},
            )

        async def work() -> ToolMessage:
            if isinstance(tool, GatedTool):
                answer = await answered()
            elif why := unheld_problem(self._declarations.get(tool.name), self._steps.outside):
                given = canonical_arguments(arguments)
                await self._ledger.unjudged(tool.name, given, "not_run", why)
                raise ToolException(f"{tool.name} was refused: {why}. It did not run.")
            else:  # no guard wraps this call
                answer = await recording_unwrapped(
                    self._ledger, tool.name, canonical_arguments(arguments), answered
                )
            if not isinstance(answer, ToolMessage):
                raise TypeError(f"{tool.name} answered a tool call with {type(answer).__name__}")
            return answer

        beside = self.asked_beside(tool.name)
        answer = await self._call_tool(
            key, tool.name, call_id, arguments, work, tool=tool, beside=beside
        )
        if key in self._steps.parked:
            raise SuspendedError
        if not isinstance(answer, ToolMessage):
            raise RotaError(f"{tool.name} answers with a command of a graph; there is no graph.")
        if answer.status == "error":
            raise ToolException(normalize_content(answer.content))
        return normalize_content(answer.content)

    def asked_beside(self, tool_name: str) -> Sequence[str]:
        """Return the tools that models asked an operator's code for, beside this one.

        Which message asked for which call is not known there, so what was asked for counts.
        """
        beside = list(self._asked)
        if tool_name in beside:
            beside.remove(tool_name)
        return beside

    async def approved_call(
        self, tool: BaseTool, arguments: Mapping[str, Any], *, key: StepKey
    ) -> str | None:
        """Call a gated tool as was approved; None where it fails, which its ledger records."""
        token = IS_FILLED_IN.set(True)
        try:
            return await self.own_call(tool, arguments, key=key)
        except ToolException:
            return None
        finally:
            IS_FILLED_IN.reset(token)

    def own_step(self, key: StepKey, name: str) -> Step:
        """Return a step of a callable's own, begun now."""
        return Step(*key, "callable", name, "started", self._clock())

    async def keep(self, step: Step) -> None:
        """Write a step down as finished now; raises SuspendedError where a call of it waits."""
        self.check_parked()
        await self._end(step, "finished")

    async def fail(self, step: Step, error: BaseException) -> None:
        """Write a step down as failed now."""
        self.progress.failed_calls += step.kind == "model" and not step.attempts
        await self._end(step, "failed", error=redact_error(error))

    def begin_brought_call(self, name: str, arguments: Mapping[str, Any]) -> Step:
        """Count a call of a tool that a graph brings along. A later attempt makes it again."""
        self.progress.tool_calls += 1
        key = self._next_own_key()
        request = {"arguments": redact(arguments), _BROUGHT: True}
        return Step(*key, "tool", name, "started", self._clock(), request=request)

    async def end_brought_call(self, step: Step, answer: object) -> None:
        """Write down what a tool answered that a graph brought along."""
        self.alive()
        response = None
        if isinstance(answer, str):
            answer = ToolMessage(answer, name=step.name, tool_call_id="")
        if isinstance(answer, ToolMessage):
            ((response,), _) = storable_messages([answer])
        await self._end(step, "finished", response=response)

    def check_priced(self, names: Sequence[str]) -> None:
        """Raise InvalidInputError where a limit in dollars holds and a model's price is unknown."""
        if not self.budget.counts_money:
            return
        if unknown := [name for name in names if self._cost(name, {}) is None]:
            raise InvalidInputError(unknown_price(unknown), field="limits.cost_usd")

    def begin_model_call(self, name: str) -> Step:
        """Count a model call that a graph or a function of the operator's makes.

        Raises LimitReachedError, and InvalidInputError as `check_priced`.
        """
        self.check_parked()
        self.check_priced([name])
        self.budget.step()
        return self._next_model_step(name)

    async def note_attempt(self, step: Step, attempt: Mapping[str, Any]) -> Step:
        """Show a failed attempt while the next one is waited for; returns the step with it."""
        self.progress.failed_calls += 1
        if usage := attempt.get("usage"):
            self._count_lost(step.key, usage, self._cost(attempt["model"], usage))
        self.alive(attempt.get("waited"))
        step = replace(step, attempts=(*step.attempts, attempt))
        await self._steps.record(step)
        return step

    async def count_spent(
        self, name: str, usage: Mapping[str, int], cost: Decimal | None = None
    ) -> None:
        """Count and write down a model call that an operator's code made by itself.

        Without a cost it is the model's price that counts, which then has to be known: raises as
        `check_priced`. Raises LimitReachedError once a limit is used up.
        """
        self.check_parked()
        if cost is None:
            self.check_priced([name])
            cost = self._cost(name, usage)
        step = self._next_model_step(name)
        self.progress.model_calls += 1
        self._spend(usage, cost)
        await self._end_paid(step, usage=usage, cost_usd=cost)
        self.alive()
        self.budget.step_made()

    async def end_model_call(
        self, step: Step, answers: Sequence[M], asked: Sequence[BaseMessage]
    ) -> list[M]:
        """Write down what a model answered and used; returns the answers as they are stored."""
        self.alive()
        usage = usage_of(asked, answers, step.name)
        cost = self._cost(step.name, usage)
        stored, kept = storable_messages(answers)
        self._count(kept, usage, cost)
        await self._end_paid(step, response=stored, usage=usage, cost_usd=cost)
        return kept

    def _count_lost(self, key: StepKey, usage: Mapping[str, Any], cost: Decimal | None) -> None:
        self._spend(usage, cost)
        before, cost_before = self._lost.get(key, ({}, Decimal(0)))
        self._lost[key] = usage_in_all(before, usage), _added(cost_before, cost)

    def _next_model_step(self, name: str) -> Step:
        self._model_step += 1
        return Step(self._model_step, MODEL_CALL, "model", name, "started", self._clock())

    async def _end_paid(self, step: Step, **fields: Any) -> None:
        """Write a model call down; other runs of the day know at once what is left for them."""
        await self._end(step, "finished", durable=bool(self.budget.days), **fields)
        self.budget.set_days(self._steps.spent_today)

    async def _end(
        self, step: Step, status: StepStatus, *, durable: bool = False, **fields: Any
    ) -> None:
        """Record that a step has ended now, with its outcome."""
        if (lost := self._lost.pop(step.key, None)) is not None:
            own = fields.get("usage")
            fields["usage"] = usage_in_all(lost[0], own)
            fields["cost_usd"] = _added(lost[1], fields.get("cost_usd")) if own else lost[1]
        ended = replace(step, status=status, finished_at=self._clock(), **fields)
        await self._steps.record(ended, durable=durable)

    def _own_key(self, name: str, arguments: Mapping[str, Any]) -> StepKey:
        """Return the place of a callable's call: where an earlier attempt made the same one.

        Raises ReplayMismatchError for an effect other than those that an earlier attempt had.
        """
        fingerprint = arguments_hash(canonical_arguments(arguments))
        earlier = self._steps.recorded_tools()
        left = [
            step
            for step in earlier
            if step.key not in self._own_keys and not step.request.get(_BROUGHT)
        ]
        same = [s for s in left if (s.name, s.request.get("arguments_hash")) == (name, fingerprint)]
        if same:
            key = same[0].key
        else:
            declaration = self._declarations.get(name)
            reads = declaration is not None and declaration.read_only
            effects = [step for step in left if not step.request.get("read_only")]
            if effects and not reads:
                raise ReplayMismatchError(
                    f"An earlier attempt of this run called {effects[0].name}; this attempt calls "
                    f"{name} with other arguments instead. The run stops rather than do both."
                )
            return self._next_own_key()
        self._own_keys.add(key)
        return key

    def _next_own_key(self) -> StepKey:
        """Return a place for a callable's call that no call has, of whatever attempt."""
        earlier = self._steps.recorded_tools()
        taken = [s.call_index for s in earlier] + [k.call_index for k in self._own_keys]
        key = StepKey(max(1, self._model_step), max(taken, default=-1) + 1)
        self._own_keys.add(key)
        return key

    async def _call_tool(
        self,
        key: StepKey,
        name: str,
        call_id: str,
        given: Mapping[str, Any],
        work: Callable[[], Awaitable[ToolMessage | Command[Any]]],
        *,
        tool: BaseTool | None,
        beside: Sequence[str],
    ) -> ToolMessage | Command[Any]:
        self.progress.tool_calls += 1
        try:
            arguments = canonical_arguments(given)
        except ToolException as error:
            return ToolMessage(str(error), name=name, tool_call_id=call_id, status="error")
        fingerprint = arguments_hash(arguments)
        earlier = self._steps.recorded(key)
        if earlier is not None:
            replayed = self._replay(earlier, name, call_id, fingerprint)
            if replayed is not None:
                return await self._looked_up(earlier, tool, arguments) or replayed
        declaration = self._declarations.get(name)
        reads_only = declaration is not None and declaration.read_only
        request = {"arguments": redact(arguments), "arguments_hash": fingerprint}
        step = Step(
            *key,
            "tool",
            name,
            "started",
            self._clock(),
            tool_call_id=call_id,
            request=request | ({"read_only": True} if reads_only else {}),
        )
        if isinstance(tool, GatedTool):
            self._steps.begin(step)
        elif not reads_only:
            await self._steps.record(step, durable=True)
        if declaration is not None:
            self._may_be_silent[key] = declaration.timeout_seconds
        self.alive()
        tokens = CURRENT_STEP.set(key), ENCLOSING_STEP.set(key)
        bringing = ASKED_BESIDE.set(tuple(filter(self._brings_outside_text, beside)))
        try:
            answer = await work()
        except asyncio.CancelledError:
            # The tool may go on in a thread that cannot be stopped. Its answer is lost.
            await self._end(step, "unknown", error="cancelled before it answered")
            raise
        except Exception as error:
            await self._end(step, "failed", error=redact_error(error))
            raise
        finally:
            CURRENT_STEP.reset(tokens[0])
            ENCLOSING_STEP.reset(tokens[1])
            ASKED_BESIDE.reset(bringing)
            self._may_be_silent.pop(key, None)
            self.alive()
        response = None
        # A call that the run parks for is answered by a later attempt.
        if isinstance(answer, ToolMessage) and key not in self._steps.parked:
            (response,), (answer,) = storable_messages([cut_answer(answer, LONGEST_KEPT)])
        has_failed = isinstance(answer, ToolMessage) and answer.status == "error"
        await self._end(step, "failed" if has_failed else "finished", response=response)
        return answer

    async def _looked_up(
        self, earlier: Step, tool: BaseTool | None, arguments: Mapping[str, Any]
    ) -> ToolMessage | None:
        """Return the answer of a call that an earlier attempt began, if it can be found out."""
        if earlier.status != "started" or not isinstance(tool, GatedTool):
            return None
        self.alive(DEFAULT_TIMEOUT)
        found = await tool.find_outcome(earlier.key, arguments)
        if found is None:
            return None
        answer = ToolMessage(found, name=earlier.name, tool_call_id=earlier.tool_call_id or "")
        (response,), (answer,) = storable_messages([answer])
        await self._end(earlier, "finished", response=response)
        return answer

    def _brings_outside_text(self, tool_name: str) -> bool:
        """Return whether a tool of the run brings text from outside; others are refused anyway."""
        declaration = self._declarations.get(tool_name)
        return declaration is not None and declaration.brings_outside_text

    def _replay(
        self, earlier: Step, name: str, tool_call_id: str, fingerprint: str
    ) -> ToolMessage | None:
        """Return the recorded answer, or None where running (again) is right."""
        if (earlier.name, earlier.request.get("arguments_hash")) != (name, fingerprint):
            raise ReplayMismatchError(
                f"An earlier attempt of this run called {earlier.name} at step "
                f"{earlier.model_step}; this attempt calls {name} with other arguments there. "
                "The run stops rather than do something else."
            )
        declaration = self._declarations.get(name)
        harmless = bool(earlier.request.get("read_only")) or (
            declaration is not None and (declaration.read_only or declaration.idempotent)
        )
        if earlier.status != "started" and earlier.response is not None:
            (message,) = messages_from_dict([earlier.response])
            if isinstance(message, ToolMessage):
                self.progress.replayed += 1
                message.tool_call_id = tool_call_id
                return message
        if harmless or earlier.request.get("held"):  # a call that waits for approval was not run
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

    def _count(
        self,
        messages: Sequence[BaseMessage],
        usage: Mapping[str, Any],
        cost: Decimal | None,
        *,
        counted_today: bool = False,
    ) -> None:
        for message in messages:
            if isinstance(message, AIMessage):
                self.progress.add(message)
                self._asked += [call["name"] for call in message.tool_calls]
                self._steps.said(said_in(message.content))
        self._spend(usage, cost, counted_today=counted_today)

    def _spend(
        self, usage: Mapping[str, Any], cost: Decimal | None, *, counted_today: bool = False
    ) -> None:
        self.progress.spend(usage, cost)
        tokens = usage.get("input_tokens", 0) + usage.get("output_tokens", 0)
        self.budget.add(Spent(tokens, cost or Decimal(0)), counted_today=counted_today)


def _added(cost: Decimal | None, other: Decimal | None) -> Decimal | None:
    """Return two costs together, None where one is not known."""
    return None if cost is None or other is None else cost + other
