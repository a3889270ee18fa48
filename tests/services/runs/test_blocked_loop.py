"""A tool that blocks the agents' loop takes only itself down."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from rota.agents.own_code.registered import AsyncFunction
from rota.domain.errors import UnavailableError
from rota.engine.agent_loop import AgentLoop
from rota.services.operations.agent_hosts import AgentHost, AgentHosts
from tests.services.running import make_run, queue_runs, results, until, working

pytestmark = pytest.mark.long

BLOCKED_AFTER = 1.0


class Blocker:
    """A tool, and a callable, that block their event loop until the test lets them go."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.let_go = threading.Event()
        self.ended = threading.Event()

    def block(self) -> None:
        self.calls.append(threading.get_ident())
        if len(self.calls) == 1:  # once is enough: a later attempt finds it cured
            self.let_go.wait(60)
            self.ended.set()

    def registry(self, workshop):
        @tool
        async def block() -> str:
            """Block the loop."""
            self.block()
            return "blocked"

        registry = workshop.toolbox.registry()
        registry.register("block", lambda _context: block)
        return registry

    def callables(self):
        async def blocks(_context, _prompt):
            self.block()
            return "A callable was here."

        return {"blocks": AsyncFunction("blocks", blocks)}


@pytest.fixture
def blocker():
    made = Blocker()
    yield made
    made.let_go.set()


async def declare_block(workshop, *, read_only):
    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, default_tier) VALUES ('block', %s, 'auto')",
        [read_only],
    )
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "block"}]}], "answer": "{{ results[0] }}"},
        name="blocking",
        tools=["block"],
    )


async def others(workshop, count):
    """Runs of other agents that are in the middle of their work."""
    workshop.toolbox.gate = asyncio.Event()
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "sleepy"}]}], "answer": "Other."},
        name="other",
        tools=["sleepy"],
    )
    return [await make_run(workshop, "other") for _ in range(count)]


def sleepy_in(registry, calls, count):
    @tool
    async def sleepy() -> str:
        """Sleep, without blocking anybody; until its loop is given up, if it is of the first."""
        calls.append(1)
        if len(calls) <= count:
            await asyncio.sleep(600)
        return "slept"

    registry.register("sleepy", lambda _context: sleepy)
    return registry


async def declare_sleepy(workshop):
    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, default_tier) VALUES ('sleepy', true, 'auto')"
    )


async def test_other_runs_finish_and_the_blocked_one_is_not_run_twice(
    workshop, database_url, blocker
):
    await declare_sleepy(workshop)
    await declare_block(workshop, read_only=False)
    calls = []
    registry = sleepy_in(blocker.registry(workshop), calls, 3)
    others_runs = await others(workshop, 3)
    async with working(
        workshop, database_url, blocked_after=BLOCKED_AFTER, registry=registry
    ) as hosts:
        first = hosts.current
        await queue_runs(workshop.database)

        async def asleep():
            return len(calls) == 3

        await until(asleep)
        blocking = await make_run(workshop, "blocking")
        await queue_runs(workshop.database)
        stored = {row["run_id"]: row for row in await results(workshop, 4)}
        assert hosts.current is not first

        # It comes back, long after its run was ended by another attempt.
        before = await workshop.rows("agent_run_steps", "run_id, model_step, call_index")
        blocker.let_go.set()
        await asyncio.to_thread(blocker.ended.wait, 5)
        await asyncio.sleep(1.0)
        assert await workshop.rows("agent_run_steps", "run_id, model_step, call_index") == before

    for run in others_runs:
        assert (stored[run.id]["status"], stored[run.id]["result_content"]) == ("success", "Other.")
        assert stored[run.id]["metadata"]["attempt"] == 2
    assert len(blocker.calls) == 1
    assert "Whether it took effect is unknown" in stored[blocking.id]["result_content"]
    assert len(await workshop.rows("agent_execution_results")) == 4
    assert len(await workshop.rows("notifications")) == 4


async def test_blocking_tool_that_only_reads_is_called_again(workshop, database_url, blocker):
    await declare_block(workshop, read_only=True)
    registry = blocker.registry(workshop)
    async with working(workshop, database_url, blocked_after=BLOCKED_AFTER, registry=registry):
        await make_run(workshop, "blocking")
        await queue_runs(workshop.database)
        (result,) = await results(workshop)
        blocker.let_go.set()
    assert (len(blocker.calls), result["result_content"]) == (2, "blocked")


async def test_late_answer_of_a_blocking_callable_is_fenced(workshop, database_url, blocker):
    await workshop.agent(model="callable:blocks", name="blocking")
    async with working(
        workshop, database_url, blocked_after=BLOCKED_AFTER, callables=blocker.callables()
    ):
        await make_run(workshop, "blocking")
        await queue_runs(workshop.database)
        (result,) = await results(workshop)
        blocker.let_go.set()
        await asyncio.to_thread(blocker.ended.wait, 5)
        await asyncio.sleep(1.0)
    assert result["metadata"]["attempt"] == 2
    assert (await workshop.row("agent_execution_results"))["id"] == result["id"]
    assert len(await workshop.rows("notifications")) == 1


async def test_model_that_takes_long_to_build_blocks_nobody(workshop, database_url):
    """On a busy machine importing a provider's package takes longer than a loop may be silent."""
    built = []

    def build(_configuration, _now):
        built.append(threading.current_thread().name)
        threading.Event().wait(3 * BLOCKED_AFTER)
        return GenericFakeChatModel(messages=iter([AIMessage("Here.")]))

    await workshop.agent(model="openai:gpt-4o-mini")
    async with working(workshop, database_url, blocked_after=BLOCKED_AFTER, models=build) as hosts:
        first = hosts.current
        await make_run(workshop)
        await queue_runs(workshop.database)
        (result,) = await results(workshop)
        assert hosts.current is first
    assert (result["result_content"], result["metadata"]["attempt"]) == ("Here.", 1)
    assert [name.startswith("rota-tool") for name in built] == [True]


async def connections(workshop):
    cursor = await workshop.owner.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rota'"
        " AND datname = current_database()"
    )
    return (await cursor.fetchone())[0]


async def test_abandoned_side_closes_what_it_had_open(workshop, database_url, blocker):
    await declare_block(workshop, read_only=True)
    threads = set(threading.enumerate())
    registry = blocker.registry(workshop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with working(workshop, database_url, blocked_after=BLOCKED_AFTER, registry=registry):
            await make_run(workshop, "blocking")
            await queue_runs(workshop.database)
            await results(workshop)
            while_blocked = await connections(workshop)
            blocker.let_go.set()

            async def closed():
                left = _loop_threads(threads)
                return len(left) == 1 and await connections(workshop) < while_blocked

            await until(closed)  # but for the loop that took its place
        gc.collect()
    assert _loop_threads(threads) == []


def _loop_threads(before):
    return [t for t in threading.enumerate() if t not in before and t.name == "rota-agents"]


async def test_worker_ends_though_its_loop_is_blocked(workshop, database_url, blocker):
    await declare_block(workshop, read_only=False)
    registry = blocker.registry(workshop)
    async with asyncio.timeout(30):
        async with working(workshop, database_url, blocked_after=60, registry=registry):
            await make_run(workshop, "blocking")
            await queue_runs(workshop.database)

            async def blocked():
                return blocker.calls

            await until(blocked)
        assert not blocker.ended.is_set()
    assert (await workshop.row("agent_runs"))["status"] == "running"  # another worker's to end


# The loop itself


async def test_every_coroutine_that_is_begun_comes_back():
    """However many begin at once, while others end: no wake-up is lost."""
    loop = AgentLoop()
    loop.start()

    async def work(number):
        for _ in range(number % 4):
            await asyncio.sleep(0)
        if number % 7 == 3:
            raise ValueError(number)
        return number

    async def one(number):
        for _ in range(number % 5):
            await asyncio.sleep(0)
        return await loop.run(work(number))

    async with asyncio.timeout(30):
        for _ in range(20):
            outcomes = await asyncio.gather(*(one(n) for n in range(500)), return_exceptions=True)
            assert [repr(o) for o in outcomes] == [
                repr(ValueError(n)) if n % 7 == 3 else repr(n) for n in range(500)
            ]
    await loop.stop()


async def test_abandoned_loop_lets_its_callers_go_at_once():
    loop = AgentLoop()
    loop.start()
    let_go, closed = threading.Event(), threading.Event()

    async def blocks():
        let_go.wait(30)

    async def close():
        closed.set()

    blocked = asyncio.create_task(loop.run(blocks()))
    waiting = asyncio.create_task(loop.run(asyncio.sleep(60)))
    await asyncio.sleep(0.05)
    loop.abandon(close)

    async with asyncio.timeout(20):  # before the block ends by itself
        outcomes = await asyncio.gather(blocked, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 2
    with pytest.raises(UnavailableError):
        await loop.run(asyncio.sleep(0))
    assert not closed.is_set()
    let_go.set()
    assert await asyncio.to_thread(closed.wait, 5)


async def test_side_that_cannot_be_replaced_yet_is_replaced_later():
    """The database may be away at that moment too."""
    opened = []
    let_go = threading.Event()

    async def nothing():
        return None

    async def open_host():
        if len(opened) == 1:
            opened.append(None)
            raise UnavailableError("The database is away.", service="database")
        loop = AgentLoop()
        loop.start()
        host = AgentHost(loop, None, nothing)
        opened.append(host)
        return host

    hosts = AgentHosts(open_host, blocked_after=0.2)
    await hosts.open()
    lost = []
    watching = asyncio.create_task(hosts.watch(lost.append))

    async def blocks():
        let_go.wait(30)

    opened[0].loop.begin(blocks())

    async def replaced():
        return lost

    await until(replaced, seconds=10)
    let_go.set()
    assert lost == [opened[0]]
    assert hosts.current is opened[2]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await hosts.close()
