"""What a schedule demands of an answer, what it does not announce, and what it asks beforehand."""

from __future__ import annotations

import json

import pytest

from rota.agents.own_code.registered import AsyncFunction, Graph, GraphFactory
from rota.domain.runs.run import ResultStatus
from tests.services.harness import ANSWER

SCHEMA = {"type": "object", "required": ["mails"], "properties": {"mails": {"type": "integer"}}}
ASKED_AGAIN = "{{ '{\"mails\": 3}' if 'not accepted' in prompt else 'three mails' }}"


async def execute(workshop, options, **service):
    schedule = await workshop.schedule(options=json.dumps(options))
    return await workshop.service(**service).execute(schedule)


async def titles(workshop):
    return [row["title"] for row in await workshop.rows("notifications")]


async def test_answer_that_misses_the_schema_is_asked_for_once_more(workshop):
    await workshop.agent({"steps": [], "answer": ASKED_AGAIN})

    outcome = await execute(workshop, {"output": {"schema": SCHEMA}})

    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, '{"mails": 3}')
    assert outcome.metadata["contract"] == "met"
    assert outcome.metadata["model_calls"] == 2


async def test_second_answer_that_misses_too_is_partial_and_says_why(workshop):
    await workshop.agent({"steps": [], "answer": "three mails"})

    outcome = await execute(workshop, {"output": {"schema": SCHEMA}})

    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "three mails")
    assert outcome.metadata["contract"] == "missed"
    assert "JSON" in outcome.metadata["stopped"]
    assert outcome.metadata["model_calls"] == 2


async def test_script_with_calls_is_followed_again_when_it_is_asked_once_more(workshop):
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "send", "args": {"to": "bob"}}]}], "answer": "three mails"},
        tools=["send"],
    )

    outcome = await execute(workshop, {"output": {"sections": ["Summary", "Risks"]}})

    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "three mails")
    assert outcome.metadata["contract"] == "missed"
    assert outcome.metadata["model_calls"] == 4
    assert "Summary" in outcome.metadata["stopped"]


async def test_contract_is_missed_where_a_limit_ends_the_run(workshop):
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "send", "args": {"to": "bob"}}]}], "answer": "three mails"},
        tools=["send"],
    )

    outcome = await execute(workshop, {"output": {"sections": ["Summary"]}, "limits": {"steps": 3}})

    assert (outcome.status, outcome.metadata["limit"]) == (ResultStatus.PARTIAL, "steps")
    assert outcome.metadata["contract"] == "missed"


async def test_missing_section_is_named(workshop):
    await workshop.agent({"steps": [], "answer": "## Summary\nFine."})

    outcome = await execute(workshop, {"output": {"sections": ["Summary", "Risks"]}})

    assert outcome.status is ResultStatus.PARTIAL
    assert "Risks" in outcome.metadata["stopped"]


async def test_quiet_answer_is_stored_and_not_announced(workshop):
    await workshop.agent({"steps": [], "answer": "**OK**"})

    outcome = await execute(workshop, {"checklist": ["Is the disk full?"]})

    assert (outcome.status, outcome.metadata["quiet"]) == (ResultStatus.SUCCESS, True)
    assert (await workshop.row("agent_execution_results"))["result_content"] == "**OK**"
    assert await titles(workshop) == []


async def test_answer_with_news_is_announced(workshop):
    await workshop.agent({"steps": [], "answer": "OK, but the disk is full."})
    await execute(workshop, {"checklist": ["Is the disk full?"]})
    assert await titles(workshop) == ["morning"]


async def test_quiet_answer_with_a_held_call_still_asks_for_the_yes(workshop):
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "send", "args": {"to": "bob"}}]}], "answer": "OK"},
        tools=["send"],
    )
    await execute(workshop, {"checklist": ["Anything?"]})
    assert await titles(workshop) == ["1 action waits for your approval"]


async def test_the_checklist_is_in_the_prompt(workshop):
    await workshop.agent({"steps": [], "answer": "{{ prompt }}"})
    outcome = await execute(workshop, {"checklist": ["Is the disk full?", "Any bounces?"]})
    assert "1. Is the disk full?" in outcome.content
    assert "2. Any bounces?" in outcome.content


async def nothing(_context, _prompt):
    return []


async def something(_context, _prompt):
    return {"disk": "97 %"}


async def test_precheck_that_finds_nothing_skips_the_model(workshop):
    await workshop.agent(ANSWER)

    outcome = await execute(
        workshop,
        {"precheck": {"callable": "disk"}},
        callables={"disk": AsyncFunction("disk", nothing)},
    )

    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "OK")
    assert outcome.metadata["model_calls"] == 0
    assert await titles(workshop) == []


async def test_precheck_that_finds_something_tells_the_agent(workshop):
    await workshop.agent({"steps": [], "answer": "{{ prompt }}"})
    outcome = await execute(
        workshop,
        {"precheck": {"callable": "disk"}},
        callables={"disk": AsyncFunction("disk", something)},
    )
    assert "97 %" in outcome.content


async def test_precheck_by_a_tool_is_in_the_journal(workshop):
    await workshop.agent({"steps": [], "answer": "{{ prompt }}"}, tools=["look"])
    outcome = await execute(workshop, {"precheck": {"tool": "look", "arguments": {"query": "new"}}})
    assert '{"seen": "new"}' in outcome.content
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    first = steps[0]
    assert (first["model_step"], first["call_index"], first["name"]) == (0, 0, "look")


@pytest.mark.parametrize("tool", ["send", "no_such_tool"])
async def test_precheck_may_only_read(workshop, tool):
    await workshop.agent(ANSWER, tools=["look", "send"])
    outcome = await execute(workshop, {"precheck": {"tool": tool}})
    assert outcome.status is ResultStatus.ERROR
    assert "only reads" in outcome.content
    assert workshop.toolbox.calls == []


async def test_precheck_with_an_argument_that_its_tool_has_not_is_an_error(workshop):
    await workshop.agent(ANSWER, tools=["look"])

    outcome = await execute(workshop, {"precheck": {"tool": "look", "arguments": {"qurey": "x"}}})

    assert outcome.status == "error"
    assert outcome.content == ("The pre-check look has no argument 'qurey'; did you mean 'query'?")


async def test_precheck_that_fails_is_an_error_and_not_silence(workshop):
    await workshop.agent(ANSWER, tools=["boom"])
    outcome = await execute(workshop, {"precheck": {"tool": "boom"}})
    assert outcome.status is ResultStatus.ERROR
    assert "exploded" in outcome.content


async def test_option_that_is_not_one_is_an_error_that_names_it(workshop):
    await workshop.agent(ANSWER)
    outcome = await execute(workshop, {"checklst": ["x"]})
    assert outcome.status is ResultStatus.ERROR
    assert "'checklst'" in outcome.content


async def calls_tools(context, prompt):
    seen = await context.call("look", query=prompt)
    sent = await context.call("send", to="bob")
    context.report("halfway")
    return {"seen": json.loads(seen), "sent": sent}


async def test_callable_answers_with_values_and_its_tools_are_gated(workshop):
    await workshop.agent(model="callable:report", tools=["look", "send"])

    outcome = await execute(
        workshop, {}, callables={"report": AsyncFunction("report", calls_tools)}
    )

    answer = json.loads(outcome.content)
    assert outcome.status is ResultStatus.SUCCESS
    assert answer["seen"] == {"seen": "Look."}
    assert "needs the owner's approval" in answer["sent"]
    assert outcome.pending_actions_created == 1
    assert workshop.toolbox.calls == [("look", "Look.")]
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [(s["kind"], s["name"], s["status"]) for s in steps] == [
        ("callable", "callable:report", "finished"),
        ("tool", "look", "finished"),
        ("tool", "send", "held"),
    ]


async def test_callable_that_nobody_registered_is_named_and_pauses_its_schedule(workshop):
    await workshop.agent(model="callable:report")
    outcome = await execute(workshop, {})
    assert outcome.status is ResultStatus.ERROR
    assert "ROTA_CALLABLES" in outcome.content
    assert not (await workshop.row("agent_schedules"))["is_active"]


async def never_ends(context, _prompt):
    import asyncio

    context.report("so far so good")
    await asyncio.sleep(60)


async def test_callable_is_stopped_at_its_time_limit_with_what_it_reported(workshop):
    await workshop.agent(model="callable:slow")
    outcome = await execute(
        workshop,
        {"limits": {"wall_seconds": 1}},
        callables={"slow": AsyncFunction("slow", never_ends)},
    )
    assert (outcome.status, outcome.content) == (ResultStatus.PARTIAL, "so far so good")
    assert outcome.metadata["limit"] == "wall"


def graph_of(tools, model):
    from langchain.agents import create_agent

    return create_agent(model, tools=list(tools))


def scripted(script):
    from datetime import UTC, datetime

    from rota.agents.scripted.model import ScriptedChatModel

    return ScriptedChatModel(script=script, now=datetime(2026, 11, 23, tzinfo=UTC))


SENDS = {
    "steps": [{"calls": [{"tool": "send", "args": {"to": "bob"}}]}],
    "answer": "{{ results[0] }}",
}


async def test_graph_made_of_the_runs_tools_is_traced_and_gated(workshop):
    await workshop.agent(model="callable:graph", tools=["look", "send"])

    def build(context):
        return graph_of(context.tools.values(), scripted(SENDS))

    outcome = await execute(workshop, {}, callables={"graph": GraphFactory("graph", build)})

    assert outcome.status is ResultStatus.SUCCESS
    assert "needs the owner's approval" in outcome.content
    assert workshop.toolbox.calls == []
    kinds = [(s["kind"], s["status"]) for s in await workshop.rows("agent_run_steps")]
    assert sorted(kinds) == [
        ("callable", "finished"),
        ("model", "finished"),
        ("model", "finished"),
        ("tool", "held"),
    ]


async def test_graph_with_a_tool_of_its_own_does_not_get_round_the_gate(workshop):
    await workshop.agent(model="callable:graph")
    own = workshop.toolbox._send()

    outcome = await execute(
        workshop, {}, callables={"graph": Graph("graph", graph_of([own], scripted(SENDS)))}
    )

    assert "its own tool send" in outcome.content  # what the model is told, or the run's error
    assert workshop.toolbox.calls == []
    assert (await workshop.row("audit_logs"))["decision"] == "refused"


async def test_graph_is_stopped_at_its_step_limit(workshop):
    await workshop.agent(model="callable:graph", tools=["look"])
    many = {"steps": [{"calls": [{"tool": "look"}]}] * 5, "answer": "done"}

    def build(context):
        return graph_of(context.tools.values(), scripted(many))

    outcome = await execute(
        workshop,
        {"limits": {"steps": 3}},
        callables={"graph": GraphFactory("graph", build)},
    )
    assert outcome.metadata["limit"] == "steps"
    assert len(workshop.toolbox.calls) == 3
