"""Answers that are no answer: none of them is a success without a word.

The files beside (`model_answers`) are lists of turns of a chat-completions server.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rota.domain.runs.run import ResultStatus
from tests.loopback.model_server import Fails, Raw, Says
from tests.services.asking import ask, every_api, streamed_or_not, told

DONE = Says("Done.")
TURNS = Path(__file__).parent / "model_answers"
RETRIED = ("choicesnull", "emptybody", "nochoices")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr("rota.agents.graph.executor.random.random", lambda: 0.0)


def turns(name):
    """Return the replies of a file, each as the body that a server of chat completions sends."""
    return [_raw(turn) for turn in json.loads((TURNS / f"{name}.json").read_text())]


def _raw(turn):
    if "raw" in turn:
        return Raw(turn["raw"])
    choice = {"index": 0, "message": {"role": "assistant", **turn.get("message", {})}}
    choice["finish_reason"] = turn.get("finish_reason", "stop")
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini",
        "choices": turn.get("choices", [choice]),
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
    return Raw(json.dumps(turn.get("body", body)))


def looking_for_mail(name):
    """Return a file's replies, its calls made to the tool of these tests."""
    return [Raw(reply.body.replace("mail_search", "look")) for reply in turns(name)]


async def attempts(workshop):
    steps = await workshop.rows("agent_run_steps", order="model_step, call_index")
    return [attempt for step in steps for attempt in step["attempts"]]


# Calls that cannot be read


async def test_badjson_goes_back_to_the_model(workshop):
    asked = await ask(workshop, "chat", *looking_for_mail("badjson"))

    assert workshop.toolbox.calls == []
    assert (asked.outcome.status, asked.outcome.content) == (
        ResultStatus.SUCCESS,
        "never asked for",
    )
    assert "look was not run: the arguments that you wrote" in told(asked.requests[1])
    assert "cut" in told(asked.requests[1])


async def test_twice_is_read(workshop):
    asked = await ask(workshop, "chat", *looking_for_mail("twice"), DONE)

    assert workshop.toolbox.calls == [("look", "x")]
    assert (asked.outcome.status, asked.outcome.content) == (ResultStatus.SUCCESS, "Done.")


async def test_twice_is_read_from_a_stream(workshop):
    twice = Says("", (("look", json.dumps('{"query": "x"}')), ("look", json.dumps('{"query": "'))))

    asked = await ask(workshop, "chat", twice, DONE, stream=True)

    assert workshop.toolbox.calls == [("look", "x")]
    assert "look was not run: the arguments that you wrote" in told(asked.requests[1])


@every_api
@streamed_or_not
@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # Anthropic's own server sends none
@pytest.mark.parametrize("arguments", ['"x"', '["x"]'])
async def test_arguments_that_are_no_object_go_back_to_the_model(workshop, api, stream, arguments):
    calls = (("look", arguments),)

    asked = await ask(workshop, api, Says("", calls), DONE, stream=stream)

    assert workshop.toolbox.calls == []
    assert (asked.outcome.status, asked.outcome.content) == (ResultStatus.SUCCESS, "Done.")
    assert "JSON object" in told(asked.requests[1])


# Refusals and filters


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("filter", "A content filter stopped the answer."),
        ("filterpart", "A content filter stopped the answer: half of."),
        ("refusal", "The model refused to answer: I cannot help with that."),
    ],
)
async def test_refusals_and_filters_are_errors_that_keep_the_text(workshop, name, content):
    asked = await ask(workshop, "chat", *turns(name), retries=3)

    assert asked.outcome.status is ResultStatus.ERROR
    assert asked.outcome.metadata["error_kind"] == "policy"
    assert asked.outcome.content == f"{content} Tried: 1 attempt of openai:gpt-4o-mini."
    assert len(asked.requests) == 1
    (notification,) = await workshop.rows("notifications")
    assert (notification["category"], notification["title"]) == ("error", "morning failed")


@pytest.mark.parametrize("name", ["filter", "filterpart", "refusal"])
async def test_refusals_and_filters_pause_a_schedule_as_other_errors_do(workshop, name):
    await ask(workshop, "chat", *turns(name), schedule={"pause_after_failures": 1})

    assert (await workshop.row("agent_schedules"))["is_active"] is False


WITHHELD = {
    "chat": Says("I will not.", finish="content_filter"),
    "responses": Says("I will not.", finish="content_filter"),
    "anthropic": Says("I will not.", finish="refusal"),
}


@every_api
@streamed_or_not
async def test_withheld_answer_is_asked_of_the_fallback(workshop, api, stream):
    other = "anthropic:claude-opus-5" if api == "anthropic" else "openai:gpt-4o"

    asked = await ask(
        workshop, api, WITHHELD[api], Says("I can."), stream=stream, fallback=other, retries=3
    )

    assert asked.outcome.content == "I can."
    assert [f"{other.partition(':')[0]}:{r.body['model']}" for r in asked.requests][1:] == [other]
    (attempt,) = await attempts(workshop)
    assert (attempt["kind"], attempt["waited"]) == ("policy", None)
    assert "I will not" in attempt["message"]


@streamed_or_not
async def test_refusal_beside_the_text_is_no_empty_answer(workshop, stream):
    asked = await ask(workshop, "chat", Says(refusal="I cannot help with that."), stream=stream)

    assert asked.outcome.metadata["error_kind"] == "policy"
    assert "The model refused to answer: I cannot help with that." in asked.outcome.content


@streamed_or_not
async def test_refusal_of_the_responses_api_is_told_apart_from_its_text(workshop, stream):
    refusal = {"type": "refusal", "refusal": "I cannot help with that."}
    item = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [refusal],
    }
    asked = await ask(workshop, "responses", Says(blocks=(item,)), stream=stream)

    assert asked.outcome.metadata["error_kind"] == "policy"
    assert "I cannot help with that" in asked.outcome.content


async def test_long_text_before_a_filter_is_kept_whole(workshop):
    text = "word " * 1_000
    asked = await ask(workshop, "chat", Says(text, finish="content_filter"))

    assert text.strip() in asked.outcome.content


@every_api
@streamed_or_not
async def test_calls_beside_a_refusal_never_run(workshop, api, stream):
    finish = WITHHELD[api].finish
    asked = await ask(
        workshop,
        api,
        Says("", (("look", {}), ("send", {"to": "bob"})), finish=finish),
        stream=stream,
    )

    assert workshop.toolbox.calls == []
    assert await workshop.rows("pending_actions") == []
    assert asked.outcome.metadata["error_kind"] == "policy"


# Empty answers


async def test_space_is_partial_and_says_so(workshop):
    asked = await ask(workshop, "chat", *turns("space"))

    assert asked.outcome.status is ResultStatus.PARTIAL
    assert asked.outcome.content == "The agent's last answer is empty, and it said nothing before."
    assert asked.outcome.content in (await workshop.row("notifications"))["body"]


@every_api
@streamed_or_not
@pytest.mark.parametrize("text", ["", "\u200b\n"])
async def test_empty_answer_is_partial_and_says_so(workshop, api, stream, text):
    asked = await ask(workshop, api, Says(text), stream=stream)

    assert asked.outcome.status is ResultStatus.PARTIAL
    assert "empty" in asked.outcome.content


async def test_textempty_falls_back_to_the_text_beside_the_call(workshop):
    asked = await ask(workshop, "chat", *looking_for_mail("textempty"))

    assert workshop.toolbox.calls == [("look", "")]
    assert asked.outcome.status is ResultStatus.SUCCESS
    assert asked.outcome.content == "The report: two mails need an answer."
    (warning,) = asked.outcome.metadata["warnings"]
    assert "last answer is empty" in warning


@every_api
@streamed_or_not
async def test_empty_answer_after_calls_without_a_text(workshop, api, stream):
    """No note on the call is taken for what the agent said."""
    asked = await ask(workshop, api, Says("", (("look", {}),)), Says(""), stream=stream)

    assert asked.outcome.status is ResultStatus.PARTIAL
    assert "look" not in asked.outcome.content


# Bodies and chunks that are no answer


@pytest.mark.parametrize("name", RETRIED)
async def test_malformed_bodies_are_tried_again_and_then_the_fallback_is_asked(workshop, name):
    asked = await ask(workshop, "chat", *turns(name) * 2, DONE, retries=1, fallback="openai:gpt-4o")

    assert asked.outcome.content == "Done."
    assert [r.body["model"] for r in asked.requests] == ["gpt-4o-mini", "gpt-4o-mini", "gpt-4o"]
    kinds = [attempt["kind"] for attempt in await attempts(workshop)]
    assert kinds == ["rate_limit" if name == "choicesnull" else "unavailable"] * 2


@every_api
@streamed_or_not
async def test_answer_that_says_it_failed_is_tried_again(workshop, api, stream):
    if api == "responses":
        pytest.skip("its clients raise an error of their own")
    failed = Says("Half an ans", finish="error")
    asked = await ask(workshop, api, failed, DONE, stream=stream, retries=1)

    assert asked.outcome.content == "Done."


async def test_stream_whose_call_got_lost_is_tried_again(workshop):
    """LangChain leaves calls out that come without their index."""
    asked = await ask(
        workshop, "chat", Says("Let me look.", finish="tool_calls"), DONE, stream=True, retries=1
    )

    assert asked.outcome.content == "Done."


async def test_wrong_address_is_named(workshop):
    asked = await ask(workshop, "chat", Fails(404, "not_found_error", "Not Found"))

    assert "It was asked for at http://127.0.0.1:" in asked.outcome.content
    assert "/v1/chat/completions." in asked.outcome.content


# What the trace and the limits have of an answer


@every_api
@streamed_or_not
@pytest.mark.parametrize("tokens", [(0, 7), (0, 0)])
async def test_tokens_told_as_zero_are_estimated(workshop, api, stream, tokens):
    asked = await ask(
        workshop,
        api,
        Says("All is well.", input_tokens=tokens[0], output_tokens=tokens[1]),
        stream=stream,
    )

    usage = (await workshop.row("agent_run_steps"))["usage"]
    assert usage["estimated"] is True
    assert all(usage[f"{way}_tokens"] > 0 for way in ("input", "output"))
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    told = {"input_tokens": tokens[0], "output_tokens": tokens[1]}
    assert {name: count for name, count in told.items() if count}.items() <= usage.items()
    assert asked.outcome.metadata["tokens"]["input"] > 0


async def test_tokens_that_are_told_are_believed(workshop):
    await ask(workshop, "anthropic", Says("All is well."), stream=True)

    usage = (await workshop.row("agent_run_steps"))["usage"]
    assert "estimated" not in usage
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)


@every_api
async def test_note_of_a_call_is_not_taken_for_the_agents_account_of_it(workshop, api):
    await ask(workshop, api, Says("", (("send", {"to": "bob"}),)), DONE)

    assert not (await workshop.row("pending_actions"))["account"]


@pytest.mark.parametrize("last", [DONE, Says("I will not.", finish="content_filter")])
async def test_answers_that_could_not_be_used_are_paid_for_all_the_same(workshop, last):
    """In what the run used, what its day did, and what its limit in tokens leaves."""
    broken = Says("Half an ans", finish="error")

    asked = await ask(workshop, "chat", broken, broken, last, retries=2)

    step = await workshop.row("agent_run_steps")
    used = step["usage"]
    assert (used["input_tokens"], used["output_tokens"]) == (33, 21)
    assert asked.outcome.metadata["tokens"] == {"input": 33, "output": 21}
    days = await workshop.rows("usage_days")
    assert {(day["input_tokens"], day["output_tokens"]) for day in days} == {(33, 21)}
