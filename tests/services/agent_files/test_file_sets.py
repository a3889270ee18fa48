"""What a person set up as a set of files: exported, applied again, changed on both sides."""

from __future__ import annotations

import json
from datetime import date

import pytest

from rota.domain.errors import ConflictError, InvalidInputError
from rota.domain.schedules.calendars import CalendarDay
from rota.services.agent_files.applying import AgentFileService
from rota.services.agent_files.applying_sets import FileSetService
from rota.services.agents.preferences import PreferenceService
from rota.services.approvals.rule_files import RuleEntry
from rota.services.approvals.rules import RuleService
from rota.services.schedules.calendars import CalendarService
from rota.services.schedules.service import ScheduleEdit, ScheduleService
from tests.services.agent_files.test_exporting import EVERYTHING
from tests.services.harness import clock

WATCHER, OTHER = EVERYTHING.split("---\n")
SMALL = """\
name: small
model: openai:gpt-5-mini
tools: [look]
schedules:
- name: morning
  cron: 0 7 * * *
  prompt: Look.
"""


@pytest.fixture
def schedules(database):
    return ScheduleService(database, clock=clock)


@pytest.fixture
def rules(database):
    return RuleService(database, clock=clock)


@pytest.fixture
def sets(database, schedules, rules):
    return FileSetService(database, AgentFileService(database, schedules), rules, clock=clock)


@pytest.fixture
def calendars(database):
    return CalendarService(database, clock=clock)


@pytest.fixture
def apply(sets, alice, workshop):
    async def write(files, **options):
        return await sets.apply(options.pop("user", alice), files, is_operator=True, **options)

    return write


async def told(applied):
    return {(c.kind, c.name): c.change for c in (await applied).changes}


async def set_everything_up(workshop, apply, calendars, rules):
    me = workshop.user
    days = [
        CalendarDay(date(2026, 12, 25), date(2026, 12, 25), "Christmas: Day"),
        CalendarDay(date(2026, 12, 30), date(2027, 1, 2)),
    ]
    await calendars.add_days(me, "holidays", days)
    await PreferenceService(workshop.database).set(me, "send", "requires_approval")
    await apply({"agents/watcher.yaml": WATCHER, "agents/other.yaml": OTHER})
    await rules.add_entries(
        me,
        [
            RuleEntry("require", "send", ('to email_domain "example.org"',), agent="watcher"),
            RuleEntry("deny", "send", schedule="a cron", note="never: at night"),
            RuleEntry("allow", "look", expires="2099-01-31 10:00", risk="low"),
            RuleEntry("allow", "look", uses=3),
        ],
    )


async def test_an_export_applied_again_is_a_no_op_byte_for_byte(
    workshop, sets, apply, calendars, rules
):
    await set_everything_up(workshop, apply, calendars, rules)

    first = await sets.export(workshop.user)
    applied = await apply(first.files, prune=True)
    second = await sets.export(workshop.user)

    assert {change.change for change in applied.changes} == {"unchanged"}
    assert applied.diffs == ()
    assert first == second
    assert list(first.files) == [
        "agents/other.yaml",
        "agents/watcher.yaml",
        "calendars.yaml",
        "rules.yaml",
        "settings.yaml",
        ".rota-export.json",
    ]
    assert "1 of your rules" in first.left_out[0]


async def test_an_export_makes_the_same_elsewhere(workshop, sets, apply, calendars, rules, bob):
    await set_everything_up(workshop, apply, calendars, rules)
    exported = await sets.export(workshop.user)

    applied = await apply(exported.files, user=bob)
    there = await sets.export(bob)

    assert applied.passed_over == ()  # what was seen of alice says nothing of bob
    plain = {name: text for name, text in exported.files.items() if name != ".rota-export.json"}
    assert {n: t for n, t in there.files.items() if n != ".rota-export.json"} == plain
    assert {r.draft.tool for r in await rules.list_rules(bob)} == {"send", "look"}


async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_written(workshop, apply):
    files = {
        "agents/small.yaml": SMALL.replace("[look]", "[lok]"),
        "agents/bad.yaml": "name: bad\nmodel: x\n",
        "rules.yaml": "- allow: send\n  agent: nobody\n- refuse: send\n  uses: 3\n",
        "calendars.yaml": '- name: c\n  days: {"2026-13-01": x}\n',
        "settings.yaml": "time_zone: Nowhere/Town\n",
    }
    with pytest.raises(InvalidInputError) as caught:
        await apply(files)
    told_at_once = caught.value.message

    del files["rules.yaml"], files["calendars.yaml"], files["settings.yaml"]
    files["rules.yaml"] = "- allow: send\n  agent: nobody\n"
    with pytest.raises(InvalidInputError) as caught:
        await apply(files)

    for part in ("rules.yaml: rule 2:", "calendars.yaml: calendar 1:", "settings.yaml:"):
        assert part in told_at_once
    for part in ("agents/bad.yaml:2:", "agents/small.yaml:3:", "rules.yaml: rule 1: "):
        assert part in caught.value.message
    assert [row for row in await workshop.rows("agent_configurations") if row["user_id"]] == []


async def test_a_rehearsal_shows_the_diff_and_changes_nothing(workshop, apply, sets):
    await apply({"agents/small.yaml": SMALL})
    before = await sets.export(workshop.user)

    seen = await apply(
        {"agents/small.yaml": SMALL.replace("Look.", "Look again.")}, is_rehearsal=True
    )

    (diff,) = seen.diffs
    assert diff.file == "agents/small.yaml"
    assert "-  prompt: Look.\n+  prompt: Look again.\n" in diff.diff
    assert await sets.export(workshop.user) == before


async def test_what_no_file_names_is_kept_and_pruned_when_asked(
    workshop, apply, calendars, rules, sets
):
    await set_everything_up(workshop, apply, calendars, rules)
    me = workshop.user
    files = {
        "agents/small.yaml": SMALL,
        "calendars.yaml": "[]\n",
        "rules.yaml": "- require: send\n",
    }

    kept = await told(apply(files))
    pruned = await told(apply(files, prune=True))
    left = await sets.export(me)

    assert kept["rule", "refuse send"] == "kept"
    assert pruned["agent", "watcher"] == pruned["schedule", "a cron"] == "removed"
    assert pruned["calendar", "holidays"] == pruned["rule", "refuse send"] == "removed"
    assert left.files["rules.yaml"] == "- require: send\n"
    assert set(left.files) >= {"agents/small.yaml"}
    assert "agents/watcher.yaml" not in left.files
    # What ends by itself is in no file, so no file removes it.
    assert [r.draft.uses_left for r in await rules.list_rules(me)] == [3, None]
    # There was no file for settings.
    assert "send: requires_approval" in left.files["settings.yaml"]


async def test_pruning_spares_what_there_is_no_file_for(workshop, apply, calendars, rules):
    await set_everything_up(workshop, apply, calendars, rules)

    changes = await told(apply({"settings.yaml": "time_zone: Asia/Tokyo\n"}, prune=True))

    assert changes == {("settings", "settings"): "updated"}
    own = [row for row in await workshop.rows("agent_configurations") if row["user_id"]]
    assert {row["agent_name"] for row in own} == {"watcher", "other"}
    assert len(await workshop.rows("approval_rules")) == 4


async def test_a_thing_and_its_file_that_both_changed_conflict(
    workshop, apply, sets, schedules, alice
):
    await apply({"agents/small.yaml": SMALL})
    files = dict((await sets.export(alice)).files)
    await schedules.edit(alice, "morning", ScheduleEdit(prompt="Changed here."))
    mine = SMALL.replace("Look.", "Changed in git.")

    with pytest.raises(ConflictError) as caught:
        await apply(files | {"agents/small.yaml": mine})
    kept = await schedules.get(alice, "morning")
    forced = await told(apply(files | {"agents/small.yaml": mine}, force=True))

    assert "The agent small was changed here" in caught.value.message
    assert "agents/small.yaml changed too" in caught.value.message
    assert kept.prompt == "Changed here."
    assert forced["schedule", "morning"] == "updated"


async def test_what_only_changed_here_is_passed_over_and_told(apply, sets, schedules, alice):
    await apply({"agents/small.yaml": SMALL})
    files = (await sets.export(alice)).files
    await schedules.edit(alice, "morning", ScheduleEdit(prompt="Changed here."))

    applied = await apply(files)

    assert [one.file for one in applied.passed_over] == ["agents/small.yaml"]
    assert (await schedules.get(alice, "morning")).prompt == "Changed here."


async def test_files_go_on_to_be_applied_without_a_new_export(apply, sets, schedules, alice):
    """What was applied last counts, too: a note in git is as old as the last export."""
    await apply({"agents/small.yaml": SMALL})
    note = {".rota-export.json": (await sets.export(alice)).files[".rota-export.json"]}

    for prompt in ("Second.", "Third.", "Look."):
        changed = SMALL.replace("Look.", prompt)
        applied = await apply(note | {"agents/small.yaml": changed})
        assert applied.passed_over == ()
        assert (await schedules.get(alice, "morning")).prompt == prompt

    await schedules.edit(alice, "morning", ScheduleEdit(prompt="Changed here."))
    with pytest.raises(ConflictError):
        await apply(note | {"agents/small.yaml": SMALL.replace("Look.", "Fourth.")})


async def test_what_was_removed_here_is_not_made_again_without_force(
    database, apply, sets, schedules, alice
):
    await apply({"agents/small.yaml": SMALL})
    files = (await sets.export(alice)).files
    await AgentFileService(database, schedules).remove(alice, "small", with_schedules=True)

    applied = await apply(files)
    assert "The agent small was removed here since" in applied.passed_over[0].why
    with pytest.raises(ConflictError, match="removed here"):
        await apply(files | {"agents/small.yaml": SMALL.replace("Look.", "Other.")})
    forced = await told(apply(files, force=True))

    assert forced["agent", "small"] == "created"


async def test_pruning_refuses_what_was_changed_here(apply, sets, schedules, alice):
    other = "name: other\nmodel: openai:gpt-5-mini\n"
    await apply({"agents/small.yaml": SMALL, "agents/other.yaml": other})
    files = dict((await sets.export(alice)).files)
    await schedules.edit(alice, "morning", ScheduleEdit(prompt="Changed here."))
    del files["agents/small.yaml"]

    with pytest.raises(ConflictError, match=r"agents/small\.yaml is gone too"):
        await apply(files, prune=True)

    assert (await schedules.get(alice, "morning")).prompt == "Changed here."


async def test_a_pause_is_no_change(apply, sets, schedules, alice):
    await apply({"agents/small.yaml": SMALL})
    files = (await sets.export(alice)).files
    await schedules.pause(alice, "morning", "on holiday")

    applied = await apply(files | {"agents/small.yaml": SMALL.replace("Look.", "Other.")})

    assert applied.passed_over == ()
    assert (await schedules.get(alice, "morning")).state == "paused"


async def test_an_unchanged_script_needs_no_operator(apply, sets, alice):
    script = "name: plan\nmodel: scripted:x\nscript: {steps: [], answer: Fine.}\n"
    await apply({"agents/plan.yaml": script})
    files = (await sets.export(alice)).files

    again = await sets.apply(alice, files)
    with pytest.raises(InvalidInputError, match="scripts are the operator's"):
        await sets.apply(alice, {"agents/plan.yaml": script.replace("Fine.", "Other.")})

    assert {change.change for change in again.changes} == {"unchanged"}


async def test_a_rule_that_has_ended_is_told_of_and_stops_nothing(apply, rules, alice):
    applied = await apply({"rules.yaml": "- refuse: send\n  expires: '2020-01-01'\n"})

    assert "it has ended" in (applied.changes[0].doubt or "")
    assert await rules.list_rules(alice) == ()


@pytest.mark.parametrize(
    "name", ["../x.yaml", "/etc/x.yaml", "agents/../../x.yaml", ".hidden.yaml", "notes.txt", ""]
)
async def test_names_of_files_stay_inside(apply, name):
    with pytest.raises(InvalidInputError, match="is no name of a file"):
        await apply({name: SMALL})


@pytest.mark.parametrize(
    "note",
    ["<<<<<<< HEAD", "[]", "{}", '{"format": 1, "person": 1, "files": {"a": 1}}', "[" * 9000],
)
async def test_a_damaged_note_of_an_export_is_told_of(apply, note, alice):
    if note.startswith('{"format"'):
        note = json.dumps(json.loads(note) | {"person": str(alice)})
    with pytest.raises(InvalidInputError, match="is not as `rota export` writes it"):
        await apply({".rota-export.json": note, "agents/small.yaml": SMALL})


async def test_a_stranger_sees_and_changes_nothing(workshop, apply, calendars, rules, sets, bob):
    await set_everything_up(workshop, apply, calendars, rules)
    before = await sets.export(workshop.user)

    assert "watcher" not in "".join((await sets.export(bob)).files.values())
    await apply({"agents/small.yaml": SMALL, "rules.yaml": "[]"}, user=bob, prune=True)

    assert await sets.export(workshop.user) == before
