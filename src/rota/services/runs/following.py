"""Follows a run until it ends: each look returns what has changed since the look before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from rota.domain.ids import RunId, UserId
from rota.domain.runs.run import OVER, RunStatus
from rota.domain.runs.steps import Step, StepKey
from rota.domain.runs.views import RunView
from rota.services.runs.service import RunService

LOOK_EVERY: Final = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class StepNews:
    """A call that began, ended or failed again.

    `attempts_told` is the number of failed attempts that were reported before.
    """

    step: Step
    is_changed: bool
    attempts_told: int


@dataclass(frozen=True, slots=True)
class RunNews:
    """A run at one look, and what has changed since the look before.

    `before` is the earlier status, None at the first look. `steps` are all calls so far.
    """

    run: RunView
    before: RunStatus | None
    news: tuple[StepNews, ...]
    steps: tuple[Step, ...]


class RunFollower:
    """Looks at one run repeatedly. It acts as the person."""

    def __init__(self, runs: RunService) -> None:
        self._runs = runs

    async def follow(
        self, user_id: UserId, reference: str | None, *, every: float = LOOK_EVERY
    ) -> AsyncIterator[RunNews]:
        """Yield a run as it is now, then whatever is new of it; the last one is over.

        None: the newest run. Nothing is told twice, and a run that is over is told at once. Raises
        NotFoundError.
        """
        seen: dict[StepKey, tuple[str, int]] = {}
        before: RunStatus | None = None
        while True:
            run, steps = await self._runs.get(user_id, reference)
            run_id = RunId(run.id)
            reference = str(run_id)  # the beginning of its id may fit another one later
            news = tuple(
                StepNews(step, step.status != status, told)
                for step in steps
                for status, told in [seen.get(step.key, ("", 0))]
                if (status, told) != (step.status, len(step.attempts))
            )
            if news or run.status is not before:
                yield RunNews(run, before, news, steps)
            if run.status in OVER:
                return
            seen = {step.key: (step.status, len(step.attempts)) for step in steps}
            before = run.status
            is_new = False
            while not is_new:
                await asyncio.sleep(every)
                is_new = (before, seen) != await self._runs.progress(user_id, run_id)
