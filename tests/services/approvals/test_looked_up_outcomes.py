"""Calls that a tool fills in before they are judged, and outcomes that it looks up afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.context import ToolRegistry
from rota.domain.approvals.actions import OutcomeUnknownError
from rota.security.gate.hooks import CallHooks, HookedTool, call_identity
from tests.services.deciding import desk_of, send


@dataclass
class Post:
    """A post office: letters by the identity of the call, and whether it can say what it took."""

    letters: list[tuple[str, str]] = field(default_factory=list)
    is_silent: bool = False
    remembers: bool = True
    asked: list[str] = field(default_factory=list)

    def registry(self) -> ToolRegistry:
        async def post(to: str, text: str = "", stamp: str = "") -> str:
            self.letters.append((call_identity(), f"{to}: {text} {stamp}"))
            if self.is_silent:
                raise OutcomeUnknownError("The post office fell silent.", service="post")
            return "posted"

        async def fill_in(arguments: Any) -> Any:
            if arguments["to"] == "nobody":
                raise ToolException("There is no such address.")
            return {"stamp": "first class"}

        async def look_up(identity: str, arguments: Any) -> str | None:
            self.asked.append(f"{identity} {arguments['to']}")
            known = {letter[0] for letter in self.letters}
            return "posted, as its book says" if self.remembers and identity in known else None

        tool = HookedTool.from_function(
            coroutine=post, name="send", description="Post.", hooks=CallHooks(fill_in, look_up)
        )
        return ToolRegistry({"send": lambda _context: tool})


@pytest.fixture
def post():
    return Post()


@pytest.fixture
def desk(workshop, post):
    made = desk_of(workshop, registry=post.registry())
    made.tools = ("send",)
    return made


async def asked_what_happened(desk):
    rows = await desk.workshop.rows("notifications")
    return [row["title"] for row in rows if row["title"].startswith("Did ")]


@pytest.mark.parametrize("mode", ["queue", "suspend"])
async def test_what_is_filled_in_is_shown_approved_and_run(desk, post, mode):
    run_id = await desk.run(send("bob"), mode=mode)

    action = await desk.action()
    assert action["arguments"] == {"to": "bob", "text": "", "stamp": "first class"}
    await desk.approve()
    await desk.work()

    assert post.letters == [(str(action["id"]), "bob:  first class")]
    assert (await desk.action())["status"] == "succeeded"
    if mode == "suspend":
        assert (await desk.result(run_id))["result_content"] == "posted"


async def test_an_owners_edit_is_not_filled_in_again(desk, post):
    await desk.run(send("bob"))
    await desk.edit({"to": "bob", "text": "", "stamp": "second class"}, approve=True)
    await desk.work()

    assert [letter for _, letter in post.letters] == ["bob:  second class"]


async def test_a_call_that_could_not_run_asks_nobody(desk, post):
    run_id = await desk.run(send("nobody"))

    assert await desk.actions() == []
    said = (await desk.result(run_id))["result_content"]
    assert said == "There is no such address. It did not run."
    assert ("refused", "not_run") in await desk.decisions()


@pytest.mark.parametrize("mode", ["queue", "suspend"])
async def test_an_outcome_that_is_found_is_the_calls_result(desk, post, mode):
    post.is_silent = True
    run_id = await desk.run(send("bob"), mode=mode)
    await desk.approve()
    await desk.work()

    action = await desk.action()
    assert (action["status"], action["result"]) == ("succeeded", "posted, as its book says")
    assert post.asked == [f"{action['id']} bob"]
    assert len(post.letters) == 1
    assert await asked_what_happened(desk) == []
    if mode == "suspend":
        assert (await desk.result(run_id))["result_content"] == "posted, as its book says"


async def test_an_outcome_that_is_not_found_is_asked_for(desk, post):
    post.is_silent, post.remembers = True, False
    await desk.run(send("bob"))
    await desk.approve()
    await desk.work()

    assert (await desk.action())["status"] == "unknown"
    assert await asked_what_happened(desk) == ["Did send take effect?"]


async def test_what_is_to_run_once_more_is_looked_up_first(desk, post):
    post.is_silent, post.remembers = True, False
    await desk.run(send("bob"))
    await desk.approve()
    await desk.work()
    post.is_silent, post.remembers = False, True

    await desk.settle("again")
    await desk.work()

    action = await desk.action()
    assert (action["status"], action["result"]) == ("succeeded", "posted, as its book says")
    assert len(post.letters) == 1


async def test_what_is_not_found_runs_once_more_under_the_same_identity(desk, post):
    post.is_silent, post.remembers = True, False
    await desk.run(send("bob"))
    await desk.approve()
    await desk.work()
    post.is_silent = False

    await desk.settle("again")
    await desk.work()

    action = await desk.action()
    assert (action["status"], action["result"]) == ("succeeded", "posted")
    assert [identity for identity, _ in post.letters] == [str(action["id"])] * 2


async def test_a_call_that_nobody_is_asked_about_is_looked_up_too(desk, post):
    await desk.workshop.declare("send", default_tier="auto")
    post.is_silent = True
    run_id = await desk.run(send("bob"))

    assert (await desk.result(run_id))["result_content"] == "posted, as its book says"
    assert post.asked == [f"{run_id}/1.0 bob"]
    post.remembers = False
    other = await desk.run(send("ann"))
    said = (await desk.result(other))["result_content"]
    assert said == (
        "The post office fell silent. Do not call it again; report that its outcome is unknown."
    )
    assert ("allowed", "unknown") in await desk.decisions()
