"""Rules on a terminal: each is a sentence that can be read, whatever its width."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tests.cli.approving import KEY
from tests.cli.terminal import on_terminal
from tests.services.harness import Workshop

pytestmark = pytest.mark.long

LONG = "to email_domain " + " ".join(f"department{n}.example.org" for n in range(9))


@pytest.fixture
async def workshop(database, owner, alice):
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    await made.agent({"steps": [], "answer": "x"}, tools=["send"])
    return made


@pytest.fixture
def rota(workshop, database_url):
    environment = {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": KEY.hex(),
    }

    async def run(*arguments, width=80):
        command = ["approvals", "policy", *arguments]
        screen = await asyncio.to_thread(partial(on_terminal, command, environment, width=width))
        assert screen.exit_code == 0, screen.text
        return screen

    return run


def told(screen):
    """What is on a screen, where the lines that we broke go on behind a bar."""
    return screen.text.replace("\n            | ", "").replace("\n  | ", "")


@pytest.mark.parametrize("width", [80, 120])
async def test_list_can_be_read_with_a_long_condition(workshop, rota, width):
    schedule = await workshop.schedule(name="morning")
    added = await rota(
        *("add", "--require", "send", "--when", LONG, "--schedule", "morning", "--risk", "high"),
        *("--note", "the departments", "--expires", "2099-01-31"),
    )
    await rota("add", "--allow", "send", "--uses", "20")

    screen = await rota("list", width=width)

    assert str(schedule.id)[:8] not in screen.text
    for shown in (screen, added):
        assert shown.lines[0].endswith(": require approval of send")
        assert "Schedule      morning" in shown.lines
        assert f"When          {LONG}" in told(shown)
        assert "Risk          the call counts as high risk or higher" in shown.lines
    assert screen.lines[0][8:10] == ": ", "the id comes first"
    for line in ("Whose         yours", "Until         2099-01-31 00:00 UTC", "Uses left     20"):
        assert line in screen.lines
    assert "Note          the departments" in screen.lines
    assert "\n".join(screen.lines) == screen.text, "a line was too long"


@pytest.mark.parametrize("width", [80, 120])
async def test_explanation_can_be_read_with_a_long_condition(rota, width):
    await rota("add", "--require", "send", "--when", LONG)

    screen = await rota("explain", "send", '{"to": "ann@other.example"}', width=width)

    assert f"When          {LONG}\n" in told(screen)
    assert "Result        does not apply" in screen.lines
    assert "\n".join(screen.lines) == screen.text, "a line was too long"


async def test_whom_an_operators_rule_is_for_is_said_by_name(rota):
    await rota("add", "--operator", "--deny", "send", "--user", "alice@example.com")

    assert "For           alice@example.com" in (await rota("list", "--operator")).lines
    mine = await rota("list")
    assert mine.lines[0].endswith(": refuse send")
    assert "For           you" in mine.lines
    assert "Whose         the operator's" in mine.lines


async def test_a_rule_is_a_block_with_a_line_for_each_condition(rota):
    await rota(
        *("add", "--allow", "send", "--agent", "watcher", "--risk", "high"),
        *("--when", 'cc equals ""', "--when", 'text equals "Hello Ann"'),
        *("--when", "* only cc text to", "--when", "* not only bcc"),
    )

    listed = await rota("list")

    assert listed.lines[0][8:] == ": allow send"
    assert list(listed.lines[1:7]) == [
        "Agent         watcher",
        'When          cc equals ""',
        'and           text equals "Hello Ann"',
        "and           no arguments but cc, text, to",
        "and           other arguments than bcc",
        "Risk          calls with a risk signal run too",
    ]
