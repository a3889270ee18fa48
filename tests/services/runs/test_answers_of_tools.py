"""What a model is sent of the answers of tools: what its provider takes, and not too much."""

from __future__ import annotations

import base64
import copy
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException, tool
from langgraph.types import Command

from rota.agents.models.building import ChatModels
from rota.agents.models.tool_answers import LONGEST_TOLD, NOTHING, cut_answer
from rota.agents.tools.context import ToolRegistry
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import Fails, Says
from tests.loopback.openai import OpenAIServer
from tests.services.deciding import desk_of
from tests.services.running import make_run

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
CSV = base64.b64encode("name,däys\nann,3\n".encode()).decode()


def _refused(messages) -> str | None:
    """Say what a strict provider refuses of answers of tools."""
    for message in messages:
        is_answer = message.get("role") == "tool" or message.get("type") == "function_call_output"
        if is_answer and not isinstance(message.get("content", message.get("output")), str):
            return "an answer of a tool is not a text"
        for block in message["content"] if isinstance(message.get("content"), list) else ():
            if block.get("type") != "tool_result" or isinstance(block["content"], str):
                continue
            for part in block["content"]:
                if part["type"] == "text" and part["text"].strip():
                    continue
                if part["type"] != "image" or part["source"]["type"] != "base64":
                    return f"a block that is not taken: {part['type']}"
    return None


def strict(server_class, *, same_ids=False):
    """Return a server that refuses what strict providers do, and gives all calls one id."""
    ids = re.compile(r"(?<=\")(call|toolu)_\d+_\d+")

    def named(value):
        return json.loads(ids.sub("call_same", json.dumps(value))) if same_ids else value

    class Strict(server_class):
        def next_reply(self, request):
            sent = request.body.get("messages") or request.body["input"]
            refused = _refused(sent) or _twice(sent)
            return (
                Fails(400, "invalid_request_error", refused)
                if refused
                else super().next_reply(request)
            )

        def answer(self, request, reply):
            return named(super().answer(request, reply))

        def events(self, request, reply):
            for name, event in super().events(request, reply):
                yield name, named(event)

    return Strict


def _twice(messages) -> str | None:
    called, answered = [], []
    for message in messages:
        called += [call["id"] for call in message.get("tool_calls") or ()]
        blocks = message["content"] if isinstance(message.get("content"), list) else ()
        called += [block["id"] for block in blocks if block.get("type") == "tool_use"]
        answered += [b["tool_use_id"] for b in blocks if b.get("type") == "tool_result"]
        if message.get("type") == "function_call":
            called.append(message["call_id"])
        answered += [message[k] for k in ("tool_call_id",) if k in message]
        if message.get("type") == "function_call_output":
            answered.append(message["call_id"])
    if len(set(called)) < len(called):
        return "tool call ids must be unique"
    return None if called == answered else f"unanswered calls: {called}, {answered}"


APIS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "chat": ("openai:gpt-4o-mini", {}, OpenAIServer),
    "responses": ("openai:gpt-4o-mini", {"use_responses_api": True}, OpenAIServer),
    "anthropic": ("anthropic:claude-sonnet-5", {}, AnthropicServer),
}
every_api = pytest.mark.parametrize("api", APIS)


async def answered(workshop, api, give, *, calls=1, same_ids=False, stream=False, **options):
    """Run an agent whose tool gives this; returns its result and what the model was asked last."""

    @tool(**options)
    async def fetch(number: int = 0) -> Any:
        """Fetch something."""
        return give() if callable(give) else give

    await workshop.owner.execute(
        "INSERT INTO tools (name, default_tier, risk, read_only, brings_outside_text)"
        " VALUES ('fetch', 'auto', 'low', true, false)"
    )
    spec, settings, server_class = APIS[api]
    await workshop.agent(
        model=spec,
        model_settings={"endpoint": "local", "max_retries": 0, "stream": stream, **settings},
        tools=["fetch"],
    )
    registry = workshop.toolbox.registry()
    registry.register("fetch", lambda _context: fetch)
    asked = tuple(("fetch", {"number": 7}) for _ in range(calls))
    replies = [Says("", asked), Says("", asked), Says("Done.")]
    with strict(server_class, same_ids=same_ids)(*replies) as server:
        service = workshop.service(
            models=ChatModels(endpoints={"local": server.url}), registry=registry
        )
        outcome = await service.execute_run(await make_run(workshop))
    assert (outcome.status.value, outcome.content) == ("success", "Done.")
    return server.requests[-1].body


def told(body) -> str:
    """Return the answers of tools that a model was sent, as one text."""
    messages = body.get("messages") or body["input"]
    return json.dumps(
        [m for m in messages if "tool_result" in str(m) or "call_id" in m or "tool_call_id" in m],
        ensure_ascii=False,
    )


ANSWERS = {
    "resource link": (
        [{"type": "file", "url": "docs://guide/1", "mime_type": "text/markdown"}],
        "[file] (text/markdown, docs://guide/1)",
    ),
    "link to an image": (
        [{"type": "image", "url": "https://x.example/a.png"}],
        "[image: https://x.example/a.png]",
    ),
    "image of no known kind": (
        [{"type": "image", "base64": "AAAA", "mime_type": "image/tiff"}],
        "[image] (image/tiff, 4 characters of base64)",
    ),
    "image that is not what it says": (
        [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}],
        "[image] (image/png",
    ),
    "file": (
        [{"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf"}],
        "[file] (application/pdf, 8 characters of base64)",
    ),
    "file of text": ([{"type": "file", "base64": CSV, "mime_type": "text/csv"}], "däys"),
    "json": ([{"type": "json", "json": {"degrees": 7}}], '{\\"degrees\\": 7}'),
    "texts": (
        [{"type": "text", "text": "one", "id": "lc_1"}, {"type": "text", "text": "two"}],
        "one\\n\\ntwo",
    ),
    "text and an unknown kind": (
        [{"type": "text", "text": "one"}, {"type": "text", "text": ""}],
        "one",
    ),
    "nothing": ("", NOTHING),
    "no blocks": ([], NOTHING),
    "blank": ([{"type": "text", "text": " "}], NOTHING),
    "none": (None, "null"),
    "a dict": ({"degrees": 7}, '{\\"degrees\\": 7}'),
}


@every_api
@pytest.mark.parametrize("kind", ANSWERS)
async def test_answer_that_a_provider_may_not_take_becomes_text(workshop, api, kind):
    given, expected = ANSWERS[kind]
    assert expected in told(await answered(workshop, api, given))


@every_api
async def test_image_is_sent_to_those_that_take_it_and_else_named(workshop, api):
    given = [
        {"type": "text", "text": "The chart:"},
        {"type": "image", "base64": PNG, "mime_type": "image/png"},
        {"type": "file", "url": "file:///srv/a.txt"},
    ]
    said = told(await answered(workshop, api, given))

    assert "The chart:" in said
    assert "(file:///srv/a.txt)" in said
    assert (PNG in said) == (api == "anthropic")
    assert ("[image] (image/png" in said) == (api != "anthropic")
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    kept = [s["response"]["data"]["content"] for s in steps if s["kind"] == "tool"]
    assert kept == [given, given]  # the journal has it as it was


@every_api
async def test_answer_as_a_message_is_that_of_its_call_and_becomes_text(workshop, api):
    def give():
        blocks = [{"type": "file", "url": "docs://1"}]
        return ToolMessage(blocks, tool_call_id="made up")

    said = told(await answered(workshop, api, give))
    assert "docs://1" in said


@every_api
async def test_huge_answer_is_cut_with_a_note_and_kept_whole(workshop, api):
    huge = "ä" * 5_000_000
    said = told(await answered(workshop, api, huge))

    assert said.count("ä") == 2 * LONGEST_TOLD
    assert "the tool answered with 5,000,000 characters" in said
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert {s["response"]["data"]["content"] for s in steps if s["kind"] == "tool"} == {huge}


async def test_scripted_model_gets_an_answer_whole(workshop):
    """It reads JSON, which a cut would break; and pays no tokens."""

    @tool
    async def fetch() -> str:
        """Fetch something."""
        return json.dumps(["x"] * LONGEST_TOLD)

    await workshop.owner.execute(
        "INSERT INTO tools (name, default_tier, risk, read_only, brings_outside_text)"
        " VALUES ('fetch', 'auto', 'low', true, false)"
    )
    script = {"steps": [{"calls": [{"tool": "fetch"}]}], "answer": "{{ results[0] | length }}"}
    await workshop.agent(script, tools=["fetch"])
    registry = workshop.toolbox.registry()
    registry.register("fetch", lambda _context: fetch)
    outcome = await workshop.service(registry=registry).execute_run(await make_run(workshop))

    assert outcome.content == str(LONGEST_TOLD)  # items


def test_blocks_are_cut_as_one_text():
    blocks = [{"type": "text", "text": "ab"}, {"type": "text", "text": "cd"}]
    message = cut_answer(ToolMessage(blocks, tool_call_id="1"), 4)

    assert message.content.startswith("ab\n\n\n\n[Cut: the tool answered with 6 characters")
    assert cut_answer(ToolMessage(blocks, tool_call_id="1"), 6).content == blocks


@every_api
@pytest.mark.parametrize("stream", [True, False])
async def test_calls_that_have_one_id_are_each_made_and_get_their_own(workshop, api, stream):
    body = await answered(workshop, api, "seen", calls=2, same_ids=True, stream=stream)

    assert told(body).count("seen") == 4
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    ids = [s["tool_call_id"] for s in steps if s["kind"] == "tool"]
    assert len(set(ids)) == 4


# Edited arguments

MESSAGE = ToolMessage("sent", tool_call_id="call_0_0")
BLOCKS = [{"type": "text", "text": "sent"}, {"type": "file", "url": "docs://1"}]


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        ("sent", {}),
        (BLOCKS, {}),
        (["sent", "twice"], {}),
        ({"sent": True}, {}),
        ([{"sent": True}], {}),
        (("sent", 2), {}),
        (("sent", "twice"), {}),
        (datetime(2026, 1, 1, tzinfo=UTC), {}),
        (None, {}),
        ("", {}),
        ([], {}),
        (MESSAGE, {}),
        (MESSAGE.model_copy(update={"content": BLOCKS}), {}),
        ([MESSAGE], {}),
        (Command(update={"messages": [MESSAGE]}), {}),
        (("sent", object()), {"response_format": "content_and_artifact"}),
        ((BLOCKS, None), {"response_format": "content_and_artifact"}),
        ((MESSAGE, None), {"response_format": "content_and_artifact"}),
        (ToolException("not sent"), {}),
        (RuntimeError("not sent"), {}),
        (TimeoutError("not sent"), {}),
    ],
)
async def test_agent_is_told_of_edited_arguments_whatever_the_tool_answers(
    workshop, answer, options
):
    @tool("send", **options)
    def send_as(to: str, text: str = "") -> Any:
        """Send a message."""
        if isinstance(answer, Exception):
            raise answer
        return copy.deepcopy(answer)

    registry = ToolRegistry({"send": lambda _context: send_as})
    await workshop.agent(
        model="openai:gpt-4o-mini",
        model_settings={"endpoint": "local", "max_retries": 0},
        tools=["send"],
    )
    with strict(OpenAIServer)(Says("", (("send", {"to": "bob"}),)), Says("Done.")) as server:
        models = ChatModels(endpoints={"local": server.url})
        desk = desk_of(workshop, registry=registry, models=models)
        run = await desk.run_steps([], mode="suspend")
        await desk.edit({"to": "eve", "text": ""})
        await desk.approve(version=2)
        await desk.work()

    assert (await desk.result(run))["result_content"] == "Done."
    (message,) = [m for m in server.requests[-1].body["messages"] if m["role"] == "tool"]
    note = 'what was approved is {"to": "eve", "text": ""}'
    assert message["content"].count(note) == 1
    assert message["content"].startswith("The owner changed the arguments")
    if "sent" in repr(answer) and not isinstance(answer, TimeoutError):
        assert "sent" in message["content"].split(note)[1]
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [s["request"]["ran_with"] for s in steps if s["kind"] == "tool"] == [
        {"to": "eve", "text": ""}
    ]


@pytest.mark.parametrize(
    ("answer", "shown", "options"),
    [
        ("sent", "sent", {}),
        ({"sent": 1}, '{"sent": 1}', {}),
        ([{"sent": 1}, 2], '[{"sent": 1}, 2]', {}),
        (("sent", 2), '["sent", 2]', {}),
        (BLOCKS, "sent\n\n[file]", {}),
        (MESSAGE, "sent", {}),
        ([MESSAGE, MESSAGE], "sent\n\nsent", {}),
        (Command(update={"messages": [MESSAGE]}), "sent", {}),
        (({"sent": 1}, object()), '{"sent": 1}', {"response_format": "content_and_artifact"}),
        (None, "", {}),
        ([], "", {}),
        ("x" * 5_000_000, "x" * 49_999 + "…", {}),
    ],
    ids=[f"answer{number}" for number in range(12)],
)
async def test_owner_is_shown_what_an_approved_tool_answered(workshop, answer, shown, options):
    @tool("send", **options)
    def send_as(to: str) -> Any:
        """Send a message."""
        return copy.deepcopy(answer)

    desk = desk_of(workshop, registry=ToolRegistry({"send": lambda _context: send_as}))
    desk.tools = ("send",)
    await desk.run({"tool": "send", "args": {"to": "bob"}}, mode="suspend")
    await desk.approve()
    await desk.work()

    action = await desk.action()
    assert (action["status"], action["result"]) == ("succeeded", shown)


@every_api
async def test_what_a_check_beforehand_found_is_cut_too(workshop, api):
    @tool
    async def check() -> str:
        """Check something."""
        return "ä" * 1_000_000

    await workshop.owner.execute(
        "INSERT INTO tools (name, default_tier, risk, read_only, brings_outside_text)"
        " VALUES ('check', 'auto', 'low', true, false)"
    )
    spec, settings, server_class = APIS[api]
    await workshop.agent(
        model=spec, model_settings={"endpoint": "local", **settings}, tools=["check"]
    )
    with server_class(Says("Done.")) as server:
        service = workshop.service(
            models=ChatModels(endpoints={"local": server.url}),
            registry=ToolRegistry({"check": lambda _context: check}),
        )
        run = await make_run(workshop, options={"precheck": {"tool": "check"}})
        outcome = await service.execute_run(run)

    assert outcome.content == "Done."
    sent = json.dumps(server.requests[0].body, ensure_ascii=False)
    assert sent.count("ä") == LONGEST_TOLD
    assert "the tool answered with 1,000,000 characters" in sent
