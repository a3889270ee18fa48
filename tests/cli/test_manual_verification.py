"""SPEC-003's five manual steps, done by the command line as a person does them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

OWNER = "alice@example.com"
AGENTS = """
- name: good
  model: scripted:plan
  tools: [mail_search]
  script:
    steps: [{calls: [{tool: mail_search, args: {query: ""}}]}]
    answer: "{{ results[0] | length }} messages"
  schedules: [{name: good, cron: "0 7 * * *"}]
- name: bad
  model: scripted:plan
  script: {steps: [{error: "the model fell over"}]}
  schedules: [{name: bad, cron: "0 7 * * *"}]
- name: asker
  model: scripted:plan
  tools: [mail_search]
  script:
    steps: [{calls: [{tool: mail_search, args: {query: "invoice"}}]}]
    answer: asked
  schedules: [{name: asker, cron: "0 7 * * *"}]
"""


@pytest.fixture
def rota(database_url, owner_url, alice, tmp_path):
    """The command line on the test's database, as Alice."""
    from rota.sample import sample_mailbox_path

    environment = os.environ | {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": OWNER,
        "ROTA_MAIL": str(sample_mailbox_path()),
        "ROTA_SECRET_KEY": "00" * 32,
    }

    def run(*arguments, expect=0):
        finished = subprocess.run(
            [sys.executable, "-m", "rota", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert finished.returncode == expect, finished.stdout + finished.stderr
        return finished.stdout

    file = tmp_path / "agents.yaml"
    file.write_text(AGENTS, encoding="utf-8")
    run("agents", "apply", str(file))
    return run


def test_step_1_a_schedule_is_run_by_hand(rota):
    assert "12 messages" in rota("schedules", "run", "good")


def test_step_2_the_result_is_there(rota):
    rota("schedules", "run", "good")

    (result,) = json.loads(rota("results", "list", "--json"))

    assert (result["status"], result["result_content"]) == ("success", "12 messages")
    assert "12 messages" in rota("results", "show")


def test_step_3_the_notification_is_there(rota):
    rota("schedules", "run", "good")

    (notification,) = json.loads(rota("notifications", "list", "--json"))

    assert (notification["category"], notification["body"]) == ("agent_result", "12 messages")
    assert notification["read_at"] is None
    assert "Marked 1 as read" in rota("notifications", "read", notification["id"])
    assert json.loads(rota("notifications", "list", "--unread", "--json")) == []


def test_step_4_an_error_is_stored(rota):
    assert "the model fell over" in rota("schedules", "run", "bad", expect=8)

    (result,) = json.loads(rota("results", "list", "--status", "error", "--json"))
    (notification,) = json.loads(rota("notifications", "list", "--json"))

    assert "the model fell over" in result["result_content"]
    assert notification["category"] == "error"


async def test_step_5_a_pending_action_asks_for_approval(rota, owner, alice):
    await owner.execute(
        "INSERT INTO user_tool_preferences (user_id, tool_id, preference)"
        " SELECT %s, id, 'requires_approval' FROM tools WHERE name = 'mail_search'",
        [alice],
    )

    assert "It asked for your approval of 1 action:" in rota("schedules", "run", "asker")

    notifications = json.loads(rota("notifications", "list", "--json"))
    assert sorted(n["category"] for n in notifications) == ["agent_result", "approval_needed"]
    (result,) = json.loads(rota("results", "list", "--json"))
    assert result["pending_actions_created"] == 1
