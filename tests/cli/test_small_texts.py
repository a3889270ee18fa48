"""Messages speak of what a person typed: options, not fields, patterns or Python's values."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.agents import connect
from rota.cli.main import app
from rota.cli.usage_errors import with_flags
from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.text.sentences import sentence
from rota.services.agent_files.reading import parse_agent_file


@pytest.fixture
def environment(database_url, alice, owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model, model_settings)"
            " VALUES (%s, 'watcher', 'openai:gpt', '{\"temperature\": 0.5, \"stream\": true}')",
            [alice],
        )
    return {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
    }


def refusal(environment, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "rota", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-steps", "0"], "`--max-steps` is a whole number, 1 or more; not '0'."),
        (["--every", "1h"], "Give one rule: cron or a phrase, or --every, or --at."),
        (["--max-runs", "0"], "`--max-runs` is 1 or more, not 0."),
        (["--catch-up=no"], "`--catch-up` is latest or all; not 'no'."),
        (
            ["--approvals-expire", "1s"],
            "`--approvals-expire` is from 60 seconds to 30 days; not 1 s.",
        ),
        (["--approvals", "no"], "`--approvals` is queue or suspend."),
        (
            ["--max-runs", "many"],
            "`--max-runs` is a whole number, 1 or more, not 'many'.",
        ),
    ],
)
def test_an_option_is_named_as_it_was_typed(environment, options, said):
    assert refusal(environment, "schedules", "add", "watcher", "@daily", *options) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("retention", "set", "--journal-days", "x"), "`--journal-days` is a number of days,"),
        (("limits", "set", "--everyone", "--day-tokens", "x"), "`--day-tokens` is a whole number"),
        (("approvals", "policy", "add", "--allow", "x", "--runs", "odd"), "`--runs` is one of any"),
        (("settings", "tool", "mail_search", "odd"), "PREFERENCE is auto, requires_approval or"),
        (("agents", "list", "--database-url", "mysql://x"), "The database URL must begin with"),
    ],
)
def test_no_message_hides_or_names_internals(environment, arguments, said):
    message = refusal(environment, *arguments)

    assert message.startswith(said)
    assert "[redacted]" not in message


def test_a_field_that_was_not_typed_stays():
    error = InvalidInputError("t.yaml:3: max_steps: this is 1 or more.", field="max_steps")

    assert with_flags(error, ["agents", "apply", "t.yaml"]) == error.message
    assert with_flags(InvalidInputError("No."), ["--max-steps"]) == "No."


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("for", "'abc' is not understood; write for example 90m."),
        ("to", "A backfill goes from an earlier to a later time, and ends in the past."),
        ("model", "The model 'foo' is not of the form provider:model, such as openai:gpt-5."),
        ("name", "'bad name!' is no name: small letters, digits, - and _."),
        ("name", "'My name is' cannot name a connection: a name has up to 40 small letters."),
        ("client", "This client is of the type Web application, which cannot lead back to rota."),
        ("tenant", "A tenant is the id of a directory or its domain."),
        ("model", "model has no script, so no scripted model can run it."),
    ],
)
def test_no_word_of_a_sentence_is_taken_for_an_option(field, message):
    error = InvalidInputError(message, field=field)

    assert with_flags(error, ["add", f"--{field}", "abc"]) == f"`--{field}`: {message}"


def test_an_option_that_is_named_already_is_not_put_in_front():
    error = InvalidInputError("Name your client: --client FILE.", field="client")

    assert with_flags(error, ["--client="]) == "Name your client: --client FILE."
    assert with_flags(InvalidInputError("See --client-id.", field="client"), ["--client="]) == (
        "`--client`: See --client-id."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("agents", "new", "briefing", "--name", "bad name!"),
            "`--name`: 'bad name!' is no name: small letters",
        ),
        (
            ("connections", "add", "imap", "--account", "me@gmx.de", "--name", "My Box"),
            "`--name`: 'My Box' cannot name a connection: a name has up to",
        ),
        (
            (
                "connections",
                "add",
                "microsoft",
                "--account=a@b.example",
                "--client-id=abc-1",
                "--tenant=?",
            ),
            "`--tenant`: A tenant is the id of a directory",
        ),
    ],
)
def test_the_words_of_a_person_are_said_as_they_were_typed(environment, arguments, said):
    assert refusal(environment, *arguments).startswith(said)


def test_a_password_that_is_not_given_and_a_person_that_is_not_known(environment):
    def added(user):
        command = ["connections", "add", "imap", "--account", "me@gmx.de"]
        return CliRunner().invoke(app, command, input="", env=environment | {"ROTA_USER": user})

    assert "No password was given." in str(added("alice@example.com").exception)
    assert "nobody@example.com" in str(added("nobody@example.com").exception)


def test_the_past_is_shown_for_a_time_in_the_past(environment):
    said = refusal(environment, "audit", "list", "--since", "3x")

    assert "yesterday 9:00" in said


def test_entries_of_a_run_that_is_not_there(environment):
    said = CliRunner().invoke(app, ["audit", "list", "--run", "nonsense"], env=environment)

    assert isinstance(said.exception, NotFoundError)


def test_a_schema_that_is_none_is_named_with_its_file(environment, tmp_path):
    file = tmp_path / "bad.json"
    file.write_text('{"type": "objekt"}')

    said = refusal(
        environment, "schedules", "add", "watcher", "@daily", "--output-schema", str(file)
    )

    assert said.startswith(f"{file}: schema.type: it is not valid")


def test_settings_of_a_model_are_shown_as_they_are_written(environment):
    shown = CliRunner().invoke(app, ["agents", "show", "watcher"], env=environment).stdout

    assert '{"stream": true, "temperature": 0.5}' in shown


def test_one_is_not_said_in_the_plural(environment):
    def rota(*arguments):
        return CliRunner().invoke(app, arguments, env=environment).stdout

    assert rota("calendars", "add", "h", "2030-01-01..2030-01-02") == (
        "h has 1 entry; the next day off is 2030-01-01.\n"
    )
    assert rota("calendars", "add", "h", "2030-01-04").startswith("h has 2 entries;")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("set OPENAI_API_KEY.", "set OPENAI_API_KEY."),
        ("set OPENAI_API_KEY", "set OPENAI_API_KEY."),
        ("why?", "why?"),
        ("cut…", "cut…"),
        ("no more. ", "no more."),
    ],
)
def test_a_sentence_ends_once(text, said):
    assert sentence(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: Big Name\nmodel: openai:b", "t.yaml:1: name: 'Big Name' is no name: small letters"),
        ("name: a\nmodel: gpt", "t.yaml:2: model: 'gpt' is not of the form provider:model"),
        ("model: openai:b", "t.yaml:1: name: this is missing."),
        ("name: 3\nmodel: openai:b", "t.yaml:1: name: this is a text; put it in quotes."),
        ("name: a\nmodel: openai:b\nmax_steps: 0", "t.yaml:3: max_steps: this is 1 or more."),
        (
            "name: a\nmodel: groq:b\nlimits: {steps: 0}",
            "t.yaml:3: limits.steps is a whole number",
        ),
        ("name: a\nmodel: openai:b\ntools: x", "t.yaml:3: tools: this is a list."),
        ("name: a\nmodel: openai:b\ntools:\n", "t.yaml:3: tools: this is empty; write a list."),
        ("name: a\nmodel:\n", "t.yaml:2: model: this is empty; write a text."),
        (
            "name: a\nmodel: scripted:plan\n",
            (
                "t.yaml:2: model: scripted:plan follows a script, and there is none: add `script:` "
                "with `steps:` or `answer:`."
            ),
        ),
        (
            "name: a\nmodel: openai:b\nfallback_models: [scripted:plan]\n",
            (
                "t.yaml:3: fallback_models[0]: scripted:plan follows a script, and there is none: "
                "add `script:` with `steps:` or `answer:`."
            ),
        ),
        (
            "name: a\nmodel: scripted:plan\nscript: 3\n",
            "t.yaml:3: script: this is a mapping of names to values.",
        ),
        (
            (
                "name: a\nmodel: scripted:plan\ntools: [look]\n"
                "script:\n  steps:\n    - calls: [{tool: lok}, {tool: send}, {tool: look}]\n"
            ),
            (
                "t.yaml:6: script.steps[0].calls[0].tool: a has no tool 'lok'; did you mean "
                "'look'?\n"
                "t.yaml:6: script.steps[0].calls[1].tool: a has no tool 'send'; add it to `tools:`."
            ),
        ),
        (
            "name: a\n\tmodel: b\n",
            (
                "t.yaml:2: found character '\\t' that cannot start any token. Indent with "
                "spaces: YAML takes no tabs."
            ),
        ),
        (
            "name: a\n  model: b\n",
            (
                "t.yaml:2: mapping values are not allowed here. Give the names of one block "
                "the same number of spaces before them. Write a space after a colon, or put a "
                "text with a colon in quotes."
            ),
        ),
        (
            "name: a\nlimits:\n    cost: 1\n  steps: 2\n",
            (
                "t.yaml:4: expected <block end>, but found '<block mapping start>'. Give what is "
                "in one block the same number of spaces before it."
            ),
        ),
    ],
)
def test_a_file_is_told_of_in_words(text, said):
    with pytest.raises(InvalidInputError) as refused:
        parse_agent_file(text, source="t.yaml", now=datetime.now(UTC))

    assert refused.value.message.startswith(said)


def test_help_says_what_the_version_option_does():
    help_ = CliRunner().invoke(app, ["--help"]).output
    assert re.search(r"--version +Show the version\.", help_)


@pytest.mark.parametrize("command", [("add", "watcher"), ("preview",)])
def test_a_schedule_without_a_time_is_told_the_options_for_it(environment, command):
    assert refusal(environment, "schedules", *command) == (
        "Say when: a cron expression or a phrase such as 'weekdays at 7:30', or --every, or --at."
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["help"], ["--help"]),
        (["-h"], ["--help"]),
        (["help", "runs"], ["runs", "--help"]),
        (["runs", "help"], ["runs", "--help"]),
        (["help", "runs", "list"], ["runs", "list", "--help"]),
        (["runs", "list", "-h"], ["runs", "list", "--help"]),
    ],
)
def test_help_is_found_by_the_words_that_people_try(typed, meant):
    shown = CliRunner().invoke(app, typed)
    assert shown.exit_code == 0
    assert shown.output == CliRunner().invoke(app, meant).output


@pytest.mark.parametrize("command", [["check"], ["check", "imap"], ["remove", "imap"]])
def test_a_connection_that_is_not_there_is_told_with_how_to_make_it(environment, command):
    said = CliRunner().invoke(app, ["connections", *command], env=environment).exception
    assert isinstance(said, NotFoundError)
    assert "`rota connections add imap" in said.message
    assert "`add ics`" in said.message or "`rota connections add ics`" in said.message


def test_where_nothing_is_connected_a_check_says_so_as_the_list(environment):
    listed = CliRunner().invoke(app, ["connections", "list"], env=environment)
    checked = CliRunner().invoke(app, ["connections", "check"], env=environment)

    assert checked.exception.message == listed.stdout.strip()
    assert listed.stdout.startswith("Nothing is connected. `rota connections add imap")
    assert "google-calendar" in listed.stdout


def test_who_is_asked_for_a_password_is_told_where_there_is_one(environment, monkeypatch):
    monkeypatch.setattr(connect, "is_typed", lambda _file: True)
    monkeypatch.setattr(connect, "getpass", lambda _asked: "")
    command = ["connections", "add", "imap", "--account", "me@gmail.com"]
    asked = CliRunner().invoke(app, command, env=environment)
    assert "https://myaccount.google.com/apppasswords" in asked.stderr


def test_a_mistyped_test_of_a_rule_is_told_the_one_that_is_near(environment):
    rule = ("--allow", "mail_send", "--when", "to email_domian a.example")
    said = refusal(environment, "approvals", "policy", "add", *rule)
    assert "did you mean 'email_domain'?" in said


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("up", "--in-background"),
        ("worker", "--until-stdin-ends"),
        ("scheduler", "--until-stdin-ends"),
    ],
)
def test_help_does_not_show_options_that_rota_gives_itself(command, option):
    assert option not in CliRunner().invoke(app, [command, "--help"]).stdout
