"""`rota export` and `rota apply`: a directory that git can keep."""

from __future__ import annotations

import json
import os
import shlex
import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import ConflictError, InvalidInputError

SMALL = "name: small\nmodel: openai:x\nschedules:\n- name: morning\n  cron: '@daily'\n"
OTHER = "name: other\nmodel: openai:x\n"
HOWTO = Path(__file__).parents[3] / "docs/howto/git.md"


@pytest.fixture
def rota(database_url, alice, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def folder(rota, tmp_path):
    """A directory that an export wrote, of two agents."""
    made = tmp_path / "files"
    (made / "agents").mkdir(parents=True)
    (made / "agents/small.yaml").write_text(SMALL)
    (made / "agents/other.yaml").write_text(OTHER)
    rota("apply", made)
    rota("export", made)
    return made


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_an_export_and_an_apply_are_no_ops_the_second_time(rota, folder):
    before = contents(folder)

    assert rota("export", folder).stdout == f"{folder} is as it is here.\n"
    said = rota("apply", folder, "--prune").stdout

    assert contents(folder) == before
    assert set(before) >= {"agents/small.yaml", "agents/other.yaml", ".rota-export.json"}
    assert {line.rpartition(": ")[2] for line in said.splitlines()} == {"unchanged"}
    assert rota("apply", folder, "--diff").stdout == f"{folder} is as it is here.\n"
    mode = stat.S_IMODE((folder / "agents/small.yaml").stat().st_mode)
    assert mode == 0o644


def test_a_diff_and_a_dry_run_show_and_change_nothing(rota, folder):
    file = folder / "agents/small.yaml"
    file.write_text(file.read_text().replace("@daily", "0 9 * * *"))

    diff = rota("apply", folder, "--diff").stdout
    dry = rota("apply", folder, "--dry-run").stdout

    assert "-  cron: '@daily'" in diff
    assert "+  cron: 0 9 * * *" in diff
    assert "schedule morning would be updated (cron)" in dry
    assert "schedule morning: updated (cron)" in rota("apply", folder).stdout


def test_pruning_says_first_what_it_removes(rota, folder):
    (folder / "agents/other.yaml").unlink()

    assert "would be removed" in rota("apply", folder, "--prune", "--dry-run").stdout
    assert "other" in rota("agents", "list").stdout
    said = rota("apply", folder, "--prune").stdout

    first = said.index("No file names these, so they will be removed:\n  agent other\n")
    assert first < said.index("agent other: removed")
    assert "other" not in rota("agents", "list").stdout


def test_an_export_removes_only_files_that_an_export_wrote(rota, folder):
    rota("agents", "remove", "other")
    rota("agents", "remove", "small", "--with-schedules")
    (folder / "agents/small.yaml").write_text("# mine by now\n" + SMALL)
    (folder / "agents/notes.yaml").write_text("# mine\n")

    assert "is of something that is gone; --prune removes it" in rota("export", folder).stdout
    with pytest.raises(ConflictError, match=r"small.yaml is not as an export wrote it"):
        rota("export", folder, "--prune")
    assert (folder / "agents/other.yaml").exists()
    rota("export", folder, "--prune", "--force")

    assert sorted(path.name for path in (folder / "agents").iterdir()) == ["notes.yaml"]


def test_an_export_writes_over_nothing_of_another(rota, folder):
    file = folder / "agents/small.yaml"
    file.write_text("# a comment\n" + SMALL)

    with pytest.raises(ConflictError, match="Nothing was written"):
        rota("export", folder)

    assert file.read_text().startswith("# a comment")
    rota("export", folder, "--force")
    assert file.read_text() == SMALL


@pytest.mark.parametrize("name", ["agents", "agents/small.yaml", "rules.yaml"])
@pytest.mark.parametrize("command", ["export", "apply"])
def test_links_lead_nowhere(rota, folder, tmp_path, name, command):
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    before = contents(tmp_path)

    with pytest.raises(InvalidInputError, match="links are not followed"):
        rota(command, folder, "--force")

    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["../outside.yaml", "/{}/outside.yaml", "agents/../../outside.yaml"]
)
def test_a_forged_note_removes_nothing_outside(rota, folder, tmp_path, name):
    outside = tmp_path / "outside.yaml"
    outside.write_text("x")
    note = json.loads((folder / ".rota-export.json").read_text())
    note["files"][name.format(tmp_path)] = {
        "text": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",  # of "x"
        "content": "0" * 64,
    }
    (folder / ".rota-export.json").write_text(json.dumps(note))

    rota("export", folder, "--prune", "--force")

    assert outside.read_text() == "x"


def test_a_folder_below_agents_is_read_and_others_are_not(rota, folder):
    (folder / "agents/team/a").mkdir(parents=True)
    (folder / "agents/other.yaml").rename(folder / "agents/team/a/other.yaml")
    (folder / "docs").mkdir()
    (folder / "docs/compose.yaml").write_text("services: {}\n")
    (folder / ".hidden.yaml").write_text("services: {}\n")

    assert "removed" not in rota("apply", folder, "--prune").stdout


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("compose.yaml", "services: {}\n", "compose.yaml:1: "),
        ("agents/small.yaml", b"\xff\xfe", "is not UTF-8 text"),
        ("agents/twice.yaml", SMALL, "agents/small.yaml has an agent 'small' too"),
        ("rules.yaml", "- allow: [send]\n", "rules.yaml: rule 1: `allow` is a text"),
        ("calendars.yaml", "- nam: x\n", "calendars.yaml: calendar 1: there is no field 'nam'"),
    ],
)
def test_one_wrong_file_stops_all(rota, folder, name, text, said):
    (folder / "agents/other.yaml").write_text("name: other\nmodel: openai:changed\n")
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(InvalidInputError) as caught:
        rota("apply", folder)

    assert said in caught.value.message
    assert "openai:changed" not in rota("agents", "show", "other").stdout


def test_a_directory_without_files_removes_nothing(rota, folder, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(InvalidInputError, match="has no YAML or JSON files"):
        rota("apply", tmp_path / "empty", "--prune")
    with pytest.raises(InvalidInputError, match="is no directory"):
        rota("apply", tmp_path / "none", "--prune")

    assert "other" in rota("agents", "list").stdout


def test_json_has_the_changes_and_with_diff_the_diffs(rota, folder):
    (folder / "agents/other.yaml").write_text("name: other\nmodel: openai:y\n")

    shown = json.loads(rota("apply", folder, "--diff", "--json").stdout)
    done = json.loads(rota("apply", folder, "--json").stdout)
    written = json.loads(rota("export", folder, "--force", "--json").stdout)

    assert shown["is_rehearsal"] is True
    assert [one["file"] for one in shown["diffs"]] == ["agents/other.yaml"]
    assert done["is_rehearsal"] is False
    assert "diffs" not in done
    assert {"kind", "name", "change", "doubt", "fields"} == set(done["changes"][0])
    assert set(written) == {"written", "unchanged", "removed", "kept", "left_out"}


def test_the_workflow_of_the_howto_runs_what_there_is(rota, folder, monkeypatch):
    """Its lines are typed here in order, as a runner would, but for what installs rota."""
    text = HOWTO.read_text().split("```yaml\n# .github/workflows/rota.yaml\n")[1].split("```")[0]
    workflow = yaml.safe_load(text)
    folder.rename(folder.parent / "rota-files")
    monkeypatch.chdir(folder.parent)
    typed = []
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            line = step.get("run", "")
            if not line.startswith("rota "):
                continue
            words = [
                str(path)
                for word in shlex.split(line)[1:]
                for path in (sorted(Path().glob(word)) if "*" in word else [word])
            ]
            assert rota(*words).exit_code == 0
            typed.append(line)

    assert len(typed) == 3
    env = workflow["jobs"]["apply"]["steps"][-1]["env"]
    assert env["ROTA_DATABASE_URL"] == "${{ secrets.ROTA_DATABASE_URL }}"
    assert "env" not in workflow["jobs"]["check"]["steps"][-1]
    assert workflow[True].keys() == {"pull_request", "push"}  # YAML reads `on` as true
    assert os.environ["ROTA_DATABASE_URL"]
