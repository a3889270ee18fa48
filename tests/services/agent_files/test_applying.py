"""Agent files: a schedule in one is held to what the command line is held to, line by line."""

from __future__ import annotations

import pytest

from rota.domain.errors import InvalidInputError
from rota.services.agent_files.applying import AgentFileService
from rota.services.agent_files.reading import parse_agent_file
from rota.services.schedules.service import ScheduleService
from tests.services.harness import clock

FILE = """\
name: watcher
model: scripted:x
script:
  steps:
    - say: Looking.
      calls: [{tool: look}]
  answer: Fine.
tools: [look]
schedules:
  - name: morning
    when: "@daily"
    prompt: Look.
  - name: evening
    every: 90m
"""


async def apply(workshop, text, **options):
    file = parse_agent_file(text, source="a.yaml", now=clock())
    schedules = ScheduleService(workshop.database, clock=clock)
    applied = await AgentFileService(workshop.database, schedules).apply(
        workshop.user, file, is_operator=True, **options
    )
    return [change.change for change in applied]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name: morning", "name: ' morning'", "a.yaml:10: schedules[0].name: the name ' morning'"),
        ("name: morning", 'name: "a\\tb"', "a.yaml:10: schedules[0].name: the name"),
        ("name: evening", "name: morning", "a.yaml:13: schedules[1].name: a second schedule named"),
        ('when: "@daily"', "at: [2020-01-01 07:00]", "a.yaml:11: schedules[0].at: "),
        ('when: "@daily"', 'at: ["2020-01-01 07:00"]', "schedules[0].at: this never fires"),
        ("every: 90m", "every: 90m\n    end: '2020-01-01'", "schedules[1]"),
        ("say: Looking.", "say: '{{ results['", "a.yaml:3: script: "),
        ("answer: Fine.", "answer: '{{ results['", "a.yaml:3: script: "),
        ("prompt: Look.", "except_calendars: [office]", "a.yaml:12: schedules[0].except_calendars"),
        ("prompt: Look.", "time_zone: Nowhere/Town", "schedules[0].time_zone: "),
        ("prompt: Look.", "precheck: {tool: lok}", "a.yaml:12: schedules[0].precheck: watcher has"),
        (
            "prompt: Look.",
            "approvals_most: 0",
            "schedules[0].approvals_most: approvals_most is from 1",
        ),
        ("model: scripted:x", "model: scripted:x\nlimits: {cost: 0}", "a.yaml:3: limits.cost is "),
        (
            "prompt: Look.",
            "overlap: never",
            "a.yaml:12: schedules[0].overlap: 'never' is no choice",
        ),
    ],
)
async def test_what_the_command_line_refuses_a_file_refuses_with_its_line(
    workshop, old, new, sentence
):
    assert old in FILE
    with pytest.raises(InvalidInputError) as caught:
        await apply(workshop, FILE.replace(old, new, 1))
    assert sentence in caught.value.message
    assert caught.value.line is not None
    assert await workshop.rows("agent_schedules") == []
    agents = await workshop.rows("agent_configurations")
    assert [agent["agent_name"] for agent in agents if agent["user_id"] is not None] == []


async def test_file_applied_again_changes_nothing_and_moves_no_anchor(workshop):
    assert await apply(workshop, FILE) == ["created"] * 3
    before = await workshop.rows("agent_schedules", "name")
    assert await apply(workshop, FILE) == ["unchanged"] * 3
    assert await workshop.rows("agent_schedules", "name") == before


async def test_file_whose_single_time_has_passed_can_be_applied_again(workshop):
    text = FILE.replace('when: "@daily"', 'at: ["2999-01-01 07:00"]')
    await apply(workshop, text)
    await workshop.owner.execute(
        "UPDATE agent_schedules SET instants = '{2020-01-01 07:00+00}' WHERE name = 'morning'"
    )
    text = text.replace("2999", "2020")
    assert await apply(workshop, text) == ["unchanged"] * 3
    assert await apply(workshop, text.replace("Look.", "Go.")) == [
        "unchanged",
        "updated",
        "unchanged",
    ]


async def test_what_a_file_leaves_out_is_taken_away(workshop):
    await apply(workshop, FILE.replace("prompt: Look.", "prompt: Look.\n    jitter: 5m"))
    assert await apply(workshop, FILE.replace("    prompt: Look.\n", "")) == [
        "unchanged",
        "updated",
        "unchanged",
    ]
    row = (await workshop.rows("agent_schedules", "name"))[1]
    assert (row["prompt"], row["jitter_seconds"]) == (None, 0)


async def test_a_schedule_of_another_agent_is_not_taken(workshop):
    await apply(workshop, FILE)
    before = await workshop.rows("agent_schedules", "name")
    other = FILE.replace("name: watcher", "name: other")

    with pytest.raises(InvalidInputError) as caught:
        await apply(workshop, other)

    assert caught.value.message == (
        "a.yaml:10: schedules[0].name: there is a schedule named 'morning' already, of the agent "
        "watcher; choose another name, or first remove that one (`rota schedules remove`)."
    )
    assert await workshop.rows("agent_schedules", "name") == before
    agents = await workshop.rows("agent_configurations")
    assert [agent["agent_name"] for agent in agents if agent["user_id"] is not None] == ["watcher"]


async def test_a_schedule_that_the_file_renames_is_kept_and_told_of_until_it_is_pruned(workshop):
    await apply(workshop, FILE)
    renamed = FILE.replace("name: morning", "name: noon")

    assert await apply(workshop, renamed) == ["unchanged", "created", "unchanged", "kept"]
    assert await apply(workshop, renamed, prune=True) == ["unchanged"] * 3 + ["removed"]
    assert [s["name"] for s in await workshop.rows("agent_schedules", "name")] == [
        "evening",
        "noon",
    ]


async def test_pruning_touches_no_schedule_of_another_agent(workshop):
    await apply(workshop, FILE)
    other = FILE.replace("name: watcher", "name: other").split("schedules:")[0]
    assert await apply(workshop, other, prune=True) == ["created"]
    assert len(await workshop.rows("agent_schedules", "name")) == 2
