import json
import subprocess
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from langchain.agents import create_agent
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import ToolException, tool

from rota.agents.models.building import build_chat_model
from rota.agents.models.failures import classify_model_error
from rota.agents.scripted.checking import validate_script
from rota.agents.scripted.model import ScriptedModelError
from rota.domain.agents.script import parse_script
from rota.domain.errors import InvalidInputError

NOW = datetime(2026, 7, 1, 7, 0, tzinfo=ZoneInfo("Europe/Berlin"))

BRIEFING = {
    "steps": [
        {"calls": [{"tool": "mail_search", "args": {"query": "for {{ prompt }}", "limit": 5}}]},
        {
            "calls": [
                {
                    "tool": "mail_get_message",
                    "for_each": "results[0].messages",
                    "args": {"id": "{{ item.id }}", "options": [{"as": "{{ item.kind }}!"}]},
                }
            ]
        },
    ],
    "answer": (
        "{{ by_tool.mail_get_message | length }} messages on {{ now.strftime('%A') }}:\n"
        "{% for message in by_tool.mail_get_message %}- {{ message }}\n{% endfor %}"
    ),
}


def model_of(script, now=NOW):
    return build_chat_model("scripted:plan", {}, api_keys={}, endpoints={}, script=script, now=now)


@tool
def mail_search(query: str, limit: int = 0) -> str:
    """Search the mailbox."""
    messages = [{"id": n, "kind": "text"} for n in range(3)]
    return json.dumps({"query": query, "limit": limit, "messages": messages})


@tool
def mail_get_message(id: int, options: list[dict[str, str]]) -> str:  # noqa: A002 -- as mail has it
    """Read a message."""
    return f"Message {id} as {options[0]['as']}"


async def answer(script, tools=(mail_search, mail_get_message), prompt="Alice"):
    agent = create_agent(model_of(script), tools=list(tools), system_prompt="Be brief.")
    state = await agent.ainvoke({"messages": [HumanMessage(prompt)]})
    return state["messages"]


async def test_a_plan_of_calls_and_a_template_over_their_results():
    messages = await answer(BRIEFING)
    first, second = (m for m in messages if isinstance(m, AIMessage) and m.tool_calls)
    assert first.tool_calls[0]["args"] == {"query": "for Alice", "limit": 5}
    assert [call["id"] for call in second.tool_calls] == ["call_1_0", "call_1_1", "call_1_2"]
    assert [call["args"]["id"] for call in second.tool_calls] == [0, 1, 2]
    assert messages[-1].content == (
        "3 messages on Wednesday:\n"
        "- Message 0 as text!\n- Message 1 as text!\n- Message 2 as text!\n"
    )
    assert messages[-1].usage_metadata["total_tokens"] == 0


async def test_the_same_messages_lead_to_the_same_answer_in_any_process():
    messages = await answer(BRIEFING)
    for end, message in enumerate(messages):
        if isinstance(message, AIMessage):
            again = model_of(BRIEFING).invoke(messages[:end])
            assert (again.content, again.tool_calls) == (message.content, message.tool_calls)


async def test_a_step_that_comes_to_no_call_is_passed_over():
    script = {
        "steps": [
            {"calls": [{"tool": "mail_search", "for_each": "[]", "args": {"query": "x"}}]},
            {"calls": [{"tool": "mail_search", "args": {"query": "y"}}]},
            {"calls": [{"tool": "mail_search", "for_each": "results[5:]", "args": {}}]},
        ],
        "answer": "{{ results | length }} {{ results[0].query }}",
    }
    assert (await answer(script))[-1].content == "1 y"


async def test_for_each_makes_at_most_twenty_calls_or_its_limit():
    def calls(**more):
        call = {"tool": "t", "for_each": "range(100)", "args": {"n": "{{ item }}"}, **more}
        return model_of({"steps": [{"calls": [call]}]}).invoke("go").tool_calls

    assert [call["args"]["n"] for call in calls()] == list(range(20))
    assert len(calls(limit=3)) == 3


async def test_an_unknown_tool_is_called_all_the_same_and_its_failure_is_seen():
    script = {
        "steps": [{"calls": [{"tool": "nope"}, {"tool": "mail_search", "args": {"query": "q"}}]}],
        "answer": "{{ failures[0].tool }}: {{ failures[0].message }} | {{ results[1].query }}",
    }
    messages = await answer(script)
    assert messages[1].response_metadata["unbound_tools"] == ["nope"]
    assert messages[-1].content.startswith("nope: Error: nope is not a valid tool")
    assert messages[-1].content.endswith("| q")


def test_only_the_last_turn_of_a_conversation_counts():
    script = {"steps": [{"calls": [{"tool": "t"}]}], "answer": "{{ prompt }} {{ results }}"}
    call = {"name": "t", "args": {}, "id": "call_0_0"}
    first_turn = [
        SystemMessage("s"),
        HumanMessage("one"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("old", tool_call_id="call_0_0"),
        AIMessage("done"),
        HumanMessage([{"type": "text", "text": "two"}]),
    ]
    asked = model_of(script).invoke(first_turn)
    assert asked.tool_calls[0]["name"] == "t"
    result = ToolMessage([{"type": "text", "text": '{"n": 1}'}], tool_call_id="call_0_0")
    assert model_of(script).invoke([*first_turn, asked, result]).content == 'two [{"n": 1}]'


def test_results_that_are_no_json_stay_text():
    script = {"answer": "{{ results | map('string') | join(',') }}"}
    results = ["plain", "[1, ", "9" * 5_000, "[" * 100_000, "7"]
    messages = [HumanMessage("x"), *(ToolMessage(r, tool_call_id="c", name="t") for r in results)]
    assert model_of(script).invoke(messages).content == ",".join(results)


async def test_an_error_step_is_a_model_error():
    with pytest.raises(ScriptedModelError, match="out of order") as caught:
        await answer({"steps": [{"error": "The model is out of order."}]})
    assert classify_model_error(caught.value).message == "The model is out of order."


async def test_an_error_that_comes_out_blank_is_none():
    @tool
    def fail() -> str:
        """Fail."""
        raise ToolException("no such file")

    fail.handle_tool_error = True
    error = "{% if failures %}It failed: {{ failures[0].message }}{% endif %}"
    script = {"steps": [{"calls": [{"tool": "fail"}]}, {"error": error}], "answer": "well"}
    with pytest.raises(ScriptedModelError, match="It failed: no such file"):
        await answer(script, tools=[fail])
    script["steps"][0]["calls"][0] = {"tool": "mail_search", "args": {"query": "x"}}
    assert (await answer(script))[-1].content == "well"


async def test_a_pause_is_kept_sync_and_async():
    model = model_of({"steps": [{"sleep_ms": 30}], "answer": "rested"})
    for said in (model.invoke("x"), await model.ainvoke("x")):
        assert said.content == "rested"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"answer": "a\n{{ missing }}"}, "The answer, line 2: 'missing' is undefined."),
        (
            {"steps": [{"calls": [{"tool": "t", "args": {"x": "{{ nope }}"}}]}]},
            "The argument of step 0 call 0: 'nope' is undefined.",
        ),
        (
            {"steps": [{"calls": [{"tool": "t", "for_each": "prompt"}]}]},
            "The for_each of step 0 call 0 is not a list but str.",
        ),
        ({"answer": "{{ 'x' * 9 ** 6 }}"}, "The answer writes more than"),
    ],
)
def test_templates_that_fail_say_where(script, said):
    with pytest.raises(InvalidInputError) as caught:
        model_of(script).invoke("x")
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([], "script: this is a mapping"),
        ({}, "script: a script needs steps or an answer."),
        ({"answer": 3}, "script.answer: this is a text; put it in quotes."),
        ({"answr": "x"}, "script.answr: there is no such field."),
        ({"steps": [{}]}, "script.steps[0]: a step needs calls, an error or sleep_ms."),
        (
            {"steps": [{"calls": [{"tool": "a"}, {"args": {}}]}]},
            "script.steps[0].calls[1].tool: this is missing.",
        ),
        (
            {"steps": [{"calls": [{"tool": "a"}], "error": "e"}]},
            "script.steps[0]: a step makes calls or raises an error, not both.",
        ),
        (
            {"steps": [{"calls": [{"tool": "a", "limit": 21}]}]},
            "script.steps[0].calls[0].limit: this is 20 or less.",
        ),
    ],
)
def test_a_script_of_another_form_is_refused_naming_the_place(script, said):
    with pytest.raises(InvalidInputError) as caught:
        parse_script(script)
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"answer": "a\n{% if %}"}, "The answer, line 2"),
        (
            {"steps": [{"calls": [{"tool": "t", "args": {"a": [{"b": "{{ 1 + }}"}]}}]}]},
            "The argument of step 0 call 0",
        ),
        (
            {"steps": [{"calls": [{"tool": "t", "for_each": "1 +"}]}]},
            "The for_each of step 0 call 0",
        ),
    ],
)
def test_a_script_whose_templates_cannot_be_compiled_is_refused(script, said):
    with pytest.raises(InvalidInputError) as caught:
        validate_script(script)
    assert caught.value.message.startswith(said)


def test_a_script_survives_json():
    script = validate_script(BRIEFING)
    assert parse_script(json.loads(script.model_dump_json())) == script


def test_whoever_checks_scripts_loads_no_template_engine_before_one_is_checked():
    code = "import sys, rota.agents.scripted.checking; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"jinja2", "pydantic", "langchain_core"} & set(loaded.stdout.split())
