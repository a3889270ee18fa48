"""Starts, retries and cancels runs for a person, and waits for their results."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final

from rota.domain.errors import ConflictError, NotFoundError, SuspendedError
from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.operations.processes import NEEDED, Kind
from rota.domain.runs.options import RunOptions
from rota.domain.runs.run import OVER, RunStatus
from rota.domain.runs.steps import Step, StepKey
from rota.domain.runs.views import (
    AttemptView,
    Result,
    RunFilter,
    RunKey,
    RunState,
    RunUse,
    RunView,
)
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.text.sentences import sentence
from rota.services.agents.option_checks import check_options
from rota.services.agents.service import find_agent
from rota.services.runs.finding import find_run
from rota.store.agents import rows as agent_rows
from rota.store.database import Connection, Database
from rota.store.operations import processes
from rota.store.runs import journals as journal_rows
from rota.store.runs import requests
from rota.store.runs import results as result_rows
from rota.store.runs import rows as run_rows
from rota.store.runs import views as run_views
from rota.store.schedules import rows as schedule_rows

_STANDS_STILL: Final = OVER | {RunStatus.SUSPENDED}
_BEFORE_ALL: Final = StepKey(-1, -1)
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_SHARE: Final = 0.05
"""Who waits for a run looks again after this share of the time waited: many may wait for long."""


class RunService:
    """Acts as the person, through functions in the database that check who may ask."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(
        self,
        user_id: UserId,
        agent_name: str,
        prompt: str = "",
        options: RunOptions | None = None,
    ) -> RunId:
        """Ask for a run now and return its id.

        Raises NotFoundError for an unknown agent, InvalidInputError for options that it cannot run
        with.
        """
        async with self._database.acting_as(user_id) as conn:
            agent = await find_agent(conn, user_id, agent_name)
            check_options(options or RunOptions(), agent)
            return await requests.request_run(conn, agent_name, prompt, options)

    async def request_schedule(
        self,
        user_id: UserId,
        schedule_id: ScheduleId,
        prompt: str | None = None,
        overlap: OverlapPolicy | None = None,
        options: RunOptions | None = None,
    ) -> RunId:
        """Ask for a run of a schedule now, under its overlap policy or another one.

        `options` go before those of the schedule. Raises NotFoundError, InvalidInputError, and
        ConflictError where the policy lets nothing start because a run is under way.
        """
        try:
            async with self._database.acting_as(user_id) as conn:
                await _check_for_schedule(conn, user_id, schedule_id, options)
                return await requests.request_schedule_run(
                    conn, schedule_id, prompt, overlap, options
                )
        except ConflictError as error:
            wait = "Wait for it"
            if not await self.somebody_works():
                wait = (
                    "No worker is running: unless another command executes it, start `rota up`, or "
                    "a scheduler and a worker. Else wait for it"
                )
            raise ConflictError(
                "A run of this schedule is under way or waits for your approval, and its overlap "
                f"policy is to skip. {wait}, decide (`rota approvals list`), or choose "
                "--overlap buffer_all, cancel_other or allow_all."
            ) from error

    async def retry(self, user_id: UserId, reference: str) -> RunId:
        """Ask for a new run of what an earlier one was asked, and return its id.

        Raises NotFoundError, also where its agent is gone, and ConflictError for a run that is not
        over.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await find_run(conn, reference)
            if found.status not in OVER:
                raise ConflictError(
                    f"The run is not over: it is {found.status}. Wait for its end, or "
                    "cancel it first."
                )
            await find_agent(conn, user_id, found.agent_name)
            return await requests.request_retry(conn, RunId(found.id))

    async def wait(
        self,
        user_id: UserId,
        run_id: RunId,
        *,
        limit: timedelta,
    ) -> Result | None:
        """Wait for a run's result, as the person; None when `limit` is over first.

        Raises SuspendedError for a run that waits for a decision, and ConflictError for one that
        was cancelled before it began: it has no result.
        """
        found = await self.state(user_id, run_id, wait=limit)
        if found.result is None and found.status is RunStatus.SUSPENDED:
            raise SuspendedError
        if found.result is None and found.status is RunStatus.CANCELLED:
            raise ConflictError(
                sentence(f"The run was cancelled before it began: {found.cancel_reason}")
            )
        return found.result

    async def state(
        self, user_id: UserId, run_id: RunId, *, wait: timedelta = timedelta(0)
    ) -> RunState:
        """Return where a run stands, with its result if it has one; raises NotFoundError.

        Waits until it is over, or waits for a decision; but no longer than `wait`.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            async with self._database.acting_as(user_id) as conn:
                # In this order: one that was cancelled on the way has a result by then.
                found = await run_rows.fetch_state(conn, run_id)
                result = await result_rows.fetch_result_of_run(conn, run_id)
            if found is None:
                raise NotFoundError("run", str(run_id), hint="See `rota runs list`.")
            status, cancel_reason = found
            waited = loop.time() - began
            left = wait.total_seconds() - waited
            if result is not None or status in _STANDS_STILL or left <= 0:
                return RunState(run_id, status, cancel_reason, result)
            pause = min(max(_SHORTEST_PAUSE, waited * _SHARE), _LONGEST_PAUSE)
            await asyncio.sleep(min(pause, left))

    async def all(
        self,
        user_id: UserId,
        *,
        schedule_id: ScheduleId | None = None,
        status: RunStatus | None = None,
        limit: int,
    ) -> tuple[RunView, ...]:
        """Return the person's runs, newest first."""
        async with self._database.acting_as(user_id) as conn:
            which = RunFilter(schedule_id=schedule_id, status=status)
            return await run_views.list_runs(conn, which, limit=limit)

    async def page(
        self,
        user_id: UserId,
        which: RunFilter,
        *,
        after: RunKey | None = None,
        limit: int,
    ) -> tuple[RunView, ...]:
        """Return the runs that are listed below one, newest first; without one from the newest."""
        async with self._database.acting_as(user_id) as conn:
            return await run_views.list_runs(conn, which, after=after, limit=limit)

    async def count(self, user_id: UserId, which: RunFilter) -> int:
        """Return how many runs a list has in all."""
        async with self._database.acting_as(user_id) as conn:
            return await run_views.count_runs(conn, which)

    async def get(self, user_id: UserId, reference: str | None) -> tuple[RunView, tuple[Step, ...]]:
        """Return a run and its steps by its id, or its beginning; None: the newest run.

        Raises NotFoundError.
        """
        async with self._database.acting_as(user_id) as conn:
            if reference is None:
                newest = await run_views.list_runs(conn, RunFilter(), limit=1)
                if not newest:
                    raise NotFoundError("run", "newest", hint="There are none yet.")
                reference = str(newest[0].id)
            found = await find_run(conn, reference)
            return found, await journal_rows.fetch_steps(conn, RunId(found.id))

    async def show(self, user_id: UserId, reference: str) -> tuple[RunView, RunUse]:
        """Return a run and what it has used so far; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            found = await find_run(conn, reference)
            use = await run_views.fetch_use(conn, RunId(found.id))
        return found, use if use.model_calls else _use_by_result(found)

    async def trace(
        self, user_id: UserId, reference: str, *, after: StepKey | None = None, limit: int
    ) -> tuple[RunId, tuple[Step, ...]]:
        """Return the id of a run, and its calls after one, in order; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            run_id = RunId((await find_run(conn, reference)).id)
            steps = await journal_rows.list_steps(
                conn, run_id, after=after or _BEFORE_ALL, limit=limit
            )
        return run_id, steps

    async def attempts(
        self, user_id: UserId, reference: str, *, after: int = 0, limit: int
    ) -> tuple[AttemptView, ...]:
        """Return the attempts of a run after one, the first one first; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            found = await find_run(conn, reference)
            return await run_views.list_attempts(conn, RunId(found.id), after=after, limit=limit)

    async def progress(
        self, user_id: UserId, run_id: RunId
    ) -> tuple[RunStatus, Mapping[StepKey, tuple[str, int]]]:
        """Return where a run stands, and of each call its status and its failed attempts.

        Raises NotFoundError. To look at a run often: what its calls hold is not read.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await find_run(conn, str(run_id))
            return found.status, await journal_rows.step_states(conn, run_id)

    async def cancel(self, user_id: UserId, reference: str, note: str = "") -> RunView:
        """Ask a run to stop and return it.

        What has not begun is cancelled at once. What is under way is ended by its worker within
        two seconds, and stores what there is. Raises NotFoundError, and ConflictError for a run
        that is over.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await find_run(conn, reference)
            if found.status in OVER:
                raise ConflictError(f"The run is over: it is {found.status}.")
            await requests.request_cancel(conn, RunId(found.id), note or None)
            return await find_run(conn, str(found.id))

    async def somebody_works(self) -> bool:
        """Return whether a scheduler and a worker are alive to take a run."""
        return set(NEEDED) <= await self._alive()

    async def missing(self, user_id: UserId, run_id: RunId) -> tuple[Kind, ...]:
        """Return which kinds of process a run cannot go on without, and none is alive.

        A run that is over, or suspended until a decision, misses none. Raises NotFoundError.
        """
        status, _ = await self.progress(user_id, run_id)
        match status:
            case RunStatus.WAITING:
                needed: tuple[Kind, ...] = NEEDED
            case RunStatus.QUEUED | RunStatus.RUNNING:
                needed = ("worker",)
            case _:
                needed = ()
        alive = await self._alive()
        return tuple(kind for kind in needed if kind not in alive)

    async def _alive(self) -> set[Kind]:
        async with self._database.connection() as conn:
            return {p.kind for p in await processes.list_processes(conn) if p.is_alive}


def _use_by_result(run: RunView) -> RunUse:
    """Return what a run has used as its result says it: nothing where there is none."""
    told = run.metadata or {}
    tokens = told.get("tokens", {})
    cost = Decimal(told["cost_usd"]) if "cost_usd" in told else None
    return RunUse(
        model_calls=told.get("model_calls", 0),
        failed_model_calls=told.get("failed_model_calls", 0),
        input_tokens=tokens.get("input", 0),
        output_tokens=tokens.get("output", 0),
        cost_usd=cost if tokens else Decimal(0),
    )


async def _check_for_schedule(
    conn: Connection, user_id: UserId, schedule_id: ScheduleId, options: RunOptions | None
) -> None:
    """Check options against the agent of a schedule; where one is missing, others say so."""
    if options is None or not options.asks_of_agent:
        return
    schedule = await schedule_rows.fetch_schedule(conn, schedule_id)
    if schedule is None:
        return
    agent = await agent_rows.fetch_agent(conn, schedule.agent_name, user_id)
    if agent is not None:
        check_options(options, agent)
