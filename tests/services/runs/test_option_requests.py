"""Options of schedules and runs: stored, changed, checked against the agent, and then in force."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.runs.limits import Limits
from rota.domain.runs.option_drafts import OptionDraft
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.drafts import Draft
from rota.services.agent_files.applying import AgentFileService
from rota.services.agent_files.reading import parse_agent_file
from rota.services.agents.service import AgentService
from rota.services.runs.service import RunService
from rota.services.runs.usage import UsageService
from rota.services.schedules.service import NewSchedule, ScheduleEdit, ScheduleService
from tests.services.harness import ANSWER, clock
from tests.services.running import fetch_run

LOOKS_TWICE = {
    "steps": [
        {"calls": [{"tool": "look", "args": {"query": "one"}}]},
        {"calls": [{"tool": "look", "args": {"query": "two"}}]},
    ],
    "answer": "Looked twice.",
}


@pytest.fixture
def schedules(workshop):
    return ScheduleService(workshop.database, clock=clock)


@pytest.fixture
def runs(workshop):
    return RunService(workshop.database)


async def add(workshop, schedules, options, *, script=None, tools=("look", "send")):
    await workshop.agent(script or ANSWER, tools=tools)
    new = NewSchedule("morning", "watcher", Draft(when="@daily"), options=options.options())
    return await schedules.add(workshop.user, new)


async def edit(workshop, schedules, **fields):
    return await schedules.edit(workshop.user, "morning", ScheduleEdit(**fields))


async def execute(workshop, run_id):
    async with workshop.database.connection() as conn:
        run = await fetch_run(conn, run_id)
    return await workshop.service().execute_run(run)


async def test_options_of_a_schedule_are_stored_and_changed_one_by_one(workshop, schedules):
    draft = OptionDraft(max_time="10m", max_cost="0.50", check=("Look.",))
    added = await add(workshop, schedules, draft)
    assert added.options == draft.options().as_json()

    edited = await edit(workshop, schedules, options=OptionDraft(max_time="none"))
    renamed = await edit(workshop, schedules, name="evening")

    assert edited.options == {"limits": {"cost_usd": "0.50"}, "checklist": ["Look."]}
    assert (renamed.options, edited.revision, renamed.revision) == (edited.options, 2, 3)


async def test_two_people_who_change_different_options_both_succeed(workshop, schedules):
    await add(workshop, schedules, OptionDraft())
    await asyncio.gather(
        edit(workshop, schedules, options=OptionDraft(retries="2")),
        edit(workshop, schedules, options=OptionDraft(quiet_answer="FINE")),
    )
    stored = await schedules.get(workshop.user, "morning")
    assert stored.options == {"retries": 2, "quiet_answer": "FINE"}


async def test_options_are_not_changed_behind_somebody_who_saw_others(workshop, schedules):
    await add(workshop, schedules, OptionDraft())
    await edit(workshop, schedules, options=OptionDraft(retries="2"))
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        await edit(workshop, schedules, options=OptionDraft(retries="3"), revision=1)


async def test_options_that_are_the_same_raise_no_revision(workshop, schedules):
    await add(workshop, schedules, OptionDraft(retries="2"))
    assert (await edit(workshop, schedules, options=OptionDraft(retries="2"))).revision == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (OptionDraft(precheck="lok"), "has no tool 'lok' for a pre-check; it may be look"),
        (OptionDraft(precheck="send"), "send changes things; a pre-check may only read"),
        (OptionDraft(model="opnai:gpt-5"), "no model provider 'opnai' (perhaps openai)."),
        (OptionDraft(model="callable:digest"), "cannot be chosen as a model"),
    ],
)
async def test_what_the_agent_cannot_be_asked_is_refused(workshop, schedules, options, sentence):
    with pytest.raises(InvalidInputError) as caught:
        await add(workshop, schedules, options)
    assert sentence in caught.value.message
    assert await workshop.rows("agent_schedules") == []


async def test_operators_code_has_no_model_that_could_be_chosen(workshop, schedules, runs):
    await workshop.agent(name="digest", model="callable:digest")
    new = NewSchedule("d", "digest", Draft(when="@daily"), options=RunOptions(model="openai:x"))
    with pytest.raises(InvalidInputError, match="operator's own code"):
        await schedules.add(workshop.user, new)
    with pytest.raises(InvalidInputError, match="operator's own code"):
        await runs.request(workshop.user, "digest", options=RunOptions(model="openai:x"))


async def test_schedule_goes_to_no_agent_that_lacks_the_tool_of_its_precheck(workshop, schedules):
    await add(workshop, schedules, OptionDraft(precheck="look"))
    await workshop.agent(ANSWER, name="blind")
    with pytest.raises(InvalidInputError, match="blind has no tool 'look'"):
        await edit(workshop, schedules, agent_name="blind")
    await edit(workshop, schedules, agent_name="blind", options=OptionDraft(precheck="none"))


async def test_tool_that_waits_for_approval_is_no_precheck(workshop, schedules):
    schedule = await add(workshop, schedules, OptionDraft(precheck="look"))
    await workshop.declare("look", default_tier="requires_approval")

    with pytest.raises(InvalidInputError, match="runs by itself: the tool requires approval"):
        await edit(workshop, schedules, options=OptionDraft(precheck="look"))
    outcome = await workshop.service().execute(schedule)

    assert "does not run by itself: the tool requires approval" in outcome.content
    assert await workshop.rows("pending_actions") == []


async def test_options_of_a_schedule_are_in_force_when_it_runs(workshop, schedules):
    options = OptionDraft(max_steps="1")
    schedule = await add(workshop, schedules, options, script=LOOKS_TWICE)

    outcome = await workshop.service().execute(schedule)

    assert outcome.metadata["limit"] == "steps"
    assert [call for call, _ in workshop.toolbox.calls] == ["look"]


async def test_options_of_one_run_go_before_those_of_its_schedule(workshop, schedules, runs):
    draft = OptionDraft(max_steps="1", max_time="5m")
    schedule = await add(workshop, schedules, draft, script=LOOKS_TWICE)
    own = OptionDraft(max_steps="10", max_tokens="1M").for_one_run()

    run_id = await runs.request_schedule(workshop.user, schedule.id, options=own)
    outcome = await execute(workshop, run_id)

    assert outcome.content == "Looked twice."
    view, _ = await runs.get(workshop.user, str(run_id))
    assert view.options == {"limits": {"steps": 10, "tokens": 1_000_000}}
    assert Limits.parse(view.limits) == Limits(wall_seconds=300, steps=10, tokens=1_000_000)


async def test_run_of_an_agent_has_options_of_its_own(workshop, runs):
    await workshop.agent(LOOKS_TWICE, tools=["look"])
    own = OptionDraft(max_steps="1").for_one_run()

    run_id = await runs.request(workshop.user, "watcher", options=own)
    outcome = await execute(workshop, run_id)

    assert outcome.metadata["limit"] == "steps"


async def test_run_without_options_stores_none(workshop, runs):
    await workshop.agent(ANSWER)
    await runs.request(workshop.user, "watcher", options=RunOptions())
    assert (await workshop.row("agent_runs"))["options"] is None


async def test_retry_is_a_new_run_of_what_the_old_one_was_asked(workshop, runs):
    await workshop.agent(ANSWER)
    own = OptionDraft(max_tokens="5k").for_one_run()
    first = await runs.request(workshop.user, "watcher", "Look.", own)
    await execute(workshop, first)

    again = await runs.retry(workshop.user, str(first)[:8])

    view, _ = await runs.get(workshop.user, str(again))
    assert (view.retry_of, view.trigger, view.prompt) == (first, "retry", "Look.")
    assert view.options == {"limits": {"tokens": 5_000}}
    assert (await execute(workshop, again)).content == "All quiet."


async def test_run_that_is_not_over_is_not_retried(workshop, runs):
    await workshop.agent(ANSWER)
    run_id = await runs.request(workshop.user, "watcher")
    with pytest.raises(ConflictError, match="it is waiting"):
        await runs.retry(workshop.user, str(run_id))


async def test_strangers_run_is_not_retried(workshop, runs, bob):
    await workshop.agent(ANSWER)
    run_id = await runs.request(workshop.user, "watcher")
    await execute(workshop, run_id)
    with pytest.raises(NotFoundError):
        await runs.retry(bob, str(run_id))
    async with workshop.database.acting_as(bob) as conn:
        with pytest.raises(psycopg.errors.NoDataFound):
            await conn.execute("SELECT public.request_retry(%s)", [run_id])


FILE = """
name: watcher
model: scripted:x
script: {answer: Fine.}
tools: [look, send]
fallback_models: [openai:gpt-5-mini]
limits: {time: 10m, idle: 120, tokens: 200k, cost: 0.50}
schedules:
  - name: morning
    when: "@daily"
    model: anthropic:claude-sonnet-5
    limits: {steps: 5, cost: $1}
    day_limits: {tokens: 2M, cost: 5}
    checklist:
      - Anything from Alice?
    quiet_answer: FINE
    precheck: {tool: look, arguments: {query: unread}}
    output: {schema: {type: object}, sections: [Summary]}
    retries: 2
"""


async def apply(workshop, text):
    file = parse_agent_file(text, source="a.yaml", now=clock())
    applied = await AgentFileService(
        workshop.database, ScheduleService(workshop.database, clock=clock)
    ).apply(workshop.user, file, is_operator=True)
    return [change.change for change in applied]


async def test_file_says_all_that_the_command_line_says(workshop, schedules):
    assert await apply(workshop, FILE) == ["created", "created"]
    agent = await AgentService(workshop.database).get(workshop.user, "watcher")
    stored = await schedules.get(workshop.user, "morning")

    assert agent.fallback_models == ("openai:gpt-5-mini",)
    assert Limits.parse(agent.limits) == Limits(600, 120, None, 200_000, Decimal("0.50"))
    written = OptionDraft(
        model="anthropic:claude-sonnet-5",
        max_steps="5",
        max_cost="$1",
        day_tokens="2M",
        day_cost="5",
        check=("Anything from Alice?",),
        quiet_answer="FINE",
        precheck="look",
        precheck_args=json.dumps({"query": "unread"}),
        output_schema='{"type": "object"}',
        section=("Summary",),
        retries="2",
    )
    assert stored.options == written.options().as_json()


async def test_file_that_is_applied_again_changes_only_what_it_changes(workshop):
    await apply(workshop, FILE)
    assert await apply(workshop, FILE) == ["unchanged", "unchanged"]
    assert await apply(workshop, FILE.replace("retries: 2", "retries: 3")) == [
        "unchanged",
        "updated",
    ]
    assert await apply(workshop, FILE.replace("200k", "100k")) == ["updated", "updated"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("time: 10m", "time: soon", "a.yaml:7: limits.time: the length of time 'soon'"),
        ("time: 10m", "wall: 10m", "a.yaml:7: limits.wall: there is no such field; there are"),
        ("cost: $1", "cost: much", "a.yaml:12: schedules[0].limits.cost: the amount 'much'"),
        ("tokens: 2M", "tokens: 1.5", "a.yaml:13: schedules[0].day_limits.tokens: the number"),
        ("openai:gpt", "opnai:gpt", "a.yaml:6: fallback_models[0]: there is no model provider"),
        ("anthropic:c", "antropic:c", "a.yaml:11: schedules[0].model: there is no model provider"),
        ("tool: look", "tool: lok", "a.yaml:17: schedules[0].precheck: watcher has no tool 'lok'"),
        ("tool: look", "tool: send", "a.yaml:17: schedules[0].precheck: send changes things"),
        ("tool: look", "tol: look", "a.yaml:17: schedules[0].precheck: a pre-check has no field"),
        ("type: object", "type: thing", "a.yaml:18: schedules[0].output.schema.type"),
        ("retries: 2", "retries: 20", "a.yaml:19: schedules[0].retries: retries is from 0 to 10"),
        (
            "day_limits: {tokens: 2M, cost: 5}",
            "day_limits: 5",
            "a.yaml:13: schedules[0].day_limits",
        ),
        ("limits: {time", "max_steps: 3\nlimits: {steps: 4, time", "two names for one thing"),
    ],
)
async def test_mistake_in_a_file_is_told_with_its_line_and_nothing_is_written(
    workshop, old, new, sentence
):
    assert old in FILE
    with pytest.raises(InvalidInputError) as caught:
        await apply(workshop, FILE.replace(old, new, 1))
    assert sentence in caught.value.message
    assert await workshop.rows("agent_schedules") == []


async def test_usage_is_told_by_day_and_by_schedule_and_to_its_owner_alone(
    workshop, schedules, bob
):
    schedule = await add(workshop, schedules, OptionDraft(day_tokens="1k"))
    await workshop.owner.execute(
        "INSERT INTO usage_days (user_id, day, schedule_id, model_calls, input_tokens,"
        " output_tokens, cost_usd) VALUES (%(u)s, current_date, NULL, 3, 300, 30, 0.03),"
        " (%(u)s, current_date, %(s)s, 2, 200, 20, 0.02),"
        " (%(u)s, current_date - 6, NULL, 1, 1, 1, 0), (%(u)s, current_date - 7, NULL, 1, 1, 1, 0)",
        {"u": workshop.user, "s": schedule.id},
    )
    usage = UsageService(workshop.database, clock=clock)

    found = await usage.latest(workshop.user, days=7)

    assert [(view.schedule_name, view.input_tokens) for view in found] == [
        (None, 300),
        ("morning", 200),
        (None, 1),
    ]
    assert found[1].day_limits == {"tokens": 1_000}
    assert (found[1].schedule_id, found[1].cost_usd) == (schedule.id, Decimal("0.02"))
    assert await usage.latest(bob, days=7) == ()


async def test_what_failed_for_an_earlier_attempt_stays_in_the_trace(workshop, runs):
    await workshop.agent(ANSWER)
    run_id = await runs.request(workshop.user, "watcher")
    async with workshop.database.transaction() as conn:
        await conn.execute(
            "UPDATE agent_runs SET status = 'running', attempt = 1, fencing_token = 1,"
            " started_at = now() WHERE id = %s",
            [run_id],
        )
        await conn.execute(
            "INSERT INTO agent_run_steps (run_id, user_id, model_step, call_index, kind, name,"
            " status, request, attempts, attempt, started_at) VALUES (%s, %s, 1, -1, 'model',"
            " 'scripted:test', 'started', '{}', %s, 1, now())",
            [run_id, workshop.user, Jsonb([{"model": "scripted:test", "kind": "timeout"}])],
        )

    await execute(workshop, run_id)

    _, (step,) = await runs.get(workshop.user, str(run_id))
    assert (step.status, [a["kind"] for a in step.attempts]) == ("finished", ["timeout"])
