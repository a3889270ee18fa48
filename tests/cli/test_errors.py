"""Bad input is one clear sentence and a non-zero exit, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

GOOD = "name: a\nmodel: scripted:x\nscript: {answer: hi}\n"
UNKNOWN_TOOL = ("name: a\nmodel: openai:x\ntools: [mail_serch]", "t.yaml:3", "'mail_search'")
FILES = {
    "broken template": ('name: a\nmodel: scripted:x\nscript: {answer: "{{ x"}', "t.yaml:3", "line"),
    "broken say": (
        'name: a\nmodel: scripted:x\nscript: {steps: [{calls: [{tool: t}], say: "{{ x"}]}',
        "t.yaml:3",
        "say of step 0",
    ),
    "no yaml": ("name: [a", "t.yaml:", "expected"),
    "twice": ("name: a\nname: b\nmodel: openai:x", "t.yaml:2", "twice"),
    "bad name": ("name: Big Name\nmodel: openai:x", "t.yaml:1", "name"),
    "unknown field": ("name: a\nmodel: openai:x\nmodle: y", "t.yaml:3", "no such field"),
    "bad cron": (GOOD + 'schedules:\n  - {name: s, cron: "61 * * * *"}', "t.yaml:5", "minute"),
    "bad zone": (
        GOOD + 'schedules:\n  - {name: s, cron: "* * * * *", time_zone: Mars/Base}',
        "t.yaml:5",
        "Mars/Base",
    ),
    "bad phrase": (GOOD + "schedules:\n  - {name: s, when: somedays at 7}", "t.yaml:5", "somedays"),
    "two rules": (GOOD + "schedules:\n  - {name: s, every: 1h, cron: '@daily'}", "t.yaml:5", "one"),
    "bad policy": (
        GOOD + "schedules:\n  - {name: s, every: 1h, overlap: maybe}",
        "t.yaml:5",
        "buffer_one",
    ),
    "a date": ("name: a\nmodel: openai:x\nmodel_settings: {a: 2026-01-01}", "t.yaml:3", "quotes"),
    "a loop": ("a: &a [*a]", "t.yaml", "deeply"),
    "a NUL": ('name: a\nmodel: openai:x\nsystem_prompt: "\\0"', "t.yaml:3", "NUL"),
    "a merge key": ("x: &x {name: a}\n<<: *x", "t.yaml:2", "write it out"),
    "nothing": ("", "t.yaml", "no agent"),
    "a second of a name": (f"{GOOD}---\n{GOOD}", "t.yaml:5", "second agent"),
}


@pytest.fixture
def rota(database_url, alice):
    environment = os.environ | {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
    }

    def run(*arguments, expect, **more):
        finished = subprocess.run(
            [sys.executable, "-m", "rota", *arguments],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == expect, finished.stdout + finished.stderr
        assert "Traceback" not in finished.stderr
        assert finished.stdout == ""
        return finished.stderr.strip()

    return run


@pytest.mark.parametrize("name", FILES)
def test_agent_file_is_refused_with_its_line(name):
    from rota.domain.errors import InvalidInputError
    from rota.services.agent_files.reading import parse_agent_file

    text, line, said = FILES[name]
    with pytest.raises(InvalidInputError) as caught:
        parse_agent_file(text, source="t.yaml", now=datetime.now(UTC))

    assert caught.value.message.startswith(line)
    assert said in caught.value.message


def test_file_is_applied_whole_or_not_at_all(rota, tmp_path, owner_url):
    import psycopg

    text, _, said = UNKNOWN_TOOL
    file = tmp_path / "t.yaml"
    file.write_text("name: first\nmodel: openai:x\n---\n" + text, encoding="utf-8")

    message = rota("agents", "apply", str(file), expect=2)

    assert message.startswith("t.yaml:6")
    assert said in message
    with psycopg.connect(owner_url) as conn:
        assert conn.execute(
            "SELECT count(*) FROM agent_configurations WHERE agent_name = 'first'"
        ).fetchone() == (0,)


CASES = {
    "cron": (["schedules", "add", "orchestrator", "99 * * * *"], 2, "minute"),
    "zone": (["schedules", "add", "orchestrator", "@daily", "--time-zone", "X/Y"], 2, "X/Y"),
    "agent": (["schedules", "add", "nobody", "@daily"], 3, "nobody"),
    "run of no agent": (["run", "nobody"], 3, "nobody"),
    "schedule": (["schedules", "show", "nothing"], 3, "nothing"),
    "result": (["results", "show", "12345678"], 3, "12345678"),
    "status": (["results", "list", "--status", "odd"], 2, "odd"),
    "notification": (["notifications", "read", "12345678"], 3, "12345678"),
    "service": (["connections", "remove", "gmail"], 3, "gmail"),
    "file": (["agents", "apply", "/no/such/file.yaml"], 2, "cannot be read"),
    "person": (["agents", "list", "--as", "eve@example.com"], 3, "eve@example.com"),
    "url": (["agents", "list", "--database-url", "mysql://x"], 2, "postgresql://"),
    "server": (["agents", "list", "--database-url", "postgresql://x@127.0.0.1:1/x"], 5, "answer"),
    "mailbox": (["up", "--mail", "/no/such/mbox", "--data-dir", "/tmp"], 6, "/no/such/mbox"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_its_exit_code(rota, case):
    arguments, code, said = CASES[case]

    message = rota(*arguments, expect=code)

    assert said in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROTA_CONCURRENCY", "many"),
        ("ROTA_LOG_LEVEL", "loud"),
        ("ROTA_UNWRAPPED_TOOLS", "maybe"),
        ("ROTA_ENDPOINTS", "house"),
        ("ROTA_DATABASE_PREPARED_STATEMENTS", "perhaps"),
        ("ROTA_SECRET_KEY", "short"),
    ],
)
def test_bad_setting_is_named(rota, name, value):
    assert name in rota("agents", "list", expect=2, **{name: value})


@pytest.mark.parametrize("password", ["sec%ret", "sec@ret", "sec/ret"])
def test_database_url_that_is_not_encoded_is_refused(rota, password):
    said = rota(
        "schedules", "list", expect=2, ROTA_DATABASE_URL=f"postgresql://u:{password}@127.0.0.1/x"
    )

    assert "percent-encode" in said
    assert "sec" not in said


def test_parameter_that_libpq_does_not_know_is_refused(rota, database_url):
    said = rota("schedules", "list", expect=2, ROTA_DATABASE_URL=f"{database_url}?sslmod=require")

    assert "percent-encode" in said


def test_refused_password_is_said_at_once(rota, database_url):
    user, _, rest = database_url.removeprefix("postgresql://").partition("@")
    name = user.partition(":")[0]

    said = rota(
        "schedules", "list", expect=5, ROTA_DATABASE_URL=f"postgresql://{name}:wrong@{rest}"
    )

    assert said.startswith("The database refused the connection: password authentication failed")
    assert "within 10 s" not in said
