"""All agents run on one graph; no run sees anything of another's."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from typing import Annotated, Any

import pytest
from langchain_core.tools import tool
from langgraph.prebuilt import InjectedState

from rota.agents.graph.graph import GraphContext
from rota.agents.journal.journal import Journal
from rota.agents.models.building import ChatModels
from rota.domain.ids import UserId
from rota.domain.runs.run import ResultStatus
from rota.services.runs.journal_writer import WriteBuffer
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer
from tests.services.running import fetch_run, make_run, until

PEOPLE = 50
MARK = re.compile(r"mark-\d+")


class Marked(OpenAIServer):
    """Answers each request by the mark that is in it, so that any number may ask at once."""

    def next_reply(self, request):
        messages = request.body["messages"]
        (mark,) = set(MARK.findall(json.dumps(messages[-1]))) or {"none"}
        asked = sum(message["role"] == "assistant" for message in messages)
        if asked < 3:
            return Says(f"{mark} asks.", (("secret", {"of": f"{mark} {asked}"}),) * 2)
        return Says(f"{mark} is done.")


def on(server):
    return ChatModels(endpoints={"local": server.url})


async def declare(workshop, name, *, read_only=True, tier="auto", idempotent=True):
    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, idempotent, default_tier, brings_outside_text)"
        " VALUES (%s, %s, %s, %s, false)",
        [name, read_only, idempotent, tier],
    )


async def openai_agent(workshop, *tools, name="watcher"):
    await workshop.agent(
        name=name,
        model="openai:gpt-4o-mini",
        model_settings={"endpoint": "local", "max_retries": 0},
        tools=tools,
    )


async def test_runs_at_the_same_instant_see_nothing_of_each_other(workshop):
    """Fifty people, whose agents and tools have the same names; each knows one mark."""
    await declare(workshop, "secret")
    marks: dict[UserId, str] = {}
    calls: list[tuple[str, str]] = []
    together = asyncio.Barrier(PEOPLE)

    def secret(context):
        mine = marks[context.user_id]

        @tool(description=f"Tells the secret of {mine}.")
        async def secret(of: str) -> str:
            calls.append((mine, of))
            await asyncio.sleep(0.001 * (len(calls) % 7))
            return f"the secret of {mine}"

        return secret

    registry = workshop.toolbox.registry()
    registry.register("secret", secret)
    runs = []
    for number in range(PEOPLE):
        cursor = await workshop.owner.execute(
            "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [f"p{number}@example.com"]
        )
        user = UserId((await cursor.fetchone())[0])
        marks[user] = f"mark-{number}"
        workshop.user = user
        await openai_agent(workshop, "secret")
        runs.append(await make_run(workshop, prompt=f"I am {marks[user]}."))
    await workshop.owner.execute(
        "UPDATE agent_configurations AS c SET system_prompt = 'You serve ' || r.prompt"
        " FROM agent_runs AS r WHERE r.user_id = c.user_id"
    )

    with Marked() as server:
        service = workshop.service(models=on(server), registry=registry)

        async def execute(run):
            taken = await service.take(run.id)
            await together.wait()
            return await service.execute_run(run, taken=taken)

        outcomes = await asyncio.gather(*(execute(run) for run in runs))

        seen = [set(MARK.findall(json.dumps(request.body))) for request in server.requests]
    assert all(len(marks_of_one) == 1 for marks_of_one in seen)
    assert len(seen) == 4 * PEOPLE
    for request in server.requests:
        (mark,) = set(MARK.findall(json.dumps(request.body)))
        assert f"You serve I am {mark}." in request.body["messages"][0]["content"]
        (told,) = request.body["tools"]
        assert told["function"]["description"] == f"Tells the secret of {mark}."
    for run, outcome in zip(runs, outcomes, strict=True):
        assert (outcome.run_id, outcome.content) == (run.id, f"{marks[run.user_id]} is done.")
    assert len(calls) == 6 * PEOPLE
    assert all(of.split()[0] == mine for mine, of in calls)
    for step in await workshop.rows("agent_run_steps"):
        assert set(MARK.findall(json.dumps([step["request"], step["response"]]))) == {
            marks[step["user_id"]]
        }


async def test_tool_that_is_not_the_runs_is_refused(workshop):
    """Another run has a tool of that name, on the same graph, at the same time."""
    await workshop.agent({"steps": [{"calls": [{"tool": "wait"}]}], "answer": "x"}, tools=["wait"])
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "{{ results[0] }}"},
        name="other",
        tools=["look"],
    )
    service = workshop.service()
    workshop.toolbox.gate = asyncio.Event()
    run = await make_run(workshop)
    has_it = asyncio.create_task(service.execute_run(run))

    async def there():
        return workshop.toolbox.calls

    await until(there)
    outcome = await service.execute_run(await make_run(workshop, "other"))
    workshop.toolbox.gate.set()
    await has_it

    assert outcome.content == "wait is not a tool of this agent; there are: look."
    assert workshop.toolbox.calls == [("wait", None)]


class OddIds(OpenAIServer):
    """Gives each tool call the same id, or none."""

    def __init__(self, call_id, *replies):
        super().__init__(*replies)
        self._call_id = call_id

    def answer(self, request, reply):
        body = super().answer(request, reply)
        for call in body["choices"][0]["message"].get("tool_calls", ()):
            call["id"] = self._call_id
        return body


@pytest.mark.parametrize("call_id", ["same", "", None])
@pytest.mark.parametrize("texts", [("a", "b", "c"), ("a", "a", "a"), ("a", "b", "a")])
async def test_calls_with_odd_ids_are_each_made_and_kept_apart(workshop, call_id, texts):
    await workshop.declare("send", default_tier="auto")
    await openai_agent(workshop, "send", "wait")
    calls = tuple(("send", {"to": "bob", "text": text}) for text in texts)
    run = await make_run(workshop)
    workshop.toolbox.gate = asyncio.Event()
    with OddIds(
        call_id, Says("", calls), Says("", calls), Says("", (("wait", {}),)), Says("Done.")
    ) as server:
        service = workshop.service(models=on(server))
        first = asyncio.create_task(service.execute_run(run))

        async def there():
            return ("wait", None) in workshop.toolbox.calls

        await until(there)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert workshop.toolbox.calls.count(("send", "bob")) == 6
        workshop.toolbox.gate.set()
        outcome = await service.execute_run(run)

    assert outcome.content == "Done."
    assert workshop.toolbox.calls.count(("send", "bob")) == 6
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    kept = [
        (s["model_step"], s["call_index"], s["request"]["arguments"]["text"])
        for s in steps
        if s["name"] == "send"
    ]
    assert kept == [(n, i, text) for n in (1, 2) for i, text in enumerate(texts)]


def direct(context) -> Any:
    @tool(return_direct=True)
    async def direct(query: str, state: Annotated[dict, InjectedState]) -> str:
        """Answer at once, in the place of the model."""
        return f"{query}: {len(state['messages'])} messages"

    return direct


async def with_direct(workshop, *replies):
    await declare(workshop, "direct")
    await openai_agent(workshop, "direct", "look")
    registry = workshop.toolbox.registry()
    registry.register("direct", direct)
    server = OpenAIServer(*replies)
    return server, workshop.service(models=on(server), registry=registry)


async def test_tool_that_answers_itself_ends_the_run(workshop):
    server, service = await with_direct(workshop, Says("", (("direct", {"query": "a"}),)))
    with server:
        outcome = await service.execute(await workshop.schedule())
    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "a: 2 messages")


@pytest.mark.parametrize("last", ["look", "direct"])
async def test_tool_that_answers_itself_beside_another_one_does_not(workshop, last):
    """The model is asked to go on: the other tool's answer is not for the owner."""
    calls = [("direct", {"query": "a"}), ("look", {"query": "b"})]
    if last == "direct":
        calls.reverse()
    server, service = await with_direct(workshop, Says("", tuple(calls)), Says("Both."))
    with server:
        outcome = await service.execute(await workshop.schedule())
    assert outcome.content == "Both."


async def test_tool_that_answers_itself_may_do_so_in_a_later_attempt(workshop):
    await workshop.declare("wait", default_tier="auto")
    await declare(workshop, "direct")
    await openai_agent(workshop, "wait", "direct")
    registry = workshop.toolbox.registry()
    registry.register("direct", direct)
    workshop.toolbox.gate = asyncio.Event()
    run = await make_run(workshop)
    replies = Says("", (("direct", {"query": "a"}), ("wait", {}))), Says("Both.")
    with OpenAIServer(*replies) as server:
        service = workshop.service(models=on(server), registry=registry)
        first = asyncio.create_task(service.execute_run(run))

        async def there():
            return workshop.toolbox.calls

        await until(there)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        workshop.toolbox.gate.set()
        assert (await service.execute_run(run)).content == "Both."


# Later attempts with other tools


async def handed_over(workshop, service, run):
    workshop.toolbox.gate = asyncio.Event()
    first = asyncio.create_task(service.execute_run(run))

    async def there():
        return ("wait", None) in workshop.toolbox.calls

    await until(there)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    workshop.toolbox.gate.set()


async def test_tool_that_came_to_the_agent_meanwhile_may_be_used(workshop):
    await openai_agent(workshop, "wait")
    run = await make_run(workshop)
    replies = Says("", (("wait", {}),)), Says("", (("look", {"query": "a"}),)), Says("Done.")
    with OpenAIServer(*replies) as server:
        service = workshop.service(models=on(server))
        await handed_over(workshop, service, run)
        await workshop.owner.execute(
            "INSERT INTO agent_tools (agent_id, tool_id, position)"
            " SELECT a.id, t.id, 1 FROM agent_configurations AS a, tools AS t WHERE t.name = 'look'"
        )
        outcome = await service.execute_run(run)

        assert [len(r.body["tools"]) for r in server.requests] == [1, 2, 2]
    assert outcome.content == "Done."
    assert ("look", "a") in workshop.toolbox.calls


async def test_stricter_tier_holds_what_comes_and_leaves_what_was(workshop):
    await workshop.declare("send", default_tier="auto")
    await openai_agent(workshop, "send", "wait")
    run = await make_run(workshop)
    send = ("send", {"to": "bob"})
    with OpenAIServer(
        Says("", (send,)), Says("", (("wait", {}),)), Says("", (send,)), Says("Done.")
    ) as server:
        service = workshop.service(models=on(server))
        await handed_over(workshop, service, run)
        await workshop.declare("send", default_tier="requires_approval")
        outcome = await service.execute_run(run)

    assert workshop.toolbox.calls.count(("send", "bob")) == 1
    assert outcome.pending_actions_created == 1


@pytest.mark.parametrize("asked_before", [False, True])
async def test_call_that_waits_for_a_yes_is_not_unknown_after_a_crash(workshop, asked_before):
    """It never ran: the worker died as it wrote the request down, or just after."""
    await openai_agent(workshop, "send")
    run = await make_run(workshop)
    send = Says("", (("send", {"to": "bob"}),))
    with OpenAIServer(send, Says("Done."), Says("Done.")) as server:
        service = workshop.service(models=on(server))
        await service.execute_run(run)
        await workshop.owner.execute("DELETE FROM agent_execution_results")
        await workshop.owner.execute("ALTER TABLE agent_runs DISABLE TRIGGER refuse_transition")
        await workshop.owner.execute("UPDATE agent_runs SET status = 'running'")
        await workshop.owner.execute("DELETE FROM agent_run_steps WHERE model_step > 1")
        await workshop.owner.execute(
            "UPDATE agent_run_steps SET status = 'started', response = NULL, finished_at = NULL"
            " WHERE call_index = 0"
        )
        if not asked_before:
            await workshop.owner.execute("DELETE FROM pending_actions")
        outcome = await service.execute_run(run)

        told = json.dumps(server.requests[-1].body["messages"])
    assert "needs the owner's approval" in told
    assert "unknown" not in told
    assert outcome.pending_actions_created == 1
    assert workshop.toolbox.calls == []


async def test_call_that_ran_is_unknown_though_it_would_wait_for_a_yes_now(workshop):
    """A stricter tier since then says nothing of what was begun before."""
    await workshop.declare("wait", read_only=False, idempotent=False)
    await openai_agent(workshop, "wait")
    run = await make_run(workshop)
    with OpenAIServer(Says("", (("wait", {}),)), Says("Done.")) as server:
        service = workshop.service(models=on(server))
        await handed_over(workshop, service, run)
        await workshop.declare("wait", default_tier="requires_approval")
        outcome = await service.execute_run(run)

        told = json.dumps(server.requests[-1].body["messages"])
    assert "Whether it took effect is unknown" in told
    assert outcome.pending_actions_created == 0


async def test_nothing_of_a_run_is_kept_in_memory(workshop):
    own = GraphContext | Journal | WriteBuffer
    gc.collect()
    others = [o for o in gc.get_objects() if isinstance(o, own)]  # of tests before this one
    await openai_agent(workshop, "look")
    with OpenAIServer(*[Says("", (("look", {}),)), Says("Done.")] * 5) as server:
        service = workshop.service(models=on(server))
        for _ in range(5):
            await service.execute_run(await make_run(workshop))
    for _ in range(300):  # asyncio forgets cancelled timers once there are many
        asyncio.get_running_loop().call_later(60, print).cancel()
    known = {id(o) for o in others}

    def kept():
        gc.collect()
        found = gc.get_objects()
        return [type(o).__name__ for o in found if isinstance(o, own) and id(o) not in known]

    for _ in range(100):  # what is under way, of connections and the like, ends by and by
        if not kept():
            break
        await asyncio.sleep(0.1)
    assert kept() == []


async def test_run_that_was_claimed_in_vain_by_a_cancelled_caller_is_claimed_by_the_next(workshop):
    """Both ask in the same batch: the one that is still there gets it."""
    await workshop.agent({"steps": [], "answer": "Done."})
    service = workshop.service()
    run = await make_run(workshop)
    gone = asyncio.create_task(service.take(run.id))
    await asyncio.sleep(0)
    gone.cancel()
    taken = await service.take(run.id)
    await asyncio.gather(gone, return_exceptions=True)

    assert taken is not None
    async with workshop.database.connection() as conn:
        assert (await fetch_run(conn, run.id)).attempt == 1
