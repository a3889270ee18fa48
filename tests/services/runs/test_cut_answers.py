"""Half a call never runs, and is never asked for: answers that were cut, streams that broke off."""

from __future__ import annotations

import pytest

from rota.domain.runs.run import ResultStatus
from tests.loopback.model_server import Says
from tests.services.asking import ask, every_api, streamed_or_not, told

DONE = Says("Done.")
HALF = '{"to": "bob@example.com", "text": "delete /srv/build/cac'
WHOLE = '{"to": "bob@example.com", "text": "all"}'


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr("rota.agents.graph.executor.random.random", lambda: 0.0)


def half(api, stream):
    """Arguments as a client gets them from a cut answer: Anthropic's own server parses them."""
    return HALF if api != "anthropic" or stream else {"to": "bob@example.com", "text": "delete"}


async def nothing_happened(workshop):
    assert workshop.toolbox.calls == []
    assert await workshop.rows("pending_actions") == []
    assert await workshop.rows("audit_logs") == []


@every_api
@streamed_or_not
async def test_no_call_of_an_answer_that_the_output_limit_cut_runs(workshop, api, stream):
    """Not even those before the cut; the model is told, and a later attempt replays that."""
    calls = (("look", {"query": "x"}), ("send", half(api, stream)))

    asked = await ask(workshop, api, Says("I write.", calls, cut=True), DONE, stream=stream)

    await nothing_happened(workshop)
    assert asked.outcome.status is ResultStatus.SUCCESS
    assert asked.outcome.content == "Done."
    for name in ("look", "send"):
        assert f"{name} was not run: your answer reached its output" in told(asked.requests[1])
    steps = await workshop.rows("agent_run_steps", order="model_step, call_index")
    assert [step["kind"] for step in steps] == ["model", "model"]
    assert [m["type"] for m in steps[0]["response"]] == ["ai", "tool", "tool"]


@every_api
async def test_cut_call_in_the_middle_of_a_run_that_goes_on(workshop, api):
    await workshop.declare("send", default_tier="auto")
    look = Says("", (("look", {"query": "x"}),))
    cut = Says("", (("send", half(api, stream=True)),), cut=True)
    send = Says("", (("send", {"to": "bob"}),))

    asked = await ask(workshop, api, look, cut, send, DONE, stream=True)

    assert workshop.toolbox.calls == [("look", "x"), ("send", "bob")]
    assert asked.outcome.content == "Done."


@every_api
@pytest.mark.parametrize("arguments", [HALF, WHOLE])
async def test_stream_that_breaks_off_in_a_call_is_tried_again(workshop, api, arguments):
    await workshop.declare("send", default_tier="auto")
    broken = Says("I write.", (("look", {"query": "x"}), ("send", arguments)), ends=False)

    asked = await ask(workshop, api, broken, DONE, stream=True, retries=1)

    await nothing_happened(workshop)
    assert asked.outcome.content == "Done."
    assert asked.requests[0].body == asked.requests[1].body
    ((model,),) = [r["attempts"] for r in await workshop.rows("agent_run_steps")]
    assert model["kind"] == "unavailable"
    assert "ended without a finish reason" in model["message"]


@every_api
async def test_streams_that_always_break_off_are_a_passing_failure(workshop, api):
    broken = Says("I write.", (("send", HALF),), ends=False)

    asked = await ask(workshop, api, broken, broken, stream=True, retries=1)

    await nothing_happened(workshop)
    assert asked.outcome.status is ResultStatus.ERROR
    assert asked.outcome.metadata["error_kind"] == "unavailable"


@every_api
async def test_final_text_without_a_finish_reason_is_kept(workshop, api):
    asked = await ask(workshop, api, Says("All is well.", ends=False), stream=True)

    assert asked.outcome.status is ResultStatus.SUCCESS
    assert asked.outcome.content == "All is well."


@every_api
async def test_stream_that_breaks_off_before_a_word_is_tried_again(workshop, api):
    asked = await ask(workshop, api, Says("", ends=False), DONE, stream=True, retries=1)

    assert asked.outcome.content == "Done."
    assert len(asked.requests) == 2


@every_api
@pytest.mark.parametrize("arguments", [HALF, '{"to": "bob"'])
async def test_half_a_call_with_the_finish_reason_of_a_whole_one(workshop, api, arguments):
    """So vLLM ends streams that its output limit cut, and a proxy that loses a chunk."""
    await workshop.declare("send", default_tier="auto")
    calls = (("look", {"query": "x"}), ("send", arguments))

    asked = await ask(workshop, api, Says("", calls), DONE, stream=True)

    assert workshop.toolbox.calls == [("look", "x")]
    assert await workshop.rows("pending_actions") == []
    assert "send was not run: the arguments that you wrote" in told(asked.requests[1])


@every_api
@streamed_or_not
async def test_whole_calls_run_as_ever(workshop, api, stream):
    await workshop.declare("send", default_tier="auto")
    calls = (("look", {}), ("send", {"to": "bob", "text": 'a "quoted" {text}\n'}))

    asked = await ask(workshop, api, Says("", calls), DONE, stream=stream)

    assert sorted(workshop.toolbox.calls) == [("look", ""), ("send", "bob")]
    assert asked.outcome.content == "Done."


async def test_finish_reason_that_comes_twice(workshop):
    """LangChain joins what a server sends with each of its last chunks."""
    cut = Says("", (("send", HALF),), finish="lengthlength")

    asked = await ask(workshop, "chat", cut, DONE, stream=True)

    await nothing_happened(workshop)
    assert "reached its output limit" in told(asked.requests[1])
