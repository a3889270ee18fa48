"""Agents from the command line: files validated, agents exported and removed."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError
from rota.settings import API_KEYS

GOOD = "name: watcher\nmodel: openai:x\nschedules: [{name: morning, cron: '@daily'}]\n"
BAD = "name: watcher\nmodel: openai:x\ntools: [nothing_such]\n"


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


def test_every_file_is_validated_and_one_that_is_not_valid_gives_exit_code_2(rota, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(BAD)

    both = rota("agents", "validate", bad, good, tmp_path / "none.yaml")

    assert both.exit_code == 2
    assert f"{good}: valid.\n  agent watcher would be created\n" in both.stdout
    assert "bad.yaml:3: tools[0]: no tool 'nothing_such'" in both.stderr
    assert "none.yaml cannot be read" in both.stderr
    (checked,) = json.loads(rota("agents", "validate", good, "--json").stdout)
    assert (checked["valid"], checked["error"], len(checked["changes"])) == (True, None, 2)
    assert json.loads(rota("agents", "export", "--json").stdout) == []


def test_export_is_a_file_that_applies_without_a_change(rota, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(GOOD)
    rota("agents", "apply", file)
    said = rota("agents", "export", "watcher").stdout
    assert said == (
        "name: watcher\nmodel: openai:x\nschedules:\n- name: morning\n  cron: '@daily'\n"
    )
    file.write_text(said)

    assert "would be" not in rota("agents", "validate", file).stdout


def test_agent_is_removed_with_its_schedules_if_told_so(rota, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(GOOD)
    rota("agents", "apply", file)

    said = rota("agents", "remove", "watcher", "--with-schedules").stdout

    assert said == "Removed watcher.\nRemoved its schedule morning.\n"
    assert json.loads(rota("schedules", "list", "--json").stdout) == []


def test_apply_says_what_changed_and_warns_of_what_only_a_run_would_find(rota, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(GOOD)
    rota("agents", "apply", file)
    file.write_text(
        GOOD.replace("model: openai:x", "model: openai:y\nmodel_settings: {endpoint: house}")
    )

    validated, applied = rota("agents", "validate", file), rota("agents", "apply", file)

    assert "  agent watcher would be updated (model, model_settings.endpoint)\n" in validated.stdout
    assert "agent watcher: updated (model, model_settings.endpoint)\n" in applied.stdout
    assert "Warning: agent watcher: there is no endpoint 'house' here" in validated.stderr
    assert "Warning: agent watcher: there is no endpoint 'house' here" in applied.stderr
    assert (validated.exit_code, applied.exit_code) == (0, 0)


def test_validate_names_all_faults_and_typos_in_what_a_tool_is_asked(rota, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        "name: watcher\nmodel: openai:x\nmax_stps: 3\ntools: [mail_search]\nlimit: {}\n"
    )
    shown = json.loads(rota("agents", "validate", file, "--json").stdout)
    assert shown[0]["errors"] == [
        "a.yaml:3: max_stps: there is no such field; did you mean 'max_steps'?",
        "a.yaml:5: limit: there is no such field; did you mean 'limits'?",
    ]
    asks = "precheck: {tool: mail_search, arguments: {qery: x}}"
    file.write_text(
        "name: watcher\nmodel: openai:x\ntools: [mail_search]\n"
        f"schedules: [{{name: morning, cron: '@daily', prompt: Look., {asks}}}]\n"
    )
    said = rota("agents", "validate", file)
    assert (said.exit_code, said.stderr) == (
        2,
        (
            "a.yaml:4: schedules[0].precheck: the pre-check mail_search has no argument 'qery'; "
            "did you mean 'query'?\n"
        ),
    )


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("openai:x", "OPENAI_API_KEY"),
        ("perplexity:x", "PPLX_API_KEY"),
        ("ollama:x", None),
        ("openai:x\nmodel_settings: {endpoint: house}", None),
    ],
)
def test_api_key_that_the_model_needs_and_nobody_has_is_warned_of(
    rota, tmp_path, monkeypatch, model, missing
):
    for name in API_KEYS.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROTA_ENDPOINTS", "house=http://127.0.0.1:1/v1")
    file = tmp_path / "a.yaml"
    file.write_text(f"name: watcher\nmodel: {model}\n")
    said = (
        f"Warning: agent watcher: the worker needs {missing}, which is not set; write it into "
        "~/.config/rota/.env and start rota again.\n"
    )

    for command in ("validate", "apply"):
        assert rota("agents", command, file).stderr == (said if missing else "")
    if missing:
        monkeypatch.setenv(missing, "sk-of-the-test")
        assert rota("agents", "apply", file).stderr == ""


async def test_key_that_a_worker_has_or_lacks_counts_before_that_of_the_terminal(
    rota, tmp_path, monkeypatch, owner
):
    file = tmp_path / "a.yaml"
    file.write_text("name: watcher\nmodel: openai:x\n")
    await owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version, settings)"
        " VALUES (gen_random_uuid(), 'worker', 'elsewhere', 1, '1', '{OPENAI_API_KEY}')"
    )
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert (await asyncio.to_thread(rota, "agents", "apply", file)).stderr == ""

    await owner.execute("UPDATE rota.processes SET settings = '{}'")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    said = (await asyncio.to_thread(rota, "agents", "apply", file)).stderr
    assert "the worker needs OPENAI_API_KEY, which is not set" in said


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        (
            {},
            ["the worker needs OPENAI_API_KEY", "the fallback anthropic:y needs ANTHROPIC_API_KEY"],
        ),
        ({"OPENAI_API_KEY": "sk"}, ["the fallback anthropic:y needs ANTHROPIC_API_KEY"]),
        ({"OPENAI_API_KEY": "sk", "ANTHROPIC_API_KEY": "sk"}, []),
    ],
    ids=str,
)
def test_the_key_of_each_fallback_is_looked_for_once(rota, tmp_path, monkeypatch, keys, warned):
    for name in API_KEYS.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "a.yaml"
    models = "[openai:z, 'anthropic:y', 'anthropic:x']"
    file.write_text(f"name: watcher\nmodel: openai:x\nfallback_models: {models}\n")
    advice = ", which is not set; write it into ~/.config/rota/.env and start rota again"

    said = rota("agents", "validate", file).stderr

    told = "; ".join(f"{one}{advice}" for one in warned)
    assert said == (f"Warning: agent watcher: {told}.\n" if warned else "")


OWN_CODE = "name: own\nmodel: callable:nothing_here\n"
LACKS = "its runs fail on a worker whose ROTA_CALLABLES lacks it."


@pytest.mark.parametrize(
    ("callables", "near"), [("", ""), ("nothing_her=m:f", " (did you mean nothing_her?)")]
)
def test_a_callable_that_this_terminal_does_not_name_is_warned_of(
    rota, tmp_path, monkeypatch, callables, near
):
    monkeypatch.setenv("ROTA_CALLABLES", callables)
    file = tmp_path / "a.yaml"
    file.write_text(OWN_CODE)
    named = f"this terminal's ROTA_CALLABLES does not name nothing_here{near}; {LACKS}\n"
    for command in ("validate", "apply"):
        assert rota("agents", command, file).stderr == f"Warning: agent own: {named}"

    rota("schedules", "add", "own", "@daily", "--name", "morning", "--prompt", "x")
    edit = ["schedules", "edit", "morning", "--precheck", "callable:nothing_here"]
    assert f"Warning: {named}" == rota(*edit).stderr

    monkeypatch.setenv("ROTA_CALLABLES", "nothing_here=m:f")
    assert rota("agents", "apply", file).stderr == ""
    assert rota(*edit).stderr == ""


def test_several_files_are_applied_or_none_of_them(rota, tmp_path):
    names = ("a", "b", "c")
    a, b, c = files = [tmp_path / f"{name}.yaml" for name in names]
    for name, file in zip(names, files, strict=True):
        file.write_text(f"name: {name}\nmodel: ollama:x\n")
    b.write_text("name: b\nmodel: ollama:x\ntools: [nothing_such]\n")
    c.write_text("name: c\nmodel: scripted:x\n")

    with pytest.raises(InvalidInputError) as caught:
        rota("agents", "apply", a, b, c)
    b_is_wrong, c_is_wrong = caught.value.message.splitlines()
    assert b_is_wrong.startswith("b.yaml:3: tools[0]: no tool 'nothing_such'")
    assert c_is_wrong.startswith("c.yaml:2: model: scripted:x follows a script")
    with pytest.raises(InvalidInputError) as caught:
        rota("agents", "apply", tmp_path / "none.yaml", a, tmp_path / "nor_this.yaml")
    assert len(caught.value.message.splitlines()) == 2
    assert json.loads(rota("agents", "export", "--json").stdout) == []

    b.write_text("name: b\nmodel: ollama:x\n")
    c.write_text("name: c\nmodel: ollama:x\n")
    applied = rota("agents", "apply", a, b, c, a).stdout
    assert applied == "agent a: created\nagent b: created\nagent c: created\n"


def test_an_agent_or_schedule_in_two_files_is_refused(rota, tmp_path):
    text = "name: {}\nmodel: ollama:x\nschedules: [{{name: daily, cron: '@daily', prompt: x}}]\n"
    (tmp_path / "x").mkdir()
    one, other = tmp_path / "a.yaml", tmp_path / "x" / "a.yaml"
    one.write_text(text.format("watcher"))
    other.write_text(text.format("watcher"))

    with pytest.raises(InvalidInputError) as caught:
        rota("agents", "apply", one, other)

    assert caught.value.message.splitlines() == [
        "a.yaml:1: name: a.yaml has an agent 'watcher' too.",
        "a.yaml:3: schedules[0].name: a.yaml has a schedule 'daily' too.",
    ]
    assert json.loads(rota("agents", "export", "--json").stdout) == []
