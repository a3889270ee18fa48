"""Approvals on a terminal: nothing foreign stands where we write, nothing unseen is approved."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial

import pytest

from tests.cli.approving import KEY
from tests.cli.terminal import on_terminal
from tests.services.deciding import desk_of, send
from tests.services.harness import Workshop

pytestmark = pytest.mark.long

PAD = " " * 400
LABELS = ("Risk          low", "Status        approved", "Wants to      look")
OURS = (
    *("Request", "Agent", "Wants to", "Risk", "Why it waits", "It says", "Status", "Version"),
    *("Asked", "Until", "Meanwhile", "Run", "Its prompt", "With", "  ", "To approve", "To refuse"),
    *("Look twice: ", "The agent had asked for", "Outcome", "Decided", "Reason"),
)


@pytest.fixture
async def desk(database, owner, alice):
    workshop = Workshop(database, owner, alice)
    await workshop.declare_tools()
    return desk_of(workshop)


@pytest.fixture
def rota(database_url):
    environment = {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": KEY.hex(),
    }

    async def run(*arguments, width=80, typed=""):
        return await asyncio.to_thread(
            partial(on_terminal, ["approvals", *arguments], environment, width=width, typed=typed)
        )

    return run


def padded(*lines, width):
    """A text that a terminal of this width would show as these lines of its own."""
    return "".join(line.ljust(width) for line in ("Harmless.", *lines) for _ in range(2)) + PAD


@pytest.mark.parametrize("width", [80, 40])
async def test_no_line_of_a_terminal_begins_with_a_foreign_text(desk, rota, width):
    said = [padded(*LABELS, width=width - offset) for offset in (0, 1, 14, 15)]
    text = "".join(said) + "\n".join(LABELS) + "\t" * 99 + "Risk          low " + "❤️" * 99
    await desk.run_steps(
        [{"say": text[:2_000], "calls": [send("bob", text=text)]}], answer="x", prompt=text
    )
    reference = str((await desk.action())["id"])
    await desk.edit({"to": "ann", "text": text + "!"})
    await desk.workshop.owner.execute("UPDATE pending_actions SET reason = %s", [text[:900]])

    screen = await rota("show", reference, width=width)

    assert screen.exit_code == 0, screen.text
    strangers = [line for line in screen.lines if line and not line.startswith(OURS)]
    assert strangers == []
    labels = [line[:14].strip() for line in screen.lines if not line.startswith(" ")]
    assert [labels.count(name) for name in ("Risk", "Status", "Wants to")] == [1, 1, 1]


@pytest.mark.parametrize("width", [80, 40])
async def test_a_result_cannot_either(desk, rota, width):
    await desk.run(send("bob" + PAD + "Status        failed" + PAD + "\nRisk          low"))
    reference = str((await desk.action())["id"])
    await desk.approve()
    await desk.work()

    screen = await rota("show", reference, width=width)

    assert [line for line in screen.lines if line and not line.startswith(OURS)] == []
    assert sum(line.startswith("Status") for line in screen.lines) == 1


@pytest.mark.parametrize("width", [80, 40])
async def test_a_padded_argument_makes_no_line_that_looks_like_another_argument(desk, rota, width):
    false = '    "to": "boss@own.example",'
    await desk.run(send("eve@evil.example", text=(false.ljust(width) * 9 + PAD) * 2))

    screen = await rota("show", str((await desk.action())["id"]), width=width)

    rows = [row for row in screen.lines if row.strip().startswith('"to"')]
    assert [row.strip() for row in rows] == ['"to": "eve@evil.example",']
    assert any(row.startswith("  | ") and "boss@own.example" in row for row in screen.lines)


async def test_json_on_a_terminal_holds_no_character_that_it_obeys(desk, rota):
    await desk.run(send("bob", text="\x9b2Jevil\u202ex"))

    screen = await rota("list", "--json")

    assert not {"\x9b", "\u202e"} & set(screen.text)
    assert json.loads(screen.text)[0]["arguments"]["text"] == "\x9b2Jevil\u202ex"


async def test_many_are_listed_and_asked_about_before_they_are_approved(desk, rota):
    await desk.run(send("ann"), send("bob"))

    refused = await rota("approve", "--all", typed="n\n")

    assert refused.exit_code == 1
    assert '{"to": "ann", "text": ""}' in refused.text
    assert "Approve these 2?" in refused.text
    assert "Nothing was decided." in refused.text
    assert {a["status"] for a in await desk.actions()} == {"pending"}

    approved = await rota("approve", "--all", typed="y\n")
    assert approved.text.count("send: approved") == 2


@pytest.mark.parametrize("width", [120, 80, 50, 30])
async def test_what_is_asked_about_is_shown_whole(desk, rota, width):
    purpose = "Invoice 2026-1130 of Musterfirma Handwerk GmbH, for November: "
    await desk.run(send("bob", text=f"{purpose}50 EUR"), send("bob", text=f"{purpose}500 EUR"))

    for arguments in (["list"], ["approve", "--all"], ["list", "--status", "pending"]):
        screen = await rota(*arguments, width=width, typed="n\n")
        shown = screen.text.replace("\n    | ", "")
        for amount in (50, 500):
            call = f'{{"to": "bob", "text": "{purpose}{amount} EUR"}}'
            assert f"watcher wants to send {call}\n" in shown
    assert {a["status"] for a in await desk.actions()} == {"pending"}


async def test_a_list_cuts_long_texts_only_and_says_so_a_question_cuts_nothing(desk, rota):
    long = "All the best. " * 200
    await desk.run(send(f"{'x' * 150}@example.org", text=long), send("bob", text=long))
    reference = str((await desk.actions())[0]["id"])[:8]

    listed = (await rota("list")).text.replace("\n    | ", "")
    asked = (await rota("approve", "--all", typed="n\n")).text.replace("\n    | ", "")

    assert f'"to": "{"x" * 150}@example.org"' in listed
    assert f"Cut: see `rota approvals show {reference}`." in listed
    assert long not in listed
    assert asked.count(f'"text": "{long}"') == 2


async def test_what_like_requests_have_in_common_is_shown_whole(desk, rota):
    text = "Invoice 2026-1130 of Musterfirma Handwerk GmbH, for November: 500 EUR"
    await desk.run(send("ann", text=text), send("bob", text=text))
    shown = (await rota("list", "--grouped")).text.replace("\n    | ", "")
    assert f'alike in {{"text": "{text}"}}\n' in shown
    assert "differ in to\n" in shown


async def test_risk_signals_are_said_before_many_are_approved(desk, rota):
    await desk.run(
        send("ann"),
        send("bob@p\u0430ypal.com", text="x" * 4_001),
        send("carl", text="x" * 4_001),
    )
    _, risky, long = (str(action["id"])[:8] for action in await desk.actions())

    screen = await rota("approve", "--all", typed="n\n")

    text = re.sub(r"\n +\| ", "", screen.text)
    assert f"Look twice at {risky}: bob@p\u0430ypal.com is not written in one script" in text
    assert f"Look twice at {risky}: 1 more risk signal; see `show`." in text
    assert f"Look twice at {long}: 1 risk signal; see `show`." in text
    assert text.count("Look twice") == 3
    assert text.index("Look twice") < text.index("Approve these 3?")
    assert text.count("watcher wants to send") == 3, "the agent is said"


async def test_yes_that_was_said_beforehand_is_not_asked_for(desk, rota):
    await desk.run(send("ann"), send("bob"))
    screen = await rota("approve", "--all", "-y")
    assert "?" not in screen.text
    assert {a["status"] for a in await desk.actions()} == {"approved"}


async def test_what_was_changed_since_is_shown_before_it_is_approved(desk, rota):
    await desk.run(send("ann"))
    reference = str((await desk.action())["id"])
    await desk.edit({"to": "eve"})

    refused = await rota("approve", reference, typed="n\n")

    assert '{"to": "eve"' in refused.text
    assert "2, changed" in refused.text
    assert (await desk.action())["status"] == "pending"
    approved = await rota("approve", reference, "--version", "2")
    assert "?" not in approved.text
    assert (await desk.action())["status"] == "approved"


async def test_one_that_is_as_the_agent_asked_is_approved_without_a_question(desk, rota):
    await desk.run(send("ann"))
    screen = await rota("approve", str((await desk.action())["id"]))
    assert "?" not in screen.text
    assert (await desk.action())["status"] == "approved"


async def test_a_table_stays_within_the_terminal(desk, rota):
    await desk.run(send("ann@example.org", text="Hello " * 50), send("bob@example.org"))
    for arguments in (["list"], ["list", "--grouped"]):
        for width in (80, 120):
            screen = await rota(*arguments, width=width)
            assert screen.lines == tuple(screen.text.split("\n")), "a line was too long"
