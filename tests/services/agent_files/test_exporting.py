"""Agents exported as a file, validated without a trace, and removed when nothing needs them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml

from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.runs.option_kinds import options_of
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.written_time import (
    parse_duration,
    parse_moment,
    written_duration,
    written_moment,
)
from rota.services.agent_files.applying import AgentFileService
from rota.services.agent_files.reading import AgentEntry, ScheduleEntry, parse_agent_file
from rota.services.agent_files.writing import write_yaml
from rota.services.schedules.service import ScheduleService
from rota.store.schedules import rows as schedule_rows
from tests.services.harness import ANSWER, clock

EVERYTHING = """\
name: watcher
description: Watches.
model: openai:x
model_settings: {temperature: 0, reasoning: {effort: "low: #", summary: ["a b"]}}
system_prompt: |
  You read a mailbox.

  Say "yes" — or: no # at once.
fallback_models: [scripted:y]
max_steps: 7
limits: {time: 10m, idle: 90s, tokens: 200k, cost: 0.10}
max_concurrency: 4
tools: [send, look]
script:
  steps:
    - say: Looking.
      calls: [{tool: look, args: {query: "is:unread"}}]
  answer: "Fine: {{ results | length }}"
schedules:
  - name: a cron
    cron: "30 7 * * mon-fri; 0 9 * * sat"
    time_zone: Europe/Berlin
    prompt: "What needs\\nan answer?"
    jitter: 5m
    active_hours: 07:00-18:00
    active_days: mon-fri
    except: 2026-12-24..2027-01-01
    except_calendars: [holidays]
    dst_gap: skip
    dst_overlap: twice
    overlap: buffer_one
    catch_up: all
    catch_up_window: 12h
    max_runs: 9
    pause_after_failures: 3
    paused: until I say so
    limits: {cost: 0.10, steps: 3}
    day_limits: {cost: 1, tokens: 1M}
    retries: 2
    checklist: ["Mail?", "Calendar?"]
    quiet_answer: Nothing.
    precheck: {tool: look, arguments: {query: x}}
    output: {sections: [Today, Tomorrow]}
    approvals: suspend
    approvals_expire: 4h
    approvals_remind: 1h
    approvals_most: 5
  - name: an interval
    every: 90m
    start: 2026-12-01 08:00
    end: "2099-06-30 18:00:30"
  - name: single times
    at: ["2099-12-24 18:00", "2099-12-31 23:00:30"]
    time_zone: Asia/Tokyo
---
name: other
model: openai:gpt-5-mini
limits: {steps: 5}
"""


@pytest.fixture
def files(database):
    return AgentFileService(database, ScheduleService(database, clock=clock))


@pytest.fixture
def apply(workshop, files):
    async def write(text, user=None):
        file = parse_agent_file(text, source="a.yaml", now=clock())
        applied = await files.apply(user or workshop.user, file, is_operator=True)
        return [change.change for change in applied]

    return write


@pytest.fixture
async def calendar(workshop):
    await workshop.owner.execute(
        "INSERT INTO calendars (user_id, name) VALUES (%s, 'holidays')", [workshop.user]
    )


@pytest.mark.usefixtures("calendar")
async def test_what_is_exported_and_applied_again_changes_nothing(workshop, files, apply):
    assert set(await apply(EVERYTHING)) == {"created"}
    before = await workshop.rows("agent_schedules", "name")

    exported = await files.export(workshop.user)

    assert exported.left_out == ()
    assert set(await apply(write_yaml(exported.agents))) == {"unchanged"}
    assert set(await apply(json.dumps(exported.agents))) == {"unchanged"}
    assert await workshop.rows("agent_schedules", "name") == before


@pytest.mark.usefixtures("calendar")
async def test_export_says_all_that_the_file_said_and_no_default(workshop, files, apply):
    await apply(EVERYTHING)

    other, watcher = (await files.export(workshop.user)).agents

    assert other == {"name": "other", "model": "openai:gpt-5-mini", "limits": {"steps": 5}}
    said = yaml.safe_load(EVERYTHING.partition("---")[0])
    said["limits"] = {"time": "10m", "idle": "1m30s", "tokens": 200_000, "cost": "0.1"}
    cron, interval, _single = said["schedules"]
    cron["limits"]["cost"] = "0.1"
    cron["day_limits"] = {"cost": "1", "tokens": 1_000_000}
    interval |= {"every": "1h30m", "start": "2026-12-01 08:00", "end": "2099-06-30 18:00:30"}
    assert watcher == said


def test_no_field_of_a_file_is_forgotten_in_what_is_exported():
    watcher = yaml.safe_load(EVERYTHING.partition("---")[0])
    schedules = watcher["schedules"]
    fields = {field.alias or name for name, field in ScheduleEntry.model_fields.items()}
    options = {option.place or name for name, option in options_of(RunOptions).items()}
    aliases = {"when", "(options)"}  # of cron; of the options, one by one
    no_more_than_asked = {"dry_run", "model"}  # not of files; its agent has one

    assert set(watcher) == set(AgentEntry.model_fields)
    assert {name for schedule in schedules for name in schedule} == (
        (fields - aliases) | (options - no_more_than_asked)
    )


@pytest.mark.usefixtures("calendar")
async def test_export_applied_by_another_person_makes_the_same_and_keeps_pauses(
    workshop, files, apply, bob
):
    await apply(EVERYTHING)
    await workshop.owner.execute(
        "INSERT INTO calendars (user_id, name) VALUES (%s, 'holidays')", [bob]
    )
    text = write_yaml((await files.export(workshop.user)).agents)

    assert set(await apply(text, user=bob)) == {"created"}

    assert write_yaml((await files.export(bob)).agents) == text
    rows = await workshop.rows("agent_schedules WHERE name = 'a cron'")
    assert [(r["is_active"], r["pause_note"]) for r in rows] == [(False, "until I say so")] * 2


async def test_a_pause_of_rotas_own_is_not_exported_and_told_of(workshop, files, apply, bob):
    text = (
        "name: watcher\nmodel: openai:x\nschedules:\n"
        "- {name: by rota, cron: '@daily'}\n"
        "- {name: by me, cron: '@daily', paused: until May}\n"
        "- {name: said since, cron: '@daily'}\n"
    )
    await apply(text)
    schedules = ScheduleService(workshop.database, clock=clock)
    for row in await workshop.rows("agent_schedules"):
        async with workshop.database.connection() as conn:
            await schedule_rows.pause(conn, row["id"], "3 runs in a row failed.")
    await schedules.pause(workshop.user, "said since", "I look at it")

    exported = await files.export(workshop.user)
    (agent,) = exported.agents
    await apply(write_yaml(exported.agents), user=bob)

    assert {one["name"]: one.get("paused") for one in agent["schedules"]} == {
        "by rota": None,
        "by me": "until May",
        "said since": "I look at it",
    }
    assert exported.left_out == (
        (
            "the pause of by rota, which rota paused here (3 runs in a row failed): it begins "
            "where you apply the file anew"
        ),
    )
    there = {one.name: one.state for one in await schedules.all(bob)}
    assert there == {"by rota": "active", "by me": "paused", "said since": "paused"}


@pytest.mark.parametrize(
    "prompt",
    [
        "2026-12-24",
        "yes",
        "null",
        "1e3",
        " padded ",
        "tab\there",
        "trailing \nspace",
        "# no comment",
        "a: b",
        "ends\n",
        "\n\nbegins",
        "\u202edrow",
        "\x1b[2J",
        "ümläut 👍",
        "- item",
        "{{ x }}",
        "&a *a !b",
        "x" * 500,
    ],
)
async def test_any_text_comes_back_as_it_was(workshop, files, prompt):
    agent = {"name": "a", "model": "openai:x", "system_prompt": prompt}

    (read,) = parse_agent_file(write_yaml([agent]), source="x", now=clock()).agents

    assert read.system_prompt == prompt


async def test_shared_agent_is_exported_by_name_and_its_schedules_are_told_of_otherwise(
    workshop, files
):
    await workshop.owner.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model)"
        " VALUES (NULL, 'house', 'scripted:x')"
    )
    await workshop.agent(ANSWER)
    await workshop.schedule()
    await workshop.schedule("house", name="of all")

    own = await files.export(workshop.user)
    shared = await files.export(workshop.user, ["house"])

    assert [agent["name"] for agent in own.agents] == ["watcher"]
    assert [schedule["name"] for schedule in own.agents[0]["schedules"]] == ["morning"]
    assert own.left_out == (
        "the schedule of all, of house: that agent is not your own; name it to export it too",
    )
    assert [schedule["name"] for schedule in shared.agents[0]["schedules"]] == ["of all"]
    with pytest.raises(NotFoundError):
        await files.export(workshop.user, ["nobody"])


async def test_export_holds_nothing_of_another_person(workshop, files, bob):
    await workshop.agent(ANSWER)
    await workshop.schedule()

    assert (await files.export(bob)).agents == ()
    with pytest.raises(NotFoundError):
        await files.export(bob, ["watcher"])


async def test_options_that_nobody_can_read_name_their_schedule(workshop, files):
    await workshop.agent(ANSWER)
    await workshop.schedule(options='{"limits": {"tokens": "many"}}')

    with pytest.raises(InvalidInputError, match="The schedule morning cannot be written"):
        await files.export(workshop.user)


async def test_validating_says_what_applying_would_do_and_writes_nothing(workshop, files, apply):
    text = "name: a\nmodel: scripted:x\nscript: {steps: [], answer: x}\n"
    file = parse_agent_file(text, source="a.yaml", now=clock())

    (change,) = await files.validate(workshop.user, file, is_operator=True)

    assert (change.name, change.change) == ("a", "created")
    with pytest.raises(NotFoundError):
        await files.export(workshop.user, ["a"])
    await apply(text)
    (change,) = await files.validate(workshop.user, file, is_operator=True)
    assert change.change == "unchanged"
    (change,) = await files.validate(workshop.user, file)
    assert change.change == "unchanged"
    other = parse_agent_file(text.replace("answer: x", "answer: y"), source="a.yaml", now=clock())
    with pytest.raises(InvalidInputError, match=r"a.yaml:3: script: scripts are the operator's"):
        await files.validate(workshop.user, other)


async def test_removed_agent_is_gone_and_its_results_stay(workshop, files):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    await workshop.service().execute(schedule)

    with pytest.raises(ConflictError, match="watcher is run by schedules: morning"):
        await files.remove(workshop.user, "watcher")
    removed = await files.remove(workshop.user, "watcher", with_schedules=True)

    assert (removed.agent, removed.schedules) == ("watcher", ("morning",))
    assert await workshop.rows("agent_schedules") == []
    assert len(await workshop.rows("agent_execution_results")) == 1
    with pytest.raises(NotFoundError):
        await files.remove(workshop.user, "watcher")


@pytest.mark.parametrize("status", ["waiting", "queued", "running", "suspended"])
async def test_agent_with_a_run_that_is_not_over_stays_with_its_schedules(workshop, files, status):
    await workshop.agent(ANSWER)
    await workshop.schedule()
    await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
        " VALUES (%s, 'watcher', 'manual', %s)",
        [workshop.user, status],
    )

    with pytest.raises(ConflictError, match="watcher has 1 run under way or waiting"):
        await files.remove(workshop.user, "watcher", with_schedules=True)

    assert len(await workshop.rows("agent_schedules")) == 1


@pytest.mark.parametrize("status", ["pending", "approved", "running", "unknown"])
async def test_agent_with_a_call_that_is_not_over_stays(workshop, files, status):
    await workshop.agent(ANSWER)
    await workshop.owner.execute("ALTER TABLE pending_actions DISABLE TRIGGER USER")
    await workshop.owner.execute(
        "INSERT INTO pending_actions"
        " (user_id, agent_name, tool_name, arguments, arguments_hash, status)"
        " VALUES (%s, 'watcher', 'send', '{}', 'x', %s)",
        [workshop.user, status],
    )

    with pytest.raises(ConflictError, match="watcher has 1 call that did not end"):
        await files.remove(workshop.user, "watcher")


async def test_shared_agent_and_that_of_another_person_stay(workshop, files, bob):
    await workshop.agent(ANSWER)
    await workshop.owner.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model)"
        " VALUES (NULL, 'house', 'scripted:x')"
    )

    with pytest.raises(ConflictError, match="house is a shared agent"):
        await files.remove(workshop.user, "house")
    with pytest.raises(NotFoundError):
        await files.remove(bob, "watcher")

    names = [row["agent_name"] for row in await workshop.rows("agent_configurations")]
    assert {"house", "watcher"} <= set(names)


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 61, 3600, 5400, 86399, 86400, 694861, 316224000])
def test_length_is_written_as_it_is_read(seconds):
    length = timedelta(seconds=seconds)

    assert parse_duration(written_duration(length), field="x") == length


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # 02:30 in Berlin, for the first time
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # and for the second
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        datetime(2026, 12, 24, 17, 0, 5, tzinfo=UTC),
        datetime(2026, 12, 24, 17, 0, 5, 123, tzinfo=UTC),
        datetime(2026, 11, 1, 4, 45, tzinfo=UTC),
    ],
)
def test_moment_is_written_as_it_is_read(instant, zone):
    here = ZoneInfo(zone)

    written = written_moment(instant, here)

    assert parse_moment(written, here, now=clock(), field="x", alone="future") == instant
