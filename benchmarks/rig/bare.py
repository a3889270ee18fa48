"""The same agent without rota: nothing stored, nothing gated, in as many processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from typing import Any
from uuid import uuid4

from rig.agents import SCRIPT, Kind, noop
from rota.domain.ids import UserId
from rota.sample import sample_mailbox_path

WARM_UP = 20
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Bare:
    """A bare loop: its wall time from the first process's start to the last one's end."""

    runs: int
    seconds: float
    cpu_seconds: float

    def __add__(self, other: Bare) -> Bare:
        return Bare(
            self.runs + other.runs,
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
        )

    @property
    def runs_per_second(self) -> float:
        return round(self.runs / self.seconds, 1)

    @property
    def cpu_ms_per_run(self) -> float:
        return round(1000 * self.cpu_seconds / self.runs, 2)


@dataclass(frozen=True, slots=True)
class Bares:
    """An agent bare: with a graph built for each run, and with one that a process keeps.

    A callable has no graph: both are the same loop.
    """

    built: Bare
    cached: Bare

    def __add__(self, other: Bares) -> Bares:
        return Bares(self.built + other.built, self.cached + other.cached)


def measure_bare(kind: Kind, *, runs: int, processes: int, concurrency: int) -> Bares:
    """Run an agent as often, in so many processes that have done it before."""
    spawn = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    try:
        for n in range(processes):
            ours, theirs = spawn.Pipe()
            share = runs // processes + (n < runs % processes)
            worker = spawn.Process(target=_work, args=(kind, share, concurrency, theirs))
            worker.start()
            theirs.close()  # so that a loop that ends before its time is heard
            pipes.append(ours)
            workers.append(worker)
        built, cached = (_race(pipes, runs) for _ in range(2))
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return Bares(built, cached)


def _race(pipes: Sequence[Pipe], runs: int) -> Bare:
    for pipe in pipes:
        _expect(pipe)
    for pipe in pipes:
        pipe.send("go")
    spans = [_expect(pipe) for pipe in pipes]
    return Bare(
        runs=runs,
        seconds=max(ended for _, ended, _ in spans) - min(began for began, _, _ in spans),
        cpu_seconds=sum(cpu for _, _, cpu in spans),
    )


def _expect(pipe: Pipe) -> Any:
    if not pipe.poll(_PATIENCE):
        raise RuntimeError(f"a bare loop was silent for {_PATIENCE:.0f} s")
    return pipe.recv()


def _work(kind: Kind, runs: int, concurrency: int, pipe: Pipe) -> None:
    for cached in (False, True):
        once = _noop_once if kind is Kind.CALLABLE else _scripted_once(cached=cached)
        asyncio.run(_loop(once, WARM_UP, concurrency))
        pipe.send("ready")
        pipe.recv()
        began, cpu = time.monotonic(), time.process_time()
        asyncio.run(_loop(once, runs, concurrency))
        pipe.send((began, time.monotonic(), time.process_time() - cpu))


async def _loop(once: Callable[[], Awaitable[object]], runs: int, concurrency: int) -> None:
    room = asyncio.Semaphore(concurrency)

    async def one() -> None:
        async with room:
            await once()

    await asyncio.gather(*(one() for _ in range(runs)))


async def _noop_once() -> None:
    await noop(None, "")


async def _no_secret(_service: str) -> str:
    raise LookupError("a bare loop has no connections")


def _scripted_once(*, cached: bool) -> Callable[[], Awaitable[object]]:
    # Heavy, and nothing that the process which starts these loops needs.
    import httpx  # noqa: PLC0415  a measured process imports it alone
    from langchain.agents import create_agent  # noqa: PLC0415  a measured process imports it alone
    from langchain_core.messages import HumanMessage  # noqa: PLC0415  a measured process imports it alone

    from rota.agents.scripted.model import ScriptedChatModel  # noqa: PLC0415  a measured process imports it alone
    from rota.agents.tools.context import ToolContext  # noqa: PLC0415  a measured process imports it alone
    from rota.agents.tools.mail.folder_tools import mail_search_tool  # noqa: PLC0415  a measured process imports it alone
    from rota.domain.agents.script import parse_script  # noqa: PLC0415  a measured process imports it alone

    def now() -> datetime:
        return datetime.now(UTC)

    def build() -> Any:
        context = ToolContext(
            user_id=UserId(uuid4()),
            now=now,
            secret=_no_secret,
            mail_folder=sample_mailbox_path,
            http=httpx.AsyncClient(),
        )
        tool = mail_search_tool(context=context)
        return create_agent(ScriptedChatModel(script=parse_script(SCRIPT), now=now()), tools=[tool])

    kept = build() if cached else None

    async def once() -> None:
        await (kept or build()).ainvoke({"messages": [HumanMessage("")]})

    return once
