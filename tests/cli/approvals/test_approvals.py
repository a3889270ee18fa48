"""Approvals from the command line: what is shown cannot deceive, and what is said is done."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rota.bootstrap.app import App
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.services.approvals.deputies import DeputyService
from rota.services.approvals.rules import RuleService
from rota.services.approvals.service import ApprovalService
from rota.services.audit.service import AuditService
from tests.cli.approving import KEY, ids, terminal_of_alice
from tests.services.deciding import desk_of, send
from tests.services.harness import Workshop


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def desk(workshop):
    return desk_of(workshop)


@pytest.fixture
def rota(database_url, monkeypatch):
    return terminal_of_alice(database_url, monkeypatch)


async def test_request_is_listed_shown_approved_and_its_outcome_shown(desk, rota):
    await desk.run_steps(
        [{"say": "Bob asked for it.", "calls": [send("bob", text="Hi\nthere")]}], answer="x"
    )
    (reference,) = ids(await desk.actions())

    listed = await rota("list")
    assert reference[:8] in listed
    assert '{"to": "bob", "text": "Hi\\nthere"}' in listed
    shown = await rota("show", reference[:8])
    assert "Wants to      send" in shown
    assert "It says       “Bob asked for it.”" in shown
    assert '"text": "Hi\\nthere"' in shown
    assert f"{reference} send: approved" in await rota("approve", reference[:8], "--yes")
    await desk.work()

    assert desk.sent == ["bob"]
    assert await rota("list") == "Nothing waits for your approval.\n"
    shown = await rota("show", reference[:8])
    assert "Status        succeeded" in shown
    assert "  sent to bob" in shown


async def test_refusal_with_a_reason(desk, rota):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())
    assert "refused" in await rota("reject", reference, "--reason", "not now")
    assert "“not now”" in await rota("show", reference)
    assert await desk.work() == []


async def test_what_cannot_be_decided_is_said_and_stops_nothing_else(desk, rota):
    await desk.run(send("a"), send("b"))
    first, second = ids(await desk.actions())
    await rota("reject", first)

    said = await rota("approve", first, second, "--yes", exit_code=1)

    assert "It is not pending any more: it was refused, from cli." in said
    assert f"{second} send: approved" in said


async def test_all_at_once(desk, rota):
    await desk.run(send("a"), send("b"), send("c"))
    decided = await rota("approve", "--all", "--json", "--yes")
    assert [one["action"]["status"] for one in decided] == ["approved"] * 3
    await desk.work()
    assert sorted(desk.sent) == ["a", "b", "c"]
    assert await rota("approve", "--all") == "Nothing waits for your approval.\n"
    assert await rota("approve", "--all", "--json") == []


@pytest.mark.parametrize(
    "more", [["--all"], ["--like", "ID"], ["ID", "OTHER"], ["--all", "--json"]]
)
async def test_many_need_a_yes_where_nobody_can_be_asked(desk, rota, more):
    await desk.workshop.declare("send", risk="low")
    await desk.run(send("a"), send("b"))
    first, second = ids(await desk.actions())
    named = [{"ID": first, "OTHER": second}.get(word, word) for word in more]

    with pytest.raises(InvalidInputError) as caught:
        await rota("approve", *named)

    assert caught.value.message == (
        "This would approve 2 requests, and rota cannot ask you to confirm here. Read them with "
        "`rota approvals list`, then use --yes."
    )
    assert {a["status"] for a in await desk.actions()} == {"pending"}
    await rota("approve", *named, "--yes")
    assert {a["status"] for a in await desk.actions()} == {"approved"}


@pytest.mark.parametrize(
    "more", [[], ["--version", "1"], ["--json"], ["--arguments", '{"to": "x", "text": ""}']]
)
async def test_high_risk_needs_a_yes_where_nobody_can_be_asked(desk, rota, more):
    await desk.workshop.declare("send", risk="low")
    await desk.run(send("bob@p\u0430ypal.com"))
    (reference,) = ids(await desk.actions())

    with pytest.raises(InvalidInputError, match="1 request of high risk, and rota cannot ask"):
        await rota("approve", reference, *more)

    assert (await desk.action())["status"] == "pending"
    await rota("approve", reference, *more, "--yes")
    assert (await desk.action())["status"] == "approved"


async def test_it_is_said_how_many_are_of_high_risk_and_one_of_low_risk_needs_no_yes(desk, rota):
    await desk.workshop.declare("send", risk="low")
    await desk.run(send("bob@p\u0430ypal.com"), send("ann"))
    risky, harmless = ids(await desk.actions())
    with pytest.raises(
        InvalidInputError, match="2 requests, 1 of them of high risk, and rota cannot"
    ):
        await rota("approve", "--like", harmless)
    await rota("approve", harmless)
    await rota("reject", risky)
    assert [a["status"] for a in await desk.actions()] == ["refused", "approved"]


async def test_what_was_changed_since_needs_a_yes_or_its_version(desk, rota):
    await desk.workshop.declare("send", risk="low")
    await desk.run(send("ann"))
    (reference,) = ids(await desk.actions())
    await desk.edit({"to": "eve", "text": ""})
    with pytest.raises(InvalidInputError, match="rota cannot ask you"):
        await rota("approve", reference)
    await rota("approve", reference, "--version", "2")
    assert (await desk.action())["status"] == "approved"


async def test_other_arguments(desk, rota):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())

    await rota("approve", reference, "--arguments", '{"to": "eve", "text": "x"}', "--yes")
    await desk.work()

    assert desk.sent == ["eve"]
    shown = await rota("show", reference)
    assert "The agent had asked for" in shown
    assert '"to": "bob"' in shown


@pytest.mark.parametrize("command", ["approve", "refuse"])
async def test_version_that_was_not_on_the_screen_is_not_decided_on(desk, rota, command):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())
    shown = await rota("show", reference)
    assert "Version       1\n" in shown
    assert f"rota approvals {command} {reference} --version 1\n" in shown
    await desk.edit({"to": "eve", "text": ""})

    with pytest.raises(ConflictError, match="at version 2"):
        await rota(command, reference, "--version", "1")
    assert (await desk.action())["status"] == "pending"

    shown = await rota("show", reference)
    assert "Version       2, changed since the agent asked" in shown
    assert f"rota approvals {command} {reference} --version 2\n" in shown
    await rota(command, reference, "--version", "2", *["--yes"] * (command == "approve"))
    assert (await desk.action())["status"] in {"approved", "refused"}


@pytest.mark.parametrize("more", [["--arguments", '{"to": "x", "text": ""}'], ["--always"]])
async def test_nor_is_it_changed_or_made_a_rule(desk, rota, more):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())
    await desk.edit({"to": "eve", "text": ""})

    with pytest.raises(ConflictError):
        await rota("approve", reference, "--version", "1", *more)

    action = await desk.action()
    assert (action["status"], action["version"]) == ("pending", 2)
    assert await desk.workshop.rows("approval_rules") == []


@pytest.mark.parametrize(
    "arguments", ["[]", "{", '{"to": 1}', '{"to": "a", "to": "b"}', '{"to": NaN}', "{}"]
)
async def test_arguments_that_are_none_are_refused_and_nothing_is_decided(desk, rota, arguments):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())
    with pytest.raises(InvalidInputError):
        await rota("approve", reference, "--arguments", arguments)
    assert (await desk.action())["status"] == "pending"


@pytest.mark.parametrize(
    "arguments",
    [
        ["approve"],
        ["reject"],
        ["approve", "abcd", "--all"],
        ["list", "--status", "waiting"],
        ["approve", "--all", "--version", "1"],
        ["approve", "abcd", "abce", "--version", "1"],
        ["reject", "--like", "abcd", "--version", "1"],
        ["approve", "abcd", "--up-to", "low"],
        ["approve", "--all", "--like", "abcd"],
    ],
)
async def test_unclear_wishes_are_refused(desk, rota, arguments):
    with pytest.raises(InvalidInputError):
        await rota(*arguments)


async def test_arguments_that_a_tool_does_not_know_or_lacks_are_named(desk, rota):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())
    with pytest.raises(InvalidInputError) as caught:
        await rota("approve", reference, "--arguments", '{"two": "bob"}', "--yes")
    said = caught.value.message
    assert said.startswith("send does not take that: ")
    assert "'two' was unexpected." in said
    assert '"to" is a required property.' in said
    assert "JSON" not in said


async def test_unknown_action_is_not_found(desk, rota):
    with pytest.raises(NotFoundError):
        await rota("approve", "deadbeef")


async def test_what_an_agent_writes_looks_like_nothing_of_ours(desk, rota):
    await desk.run_steps(
        [
            {
                "say": "Harmless.\nRisk          low\nStatus        approved\x1b[2J\u202e",
                "calls": [send("bob", text="\x1b]0;owned\x07\u202eevil [bold]x[/bold]")],
            }
        ],
        answer="x",
    )
    (reference,) = ids(await desk.actions())

    shown = await rota("show", reference) + await rota("list")

    for hidden in ("\x1b", "\u202e", "\x07"):
        assert hidden not in shown
    assert "[bold]x[/bold]" in shown
    lines = shown.splitlines()
    assert "Status        pending" in lines
    assert "Status        approved" not in lines
    assert "Risk          low" not in lines


async def test_address_in_two_scripts_is_pointed_out(desk, rota):
    await desk.run(send("bob@p\u0430ypal.com", text="Привет, m\u00fcller@web.de, paypal.com"))
    (reference,) = ids(await desk.actions())
    shown = await rota("show", reference)
    assert "Look twice: bob@p\u0430ypal.com is not written in one script" in shown
    assert "CYRILLIC SMALL LETTER A" in shown
    assert shown.count("Look twice") == 1


async def test_secret_is_shown_as_one(desk, rota):
    await desk.run(send("bob", text="bearer hush-hush-0123456789"))
    (reference,) = ids(await desk.actions())
    for said in (
        await rota("show", reference),
        await rota("list"),
        json.dumps(await rota("show", reference, "--json")),
    ):
        assert "[redacted]" in said
        assert "hush-hush" not in said


async def test_like_requests_stand_together(desk, rota):
    await desk.workshop.declare("look", default_tier="requires_approval")
    look = {"tool": "look", "args": {"query": "x"}}
    await desk.run(send("a"), look, send("b"))
    lines = [line.split()[2] for line in (await rota("list")).splitlines() if "watcher" in line]
    assert sorted(lines) in (lines, lines[::-1])


async def test_unknown_outcome_is_settled(desk, rota):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())
    owner = desk.workshop.owner
    await owner.execute("UPDATE pending_actions SET status = 'approved'")
    await owner.execute("UPDATE pending_actions SET status = 'running'")
    await owner.execute("UPDATE pending_actions SET status = 'unknown'")
    assert "unknown" in await rota("list")
    shown = await rota("show", reference)
    for outcome in ("happened", "did-not", "again"):
        assert f"  rota approvals settle {reference} {outcome}\n" in shown
    for command in ("approve", "reject"):
        said = await rota(command, reference, exit_code=1)
        assert f"`rota approvals settle {reference[:8]} happened|did-not|again`" in said

    assert "failed" in await rota("settle", reference, "did-not")

    assert await rota("list") == "Nothing waits for your approval.\n"


STATUSES = {
    "approved": "it was approved, from cli, and will run soon.",
    "running": "it was approved, from cli, and is running.",
    "succeeded": "it was approved, from cli, and has succeeded.",
    "failed": "it was approved, from cli, and has failed.",
    "refused": "it was refused, from cli.",
    "expired": "it has expired; nobody decided in time.",
    "withdrawn": "it was withdrawn; it does not run.",
}


async def brought_to(desk, status):
    """Bring the only request where nobody can decide on it any more."""
    by_hand = {"approved": desk.approve, "refused": desk.refuse}
    ways = {"running": ["running"], "succeeded": ["running", "succeeded"], "failed": ["failed"]}
    decided = "refused" if status == "refused" else "approved"
    if status not in {"expired", "withdrawn"}:
        await by_hand[decided]()
    for step in ways.get(status, [status] if status in {"expired", "withdrawn"} else []):
        await desk.workshop.owner.execute("UPDATE pending_actions SET status = %s", [step])


@pytest.mark.parametrize("status", STATUSES)
async def test_what_is_decided_already_is_told_in_words_and_shown_without_stale_lines(
    desk, rota, status
):
    await desk.run(send("bob"))
    (reference,) = ids(await desk.actions())
    for name in ("Until", "Meanwhile"):
        assert f"\n{name} " in await rota("show", reference)
    await brought_to(desk, status)

    said = await rota("approve", reference, exit_code=1)
    assert said == f"{reference} send: It is not pending any more: {STATUSES[status]}\n"
    with pytest.raises(ConflictError, match=f"of unknown outcome: {STATUSES[status]}"):
        await rota("settle", reference, "again")
    shown = await rota("show", reference)
    assert "\nUntil " not in shown
    assert ("\nMeanwhile " in shown) == (status == "running")
    assert "settle" not in shown


@pytest.mark.howto
async def test_script_of_the_howto_decides(desk, database_url, tmp_path):
    await desk.workshop.declare("send", risk="low")
    await desk.run(send("a"), send("p\u0430ypal.com"), send("b"))
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET risk = 'medium' WHERE arguments ->> 'to' = 'b'"
    )
    text = (Path(__file__).parents[3] / "docs/howto/approvals.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# decide.py\n(.*?)```", text, re.DOTALL)
    script = tmp_path / "decide.py"
    script.write_text(code.replace("write_note", "send"), encoding="utf-8")

    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, script],
        env=os.environ
        | {
            "ROTA_DATABASE_URL": database_url,
            "ROTA_USER": "alice@example.com",
            "ROTA_SECRET_KEY": KEY.hex(),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert sorted(finished.stdout.splitlines()) == [
        f"send {{'to': '{to}', 'text': ''}} " for to in ("a", "b", "p\u0430ypal.com")
    ]
    await desk.work()
    assert desk.sent == ["a"]


async def test_hidden_arguments_are_shown_on_request_and_the_audit_log_says_who_looked(
    desk, rota, alice
):
    await desk.run(send("bob", text="the key is sk-abcdefghijklmnopqrstuv"), send("carl"))
    first, second = ids(await desk.actions())
    assert "sk-abc" not in await rota("show", first)

    revealed = await rota("show", first, "--reveal")
    assert "the key is sk-abcdefghijklmnopqrstuv" in revealed
    assert "Look twice: There is what looks like a secret in text." in revealed
    assert "\nThe audit log records that you looked at this.\n" in revealed
    assert '"to": "carl"' in (open_ := await rota("show", second, "--reveal"))
    assert "\nNo value is hidden.\n" in open_

    looked = [r for r in await desk.workshop.rows("audit_logs") if r["decision"] == "revealed"]
    assert [(str(r["action_id"]), r["actor"], r["origin"]) for r in looked] == [
        (first, str(alice), "cli")
    ]
    assert "sk-abc" not in str(looked)


def test_the_howto_names_methods_that_there_are():
    services = {
        "approvals": ApprovalService,
        "rules": RuleService,
        "deputies": DeputyService,
        "audit": AuditService,
    }
    text = (Path(__file__).parents[3] / "docs/howto/approvals.md").read_text()
    table = text[text.index("| On `app` |") :].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == list(services)
    for name, said in rows:
        assert name in vars(App)
        for method in re.findall(r"`(\w+)`", said):
            assert callable(getattr(services[name], method)), (name, method)
