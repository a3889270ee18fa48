"""One attempt of a run: builds the agent, puts its tools behind the gate, runs it within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal

import structlog

from rota.agents.graph.executor import (
    AgentExecutor,
    AgentReply,
    BuiltTools,
    Messages,
    ModelFactory,
    Tools,
    build_executor,
    build_tools,
    make_snapshot,
    require_agent,
    run_limits,
    with_snapshot,
)
from rota.agents.journal.budget import Budget, DayBudget
from rota.agents.journal.journal import Journal
from rota.agents.journal.steps import Progress
from rota.agents.models.building import BuiltModels, with_model
from rota.agents.models.prices import PriceTable, unknown_price
from rota.agents.models.providers import CALLABLE
from rota.agents.models.tool_answers import cut_text
from rota.agents.own_code.callables import AS_PRECHECK, check_by_tool, run_registered
from rota.agents.own_code.registered import RegisteredCallable
from rota.agents.own_code.run_context import RunContext
from rota.agents.tools.context import (
    ToolContext,
    ToolRegistry,
    started_without,
    unregistered,
)
from rota.domain.agents.configuration import AgentConfiguration, ToolDeclaration
from rota.domain.agents.people import MAY_NOT_RUN
from rota.domain.errors import (
    InvalidInputError,
    NotFoundError,
    RotaError,
    SetupRequiredError,
    SuspendedError,
    UnavailableError,
)
from rota.domain.ids import UserId
from rota.domain.runs.contracts import OutputContract, parse_contract
from rota.domain.runs.heartbeats import is_nothing, with_checklist
from rota.domain.runs.limits import SCHEDULES, YOURS, DayLimits, LimitReachedError, Limits
from rota.domain.runs.options import Precheck, RunOptions
from rota.domain.runs.run import FencedError, ResultStatus
from rota.domain.schedules.rules.cron import parse_zone
from rota.security.gate.arguments import argument_names
from rota.security.gate.calls import ApprovalContext
from rota.security.gate.guard import GateGuard
from rota.security.gate.policy import CallPolicy
from rota.security.gate.tool_wrapper import WrappedTools, wrap_tools_with_approval
from rota.security.secrets.encryption import Cipher
from rota.services.agents.option_checks import NO_DRY_RUN, check_arguments
from rota.services.approvals.held_calls import HeldCalls
from rota.services.notifications.service import NotificationService
from rota.services.runs import endings
from rota.services.runs.action_run import ActionRun
from rota.services.runs.call_ledger import CallLedger
from rota.services.runs.deadline import Deadline
from rota.services.runs.endings import Ending
from rota.services.runs.intake import TakenRun
from rota.services.runs.journal_writer import WriteBuffer
from rota.services.runs.policy import policy_of
from rota.services.runs.step_log import StepLog
from rota.store.agents import rows as agent_rows
from rota.store.database import Database
from rota.store.runs import journals as journal_rows
from rota.store.runs import rows as run_rows

MAX_ATTEMPTS: Final = 5
"""A run whose worker died this often is given up: something in it kills workers.

Workers that stopped and handed it over do not count.
"""

UnwrappedTools = Literal["withhold", "allow"]
ToolContextFactory = Callable[[UserId, Callable[[], datetime]], ToolContext]

log = structlog.get_logger(__name__)


class CancelledWithinError(Exception):
    """The agent was cancelled by its own code: nobody outside of it asked for that."""

    def __init__(self) -> None:
        super().__init__("a tool or a callable of the agent was cancelled, by none but itself")


@dataclass(frozen=True, slots=True)
class Workbench:
    """The services and values that all attempts of this process share.

    `prices` are the operator's and the known ones; `callables` what the operator registered;
    `cipher` keeps secret arguments of held calls.
    """

    database: Database
    notifications: NotificationService
    registry: ToolRegistry
    tool_context: ToolContextFactory
    models: ModelFactory
    clock: Callable[[], datetime]
    prices: Callable[[], Awaitable[PriceTable]]
    callables: Mapping[str, RegisteredCallable] = field(default_factory=dict)
    unwrapped_tools: UnwrappedTools = "withhold"
    cipher: Cipher | None = None


@dataclass(frozen=True, slots=True)
class _Setup:
    """The input of an attempt. Later attempts of a run get the same as the first."""

    configuration: AgentConfiguration
    options: RunOptions
    contract: OutputContract | None
    limits: Limits
    now: datetime


class Attempt:
    """Executes one attempt of a run that this process has taken."""

    def __init__(self, bench: Workbench, taken: TakenRun, buffer: WriteBuffer) -> None:
        self._bench = bench
        self._taken = taken
        self._buffer = buffer
        # Nothing that a dry run did need be kept from happening twice: it begins anew, and tells of
        # all its calls.
        self._steps = StepLog(buffer, () if taken.is_dry_run else taken.earlier)
        self.options = RunOptions()
        self.policy = CallPolicy()
        self._declarations: dict[str, ToolDeclaration] = {}
        self._warnings: list[str] = []

    async def run(self) -> Ending:
        """Return how it ended.

        Raises FencedError, SuspendedError where the run parks, and CancelledError where it is
        handed on.
        """
        ending = await self._run()
        if self.options.dry_run:
            return endings.rehearsed(ending, self.policy.rehearsed)
        if self._taken.run.action_id is not None:
            return await self._action_run().closed(ending)
        return ending

    async def _run(self) -> Ending:
        claim = self._taken.claim
        if claim.attempt - claim.hand_overs > MAX_ATTEMPTS:
            message = (
                f"Given up after {MAX_ATTEMPTS} attempts: each time the worker that ran this "
                "agent died before it finished."
            )
            return endings.stopped_early(self._earlier_progress(), message)
        if claim.cancel_reason is not None:
            return endings.cancelled(self._earlier_progress(), claim.cancel_reason)
        try:
            setup = self._set_up()
            journal, prices = await self._journal(setup)
            unpriced = _unpriced(setup, journal.budget, prices)
            if unpriced is not None:
                return Ending(ResultStatus.ERROR, unpriced, extra={"setup_required": "price"})
        except UnavailableError:  # the database is away: the next attempt reads it
            raise
        except RotaError as error:
            return endings.refused(error)
        except Exception as error:
            ending = endings.not_begun(error)
            log.debug(
                "run_not_begun",
                run_id=str(self._taken.run.id),
                error=ending.content,
                exc_info=error,
            )
            return ending
        return await self._within_limits(setup, journal)

    def _action_run(self) -> ActionRun:
        return ActionRun(
            self._bench.database, self._bench.notifications, self._bench.cipher, self._taken.run
        )

    @cached_property
    def _ledger(self) -> CallLedger:
        """Where calls are written down; asked for once the options are known."""
        bench, taken = self._bench, self._taken
        held = HeldCalls(
            bench.database,
            bench.notifications,
            taken.run,
            taken.claim,
            self.options,
            bench.cipher,
        )
        return CallLedger(self._buffer, self._steps, held, clock=bench.clock)

    def _earlier_progress(self) -> Progress:
        """Return what earlier attempts did, as far as their journal tells."""
        clock = self._bench.clock
        return Journal(self._steps, self._ledger, declarations={}, clock=clock).catch_up()

    def _set_up(self) -> _Setup:
        if not self._taken.may_run:
            raise SetupRequiredError(MAY_NOT_RUN, what="permission")
        run, snapshot = self._taken.run, self._taken.claim.snapshot
        configuration = require_agent(self._taken.agent, run.agent_name)
        if snapshot is not None:
            configuration = with_snapshot(configuration, snapshot)
            options = RunOptions.parse(snapshot.get("options"))
        else:
            schedule = self._taken.schedule
            options = RunOptions.parse(schedule.options if schedule is not None else None)
            options = options.overridden_by(RunOptions.parse(run.options))
        self.options = options
        if snapshot is None and options.model is not None:
            configuration = with_model(configuration, options.model)
        began = datetime.fromisoformat(snapshot["now"]) if snapshot else None
        schedule = self._taken.schedule
        zone = schedule.timing.time_zone if schedule is not None else self._taken.owner_zone
        now = (began or self._bench.clock()).astimezone(parse_zone(zone))
        if snapshot is None:
            self._buffer.keep_snapshot(make_snapshot(configuration, options, now))
        return _Setup(
            configuration,
            options,
            parse_contract(options.output) if options.output else None,
            run_limits(configuration, options),
            now,
        )

    async def _journal(self, setup: _Setup) -> tuple[Journal, PriceTable]:
        prices = await self._bench.prices()
        budget = Budget(setup.limits, await self._days(setup))
        self._declarations.update({tool.name: tool for tool in setup.configuration.tools})
        journal = Journal(
            self._steps,
            self._ledger,
            declarations=self._declarations,
            clock=self._bench.clock,
            budget=budget,
            cost=lambda model, usage: prices.cost(model, usage, at=self._bench.clock()),
        )
        return journal, prices

    async def _days(self, setup: _Setup) -> tuple[DayBudget, ...]:
        """Return the day's limits that hold for this run, and what was used of them."""
        limits: dict[str, DayLimits] = {
            YOURS: self._taken.day_limits,
            SCHEDULES: setup.options.day_limits if self._taken.schedule else DayLimits(),
        }
        if not any(limits.values()):
            return ()
        run = self._taken.run
        async with self._bench.database.connection() as conn:
            used = await journal_rows.fetch_usage(
                conn, run.user_id, self._buffer.day, run.schedule_id
            )
        spent = {YOURS: used.get(None), SCHEDULES: used.get(run.schedule_id)}
        return tuple(
            DayBudget(whose, limit, spent[whose] or journal_rows.NOTHING)
            for whose, limit in limits.items()
            if limit
        )

    async def _within_limits(self, setup: _Setup, journal: Journal) -> Ending:
        try:
            async with Deadline(setup.limits, used=self._steps.earlier_seconds) as deadline:
                journal.moved = deadline.moved
                ending = await self._work(setup, journal)
        except (FencedError, SuspendedError):
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                ending = endings.failed(CancelledWithinError())
            else:
                reason = await self._cancel_reason()
                if reason is None:  # handed over
                    raise
                task.uncancel()
                ending = endings.cancelled(journal.catch_up(), reason)
        except LimitReachedError as error:
            ending = endings.limited(error, journal.catch_up())
            if setup.contract is not None:
                ending = replace(ending, extra={**ending.extra, "contract": "missed"})
        except RotaError as error:
            journal.check_parked()
            ending = endings.refused(error)
        except Exception as error:
            journal.check_parked()  # the agent's own code made another error of the suspension
            ending = endings.failed(error, callable_name=_callable_name(setup.configuration))
            log.debug(  # the line of the run's end says why
                "agent_failed",
                run_id=str(self._taken.run.id),
                attempt=self._taken.claim.attempt,
                error=ending.content,
                exc_info=error,
            )
        return replace(
            ending,
            progress=journal.progress,
            warnings=(*self._warnings, *journal.budget.warnings, *ending.warnings),
            extra={"model": setup.configuration.model, **ending.extra},
        )

    async def _work(self, setup: _Setup, journal: Journal) -> Ending:
        """Build, gate and run the agent."""
        bench, configuration = self._bench, setup.configuration
        executor, built = await self._build(setup)
        # The journal has the same mapping: what holds for a tool is known once it is built.
        self._declarations.update(built.declarations)
        self.policy = policy_of(
            bench.database, self._taken, bench.clock, setup.options, self._steps.outside
        )
        context = ApprovalContext(
            user_id=self._taken.run.user_id,
            run_id=self._taken.run.id,
            agent_name=self._taken.run.agent_name,
            session_id=self._taken.run.session_id,
            declarations=self._declarations,
            ledger=self._ledger,
            loop=asyncio.get_running_loop(),
            policy=self.policy,
        )
        wrapped = wrap_tools_with_approval(built.tools, context)
        admitted = self._unwrapped(wrapped)
        tools: Tools = (*wrapped.tools, *admitted)
        self._warnings += built.warnings
        if executor is not None:
            self._warnings += executor.warnings

        def run_context() -> RunContext:
            return RunContext.make(
                context,
                journal,
                now=setup.now,
                settings=configuration.model_settings,
                tools=tools,
                build_models=lambda *wanted: self._build_models(setup, *wanted),
                missing=lambda name: self._missing_tool(setup, name),
                read_declarations=self._all_declarations,
            )

        if self._taken.run.action_id is not None:
            return await self._action_run().execute(tools, journal)
        found: object = None
        if setup.options.precheck is not None:
            found = await self._precheck(setup.options.precheck, run_context, tools, journal)
            if is_nothing(found):
                return _nothing_to_do(setup.options)
        prompt = with_checklist(
            self._taken.run.prompt, setup.options.checklist, setup.options.quiet
        )
        if found is not None:
            prompt = f"{prompt}\n\nA check beforehand found:\n{cut_text(str(found))}".strip()

        async def ask(said: str, earlier: Messages) -> AgentReply:
            if executor is None:
                journal.count_earlier()
                registered = self._registered(configuration.model.removeprefix(CALLABLE))
                asked = f"{prompt}\n\n{said}" if said != prompt else prompt
                return AgentReply(await run_registered(registered, run_context(), asked), cut=False)
            return await executor.ainvoke(
                said,
                tools=tools,
                journal=journal,
                guard=GateGuard(context, admitted),
                now=setup.now,
                instructions=setup.contract.instructions() if setup.contract else "",
                earlier=earlier,
            )

        ending = await self._deliver(ask, prompt, setup, journal)
        if executor is None:
            self._warn_of_uncounted(configuration, journal)
        return ending

    async def _build(self, setup: _Setup) -> tuple[AgentExecutor | None, BuiltTools]:
        """Build the agent and its tools; one that is the operator's own code has tools alone."""
        bench, configuration = self._bench, setup.configuration
        tool_context = bench.tool_context(self._taken.run.user_id, lambda: setup.now)
        if configuration.model.startswith(CALLABLE):
            if setup.options.dry_run:
                raise InvalidInputError(NO_DRY_RUN, field="dry_run")
            if self._taken.run.action_id is None:
                # One that this worker does not have may be what a graph brings along.
                names = bench.registry.names()
                there = tuple(tool for tool in configuration.tools if tool.name in names)
                configuration = replace(configuration, tools=there)
            return None, build_tools(
                configuration, registry=bench.registry, tool_context=tool_context
            )
        executor = await build_executor(
            configuration,
            registry=bench.registry,
            tool_context=tool_context,
            models=bench.models,
            now=setup.now,
        )
        return executor, executor.built

    async def _deliver(
        self,
        ask: Callable[[str, Messages], Awaitable[AgentReply]],
        prompt: str,
        setup: _Setup,
        journal: Journal,
    ) -> Ending:
        """Ask for an answer, and once more if it is not what the schedule demands."""
        contract, options = setup.contract, setup.options
        reply = await ask(prompt, ())
        journal.check_parked()
        problems = contract.check(reply.text) if contract is not None else ()
        if (
            contract is not None
            and problems
            and not reply.cut
            and not endings.is_quiet_by(options, reply.text)
        ):
            reply = await ask(contract.correction(problems), reply.messages)
            journal.check_parked()
            problems = contract.check(reply.text)
        if reply.cut:
            message = "The model's output limit cut the answer."
            return endings.stopped_early(replace(journal.progress, texts=[reply.text]), message)
        if problems and not endings.is_quiet_by(options, reply.text):
            message = (
                "The answer does not have the form that the schedule requires: "
                f"{' '.join(problems)}"
            )
            ending = endings.stopped_early(replace(journal.progress, texts=[reply.text]), message)
            return replace(ending, extra={**ending.extra, "contract": "missed"})
        ending = endings.answered(reply.text, options, is_empty=reply.is_empty)
        if contract is not None:
            ending = replace(ending, extra={**ending.extra, "contract": "met"})
        return ending

    async def _precheck(
        self,
        check: Precheck,
        context: Callable[[], RunContext],
        tools: Tools,
        journal: Journal,
    ) -> object:
        """Return what a pre-check found. It may only read, and only what runs by itself."""
        if check.kind == "callable":
            if self.policy.is_dry_run:
                return "(Nothing is known: a dry run does not call the operator's own code.)"
            registered = self._registered(check.name)
            return await run_registered(
                registered, context(), self._taken.run.prompt, key=AS_PRECHECK
            )
        tool = next((tool for tool in tools if tool.name == check.name), None)
        declaration = self._declarations.get(check.name)
        if tool is None or declaration is None or not declaration.read_only:
            raise InvalidInputError(
                f"The pre-check {check.name!r} is not a tool of this agent that only reads.",
                field="precheck",
            )
        verdict = self.policy.judge(check.name, declaration, check.arguments)
        known = self._steps.recorded(AS_PRECHECK)  # answered from the journal: nothing is called
        if verdict.decision != "allowed" and (known is None or known.response is None):
            # It would ask for approval at each beat.
            raise InvalidInputError(
                f"The pre-check {check.name!r} does not run by itself: {verdict.reason}.",
                field="precheck",
            )
        check_arguments(check, lambda _: argument_names(tool))
        return await check_by_tool(journal, tool, check.arguments)

    def _build_models(
        self,
        setup: _Setup,
        name: str,
        fallbacks: Sequence[str] | None,
        settings: Mapping[str, Any],
    ) -> BuiltModels:
        """Build a model for the operator's code, which falls back on the agent's models."""
        falls_back_on = setup.configuration.fallback_models if fallbacks is None else fallbacks
        wanted = replace(
            setup.configuration,
            model=name,
            fallback_models=tuple(falls_back_on),
            model_settings=settings,
        )
        built = self._bench.models(wanted, setup.now)
        self._warnings += [said for said in built.warnings if said not in self._warnings]
        return built

    def _warn_of_uncounted(self, configuration: AgentConfiguration, journal: Journal) -> None:
        """Say that a limit was none: the operator's code told nothing of what it used."""
        limits = journal.budget.of_use()
        if limits is not None and not journal.progress.model_calls:
            self._warnings.append(
                f"Nobody can say whether {limits} was kept: {configuration.model} told nothing of "
                "what it used. It does so with context.model() or context.spend()."
            )

    def _missing_tool(self, setup: _Setup, name: str) -> RotaError:
        """Return why the operator's code does not have a tool."""
        if any(tool.name == name for tool in setup.configuration.tools):
            return unregistered(name)
        return NotFoundError("tool", name, hint="Link it to the agent.")

    async def _all_declarations(self) -> Mapping[str, ToolDeclaration]:
        async with self._bench.database.connection() as conn:
            declared = await agent_rows.list_declarations(conn, self._taken.run.user_id)
        return {tool.name: tool for tool in declared}

    def _registered(self, name: str) -> RegisteredCallable:
        found = self._bench.callables.get(name)
        if found is None:
            raise SetupRequiredError(
                f"No callable is registered as {name!r}: {started_without('ROTA_CALLABLES')}.",
                what=f"callable:{name}",
            )
        return found

    async def _cancel_reason(self) -> str | None:
        """Return why somebody cancelled the run; None: nobody did, as far as can be known."""
        try:
            async with self._bench.database.connection() as conn:
                return await run_rows.fetch_cancel_reason(conn, self._taken.run.id)
        except RotaError as error:  # the next attempt looks again
            log.warning("cancel_reason_unknown", run_id=str(self._taken.run.id), error=str(error))
            return None

    def _unwrapped(self, wrapped: WrappedTools) -> Tools:
        """Decide on tools that could not be wrapped: readers run, others are withheld."""
        admitted: Tools = ()
        for failure in wrapped.failures:
            name, declaration = failure.tool_name, self._declarations.get(failure.tool_name)
            reads_only = declaration is not None and declaration.read_only
            log.warning(
                "tool_wrapping_failed",
                run_id=str(self._taken.run.id),
                tool=name,
                error=failure.error,
            )
            is_let_in = self._bench.unwrapped_tools == "allow" and not self.policy.is_dry_run
            if reads_only or is_let_in:
                admitted = (*admitted, failure.tool)
                self._warnings.append(f"{name} ran without the approval system.")
            else:
                self._warnings.append(
                    f"The agent did not get {name}, because the approval system could "
                    f"not wrap it ({failure.error})."
                )
        return admitted


def _callable_name(configuration: AgentConfiguration) -> str | None:
    """Return the name of the callable that this agent is, None for a model's."""
    named = configuration.model.removeprefix(CALLABLE)
    return named if named != configuration.model else None


def _nothing_to_do(options: RunOptions) -> Ending:
    """Return the ending of a run whose pre-check found nothing: stored, and not announced."""
    return Ending(
        ResultStatus.SUCCESS,
        options.quiet or "OK",
        extra={"quiet": True, "precheck": "found nothing; the agent was not asked"},
    )


def _unpriced(setup: _Setup, budget: Budget, prices: PriceTable) -> str | None:
    """Return why a limit in dollars cannot be kept, None where it can."""
    models = [setup.configuration.model, *setup.configuration.fallback_models]
    unknown = [model for model in models if not prices.knows(model)]
    return unknown_price(unknown) if unknown and budget.counts_money else None
