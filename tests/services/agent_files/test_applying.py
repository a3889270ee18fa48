"""Agent files: a schedule in one is held to what the command line is held to, line by line."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from rota.domain.errors import InvalidInputError
from rota.services.agent_files.applying import AgentFileService
from rota.services.agent_files.reading import AgentEntry, parse_agent_file, read_agent_file
from rota.services.agents.option_checks import Registered
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
            "a.yaml:12: schedules[0].overlap: overlap is one of skip, buffer_one",
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

    assert [fault.message for fault in caught.value.faults] == [
        f"a.yaml:{line}: schedules[{n}].name: there is a schedule named {name!r} already, of the "
        "agent watcher; choose another name, or first remove that one (`rota schedules remove`)."
        for n, (line, name) in enumerate([(10, "morning"), (13, "evening")])
    ]
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


FAULTY = """\
name: watcher
model: opnai:x
model_settings: {temperature: 0}
limits: {tim: 5m, cost: 0}
tools: [lok, look]
schedules:
  - name: morning
    cron: "61 * * * *"
    overlap: never
    jitter: soon
    day_limits: {token: 5, cost: 0}
    except_calendars: [office]
  - name: morning
    when: "@daily"
    retrys: 2
"""


async def test_all_that_is_wrong_with_a_file_is_named_each_with_its_place(workshop, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(FAULTY.replace("    retrys: 2\n", "    retries: 99\n"))
    service = AgentFileService(workshop.database, ScheduleService(workshop.database, clock=clock))
    file = read_agent_file(path, now=clock())

    for do in (service.validate, service.apply):
        with pytest.raises(InvalidInputError) as caught:
            await do(workshop.user, file, is_operator=True)
        assert caught.value.line == 2
        places = [fault.message.split(" ", 2)[:2] for fault in caught.value.faults]
        assert places == [
            ["a.yaml:2:", "model:"],
            ["a.yaml:4:", "limits.tim:"],
            ["a.yaml:4:", "limits.cost"],
            ["a.yaml:5:", "tools[0]:"],
            ["a.yaml:8:", "schedules[0].cron:"],
            ["a.yaml:9:", "schedules[0].overlap:"],
            ["a.yaml:10:", "schedules[0].jitter:"],
            ["a.yaml:11:", "schedules[0].day_limits.token:"],
            ["a.yaml:11:", "schedules[0].day_limits.cost:"],
            ["a.yaml:13:", "schedules[1].name:"],
            ["a.yaml:15:", "schedules[1].retries:"],
        ]
        assert caught.value.message.splitlines() == [f.message for f in caught.value.faults]
    assert await workshop.rows("agent_schedules") == []


MISSPELT = """\
name: Watcher
model: openai:x
tolls: [mail_search]
tools: [none_such]
limits: {tim: 5}
max_steps: 0
script: {anser: hello}
schedules:
  - name: morning
    cron: "1 2 3 4"
    overlp: never
  - every: 5
    jitter: soon
    precheck: {tool: mail_search}
  - later
---
name: other
model: openai:x
schedules:
  - name: evening
    when: "@daily"
    overlp: never
    except_calendars: [office]
"""


async def test_all_that_is_wrong_is_named_where_fields_are_not_known_too(workshop, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(MISSPELT)
    service = AgentFileService(workshop.database, ScheduleService(workshop.database, clock=clock))

    with pytest.raises(InvalidInputError) as caught:
        await service.validate(workshop.user, read_agent_file(path, now=clock()), is_operator=True)

    assert [fault.message.split(" ", 2)[:2] for fault in caught.value.faults] == [
        ["a.yaml:1:", "name:"],
        ["a.yaml:3:", "tolls:"],
        ["a.yaml:4:", "tools[0]:"],
        ["a.yaml:5:", "limits.tim:"],
        ["a.yaml:6:", "max_steps:"],
        ["a.yaml:7:", "script.anser:"],
        ["a.yaml:10:", "schedules[0].cron:"],
        ["a.yaml:11:", "schedules[0].overlp:"],
        ["a.yaml:12:", "schedules[1].name:"],
        ["a.yaml:12:", "schedules[1].every:"],
        ["a.yaml:13:", "schedules[1].jitter:"],
        ["a.yaml:15:", "schedules[2]:"],
        ["a.yaml:22:", "schedules[0].overlp:"],
        ["a.yaml:23:", "schedules[0].except_calendars:"],
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "tools: [mail_search, mail_search]",
        "tools: mail_search",
        "schedules: soon",
        "schedules: [{when: '@daily', name: a, cron: '@daily'}]",
        "schedules: [{name: a, at: [1, 2]}]",
        "schedules: [{name: a, at: 5, prompt: [x]}, {name: b, every: 1h, paused: 3}]",
        "max_steps: 5\nlimits: {steps: 5}",
        "fallback_models: [1, 2]",
        "name: b\nmodle: x",
    ],
)
def test_what_is_wrong_with_one_field_is_said_once_and_nothing_of_what_is_right(wrong):
    text = f"model: openai:x\n{wrong}"
    if "name: b\n" not in wrong:
        text = f"name: a\n{text}"
    with pytest.raises(InvalidInputError) as caught:
        parse_agent_file(text, source="a.yaml", now=clock())

    faults = caught.value.faults or (caught.value,)
    with pytest.raises(ValidationError) as refused:
        AgentEntry.model_validate(yaml.safe_load(text))
    assert len(faults) == len(refused.value.errors())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (FAULTY, "a.yaml:15: schedules[1].retrys: there is no such field; did you mean 'retries'?"),
        ("name: a\nmodle: x:y", "a.yaml:2: modle: there is no such field; did you mean 'model'?"),
        (
            "name: a\nmodel: openai:x\nmodel_settings: {temprature: 0}",
            (
                "a.yaml:3: model_settings.temprature: models of openai have no setting "
                "'temprature'; did you mean 'temperature'?"
            ),
        ),
        (
            "name: a\nmodel: openai:x\nlimits: {tokns: 5}",
            "a.yaml:3: limits.tokns: there is no such field; did you mean 'tokens'?",
        ),
        (
            (
                "name: a\nmodel: openai:x\n"
                "schedules: [{name: b, cron: '@daily', precheck: {tool: look, argments: {}}}]"
            ),
            "a pre-check has no field 'argments'; did you mean 'arguments'?",
        ),
    ],
)
def test_a_field_that_is_not_known_is_named_with_the_one_that_is_near(text, sentence):
    with pytest.raises(InvalidInputError) as caught:
        parse_agent_file(text, source="a.yaml", now=clock())

    assert sentence in caught.value.message


async def test_a_typo_in_the_arguments_of_a_precheck_is_named(workshop):
    text = FILE.replace("prompt: Look.", "precheck: {tool: look, arguments: {qurey: x}}")
    registered = Registered(argument_names={"look": {"query"}}.get)
    schedules = ScheduleService(workshop.database, clock=clock, registered=registered)
    file = parse_agent_file(text, source="a.yaml", now=clock())

    with pytest.raises(InvalidInputError) as caught:
        await AgentFileService(workshop.database, schedules).apply(
            workshop.user, file, is_operator=True
        )

    assert caught.value.message == (
        "a.yaml:12: schedules[0].precheck: the pre-check look has no argument 'qurey'; "
        "did you mean 'query'?"
    )


async def test_applying_names_the_fields_that_changed(workshop):
    text = FILE + "    day_limits: {cost: 1}\n"
    await apply(workshop, text)
    changed = (
        text.replace("answer: Fine.", "answer: Good.")
        .replace("tools: [look]", "tools: [look]\nlimits: {time: 5m}\ndescription: New")
        .replace('when: "@daily"', 'when: "@hourly"')
        .replace("prompt: Look.", "prompt: Look well.")
        .replace("{cost: 1}", "{cost: 2, tokens: 5k}")
    )
    file = parse_agent_file(changed, source="a.yaml", now=clock())
    schedules = ScheduleService(workshop.database, clock=clock)
    service = AgentFileService(workshop.database, schedules)

    would = await service.validate(workshop.user, file, is_operator=True)
    did = await service.apply(workshop.user, file, is_operator=True)
    again = await service.apply(workshop.user, file, is_operator=True)

    assert would == did
    assert [(one.name, one.change, one.fields) for one in did] == [
        ("watcher", "updated", ("description", "limits.time", "script")),
        ("morning", "updated", ("when", "prompt")),
        ("evening", "updated", ("day_limits.tokens", "day_limits.cost")),
    ]
    assert {(one.change, one.fields) for one in again} == {("unchanged", ())}


@pytest.mark.parametrize(
    ("endpoints", "doubt"),
    [
        (None, None),
        ({"house"}, None),
        (
            {"hose"},
            (
                "there is no endpoint 'house' here; did you mean 'hose'? Its runs fail on a worker "
                "whose ROTA_ENDPOINTS lacks it"
            ),
        ),
        (
            set(),
            (
                "there is no endpoint 'house' here; there are: none. Its runs fail on a worker "
                "whose ROTA_ENDPOINTS lacks it"
            ),
        ),
    ],
)
async def test_an_endpoint_that_is_not_registered_is_doubtful(workshop, endpoints, doubt):
    text = "name: a\nmodel: openai:x\nmodel_settings: {endpoint: house}"
    file = parse_agent_file(text, source="a.yaml", now=clock())
    schedules = ScheduleService(workshop.database, clock=clock)
    service = AgentFileService(workshop.database, schedules, Registered(endpoints))

    (would,) = await service.validate(workshop.user, file)
    (did,) = await service.apply(workshop.user, file)

    assert (would.doubt, did.doubt) == (doubt, doubt)
