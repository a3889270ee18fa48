"""Results as people read them: what a run did, Markdown, images, long answers."""

from __future__ import annotations

import json
import os

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.cli.runs.result_texts import fold_images, head
from rota.domain.runs.views import WholeResult
from tests.cli.terminal import on_terminal

MARKDOWN = """# Weekly summary

All **quiet**, see [the page](https://example.org/a) &#8238;evil and &#27;[2J.

From: a@example.org
Date: 2026-01-01

- one
- two

| Name | Count |
|------|-------|
| a    | 3     |
"""
LONG = "# Long\n\n" + "\n".join(f"Line {n} of the **text**." for n in range(2_600))


@pytest.fixture
def environment(database_url, alice, owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        for name, answer in (("marked", MARKDOWN), ("long", LONG), ("plain", "a\n  b_c_d *e\n")):
            conn.execute(
                "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
                " VALUES (%s, %s, 'scripted:x', %s)",
                [alice, name, json.dumps({"answer": answer})],
            )
    return {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
        "NO_COLOR": "1",
    }


@pytest.fixture
def rota(environment):
    def run(*arguments):
        done = CliRunner().invoke(app, arguments, env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    return run


def test_markdown_is_rendered_on_a_terminal_and_printed_as_it_is_elsewhere(rota, environment):
    assert MARKDOWN in rota("run", "marked")
    assert MARKDOWN in rota("results", "show")

    screen = on_terminal(["results", "show"], environment, width=80)
    lines = [line.strip() for line in screen.lines]

    assert "Weekly summary" in lines
    assert any(line.startswith("All quiet, see the page (https://example.org/a)") for line in lines)
    assert lines.index("Date: 2026-01-01") == lines.index("From: a@example.org") + 1
    assert "• one" in lines
    assert "a     3" in lines
    assert "**" not in screen.text


def test_what_an_entity_hides_is_written_out(rota, environment):
    rota("run", "marked")

    screen = on_terminal(["results", "show"], environment, width=120)

    assert "\\u202eevil" in screen.text
    assert "\u202e" not in screen.text
    assert "\x1b[2J" not in screen.text


def test_a_text_that_is_no_markdown_stays_as_it_is(rota, environment):
    rota("run", "plain")

    screen = on_terminal(["results", "show"], environment, width=80)

    assert "\n  b_c_d *e\n" in screen.text


def test_a_long_result_is_paged_on_a_terminal_only(rota, environment, tmp_path):
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged\nhead -n 1\n", encoding="utf-8")
    pager.chmod(0o755)
    environment["PAGER"] = str(pager)
    environment["PATH"] = os.environ["PATH"]
    rota("run", "long")

    assert "paged" not in rota("results", "show")
    screen = on_terminal(["results", "show"], environment, width=80)
    assert screen.lines[0] == "paged"
    assert screen.lines[1].startswith("long: success after")
    rota("run", "plain")
    assert "paged" not in on_terminal(["results", "show"], environment, width=80).text


def test_a_result_that_was_cut_is_shown_whole(rota):
    said = rota("run", "long", "--json")
    found = json.loads(said)

    assert LONG in rota("results", "show")
    assert found["result_content"] == LONG[:50_000]
    assert found["whole_content"] == LONG
    assert json.loads(rota("results", "show", "--json"))["whole_content"] == LONG
    assert f"[… `rota results show {found['run_id'][:8]}` has all of it]" in rota(
        "notifications", "show"
    )
    rota("run", "plain")
    assert json.loads(rota("results", "show", "--json"))["whole_content"] is None


def test_where_the_rest_is_gone_it_is_said(rota, owner_url):
    rota("run", "long")
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute("DELETE FROM result_texts")

    said = rota("results", "show")

    assert LONG[:50_000] in said
    assert f"Cut: it was {len(LONG):,} characters long." in said


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("![chart](data:image/png;base64,AAAA)", "[image: chart]"),
        ("![](data:image/svg+xml,%3Csvg) x", "[image: svg+xml] x"),
        (f"see data:image/png;base64,{'A' * 4_000} there", "see [image: png, 3,000 bytes] there"),
        ("![chart](https://example.org/a.png)", "![chart](https://example.org/a.png)"),
    ],
)
def test_images_that_stand_in_a_text_are_folded(text, folded):
    assert fold_images(text) == folded


class _Result:
    schedule_name = "morning"
    agent_name = "briefing"
    status = "success"
    execution_duration_ms = 12_340

    def __init__(self, requests=0, **metadata):
        self.pending_actions_created = requests
        self.metadata = metadata


@pytest.mark.parametrize(
    ("result", "calls", "said"),
    [
        (_Result(), (), "morning: success after 12.3 s"),
        (
            _Result(1, cost_usd="0.01"),
            (("mail_search", 1), ("mail_get_message", 3), ("send", 1)),
            "morning: success after 12.3 s: read 3 mails, called send, asked for 1 action, $0.01",
        ),
        (_Result(), (("gmail_search", 2),), "morning: success after 12.3 s: searched mail"),
        (
            _Result(2),
            (("a", 1), ("b", 2), ("c", 1), ("d", 1), ("e", 3)),
            (
                "morning: success after 12.3 s: called a, called b 2 times, called c, "
                "4 other calls, asked for 2 actions"
            ),
        ),
        (_Result(cancelled="by you"), (), "morning: cancelled after 12.3 s"),
    ],
)
def test_the_head_says_what_a_run_did(result, calls, said):
    assert head(WholeResult(result, None, calls)) == said
