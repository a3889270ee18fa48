"""Many requests from the command line: together, narrowed, with what helps to decide."""

from __future__ import annotations

import re

import pytest

from rota.domain.approvals.review import ROUTINE
from tests.cli.approving import ids, terminal_of_alice
from tests.services.deciding import desk_of, send
from tests.services.harness import Workshop


@pytest.fixture
async def desk(database, owner, alice):
    workshop = Workshop(database, owner, alice)
    await workshop.declare_tools()
    return desk_of(workshop)


@pytest.fixture
def rota(database_url, monkeypatch):
    return terminal_of_alice(database_url, monkeypatch)


@pytest.fixture
async def mixed(desk):
    """Two mails of low risk, one of high risk, and something else of another tool."""
    await desk.workshop.declare("send", risk="low")
    await desk.workshop.declare("look", default_tier="requires_approval", risk="medium")
    await desk.run(
        send("ann", text="Hello"),
        send("b\u043eb.example", text="Hello"),
        send("carl", text="Hello"),
        {"tool": "look", "args": {"query": "x"}},
    )
    found = {a["arguments"].get("to", "look"): str(a["id"]) for a in await desk.actions()}
    return {"ann": found["ann"], "carl": found["carl"], "look": found["look"]} | {
        "risky": found["b\u043eb.example"]
    }


def rows(said):
    """The lines below the head of a table, as words."""
    return [line.split() for line in said.splitlines()[1:]]


async def test_like_requests_are_one_line_of_what_is_alike_and_what_differs(desk, rota, mixed):
    mails, look = (await rota("list", "--grouped")).splitlines()[1:]

    assert mails.split()[:4] == [mixed["risky"], "3", "watcher", "send"]
    assert '{"text": "Hello"}' in mails
    assert re.search(r"}  to +high +pending", mails)
    assert look.split()[:4] == [mixed["look"], "1", "watcher", "look"]
    first, second = await rota("list", "--grouped", "--json")
    assert [len(group["actions"]) for group in (first, second)] == [3, 1]
    assert (first["same"], first["differing"]) == ({"text": "Hello"}, ["to"])


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["risky", "ann", "carl", "look"]),
        (["--tool", "look"], ["look"]),
        (["--tool", "nothing"], []),
        (["--agent", "watcher", "--tool", "send"], ["risky", "ann", "carl"]),
        (["--agent", "other"], []),
        (["--up-to", "medium"], ["look", "ann", "carl"]),
        (["--up-to", "low"], ["ann", "carl"]),
    ],
)
async def test_list_is_narrowed(desk, rota, mixed, options, names):
    listed = ids(await rota("list", *options, "--json"))
    assert sorted(listed) == sorted(mixed[name] for name in names)
    shown = rows(await rota("list", *options)) if names else []
    assert sorted(row[0] for row in shown) == sorted(listed)
    risks = ["high", "medium", "low"]
    first = [min((w for w in row if w in risks), key=risks.index) for row in shown]
    assert first == [] or first[0] == min(first, key=risks.index), "the riskiest come first"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--like", "carl"], ["risky", "ann", "carl"]),
        (["--like", "risky", "--up-to", "low"], ["ann", "carl"]),
        (["--like", "look"], ["look"]),
        (["--all", "--up-to", "medium"], ["ann", "carl", "look"]),
    ],
)
@pytest.mark.parametrize(("command", "status"), [("approve", "approved"), ("reject", "refused")])
async def test_those_that_are_meant_are_decided_and_no_others(
    desk, rota, mixed, options, names, command, status
):
    yes = ["--yes"] * (command == "approve")
    await rota(command, *(mixed.get(option, option) for option in options), *yes)

    decided = {str(a["id"]) for a in await desk.actions() if a["status"] == status}
    assert decided == {mixed[name] for name in names}
    assert {a["status"] for a in await desk.actions()} <= {status, "pending"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tool", "nothing"], "None of the 4 waiting requests is for nothing."),
        (["--agent", "other"], "None of the 4 waiting requests is from other."),
        (
            ["--agent", "watcher", "--tool", "look", "--up-to", "low"],
            "None of the 4 waiting requests is from watcher, for look, of low risk.",
        ),
        (["--status", "approved"], "No request is approved."),
        (["--status", "all", "--tool", "nothing"], "There is no request for nothing."),
    ],
)
@pytest.mark.parametrize("more", [[], ["--grouped"]])
async def test_list_says_what_the_options_hide(rota, mixed, options, said, more):
    assert await rota("list", *options, *more) == f"{said}\n"


@pytest.mark.parametrize("command", ["approve", "reject"])
async def test_deciding_on_none_says_so(desk, rota, mixed, command):
    for_low = [command, "--like", mixed["look"], "--up-to", "low"]
    assert await rota(*for_low) == "The one that waits is not of low risk.\n"
    await rota("reject", mixed["ann"], mixed["carl"])
    said = await rota(command, "--all", "--up-to", "low")
    assert said == "None of the 2 waiting requests is of low risk.\n"
    await rota("reject", mixed["look"])
    said = await rota(command, "--all", "--up-to", "medium")
    assert said == "The one that waits is not of medium risk or less.\n"
    said = await rota(command, "--like", mixed["look"])
    assert said == "Nothing like it waits for your approval.\n"
    assert await rota(command, "--all", "--up-to", "low", "--json") == []


async def test_show_says_the_risk_signals_and_what_is_like_it(desk, rota, mixed):
    shown = await rota("show", mixed["risky"])

    assert "Risk          high\n" in shown
    assert "Look twice: b\u043eb.example is not written in one script" in shown
    assert "Like it       2 more wait.\n" in shown
    assert "To see all    rota approvals list --agent watcher --tool send\n" in shown
    assert "Always yes" not in shown
    assert "Like it" not in await rota("show", mixed["look"])
    told = await rota("show", mixed["risky"], "--json")
    assert told["like"] == 2
    assert told["signals"][0]["risk"] == "high"
    assert told["precedents"] == {"approved": 0, "refused": 0}
    assert told["whose"] is None


async def test_what_spares_a_look_is_not_offered_beside_a_signal_of_high_risk(desk, rota, mixed):
    for name in ("risky", "ann"):  # another that is like it would be approved with it
        assert "--like" not in await rota("show", mixed[name])
    await rota("reject", mixed["risky"])
    line = f"All of them   rota approvals approve --like {mixed['ann']}\n"
    assert line in await rota("show", mixed["ann"])


@pytest.mark.parametrize("text", ["the key is sk-abcdefghijklmnopqrstuv", "p\u0430ypal.com"])
async def test_no_rule_is_offered_for_a_call_that_deserves_a_look(desk, rota, text):
    await desk.run(*(send(f"a{n}") for n in range(ROUTINE)), send("next", text=text))
    *before, last = ids(await desk.actions())
    await rota("approve", *before, "--yes")

    shown = await rota("show", last)

    assert f"{ROUTINE} of watcher's calls of send were approved" in shown
    assert "--always" not in shown


async def test_one_call_that_was_approved_is_told_as_one(desk, rota):
    await desk.run(send("ann"), send("bob"))
    first, second = ids(await desk.actions())
    await rota("approve", first, "--yes")
    assert "1 of watcher's calls of send was approved, and 0 refused." in await rota("show", second)


async def test_show_says_how_it_went_before_and_names_the_rule_that_may_be_made(desk, rota):
    await desk.run(*(send(f"a{n}") for n in range(ROUTINE)), send("next"))
    *before, last = ids(await desk.actions())
    await rota("approve", *before, "--yes")

    shown = await rota("show", last)

    assert f"{ROUTINE} of watcher's calls of send were approved, and 0 refused." in shown
    assert f"Always yes    rota approvals approve {last} --version 1 --always\n" in shown
    await desk.run(send("refused"))
    await rota("reject", ids(await desk.actions())[-1])
    shown = await rota("show", last)
    assert f"{ROUTINE} of watcher's calls of send were approved, and 1 refused." in shown
    assert "Always yes" not in shown


async def test_megabytes_of_arguments_are_listed_and_shown(desk, rota):
    await desk.run(send("bob"), send("ann"))
    for action in await desk.actions():
        await desk.workshop.owner.execute(
            "UPDATE pending_actions SET arguments = jsonb_build_object('to', 'x', 'text',"
            " repeat('\u00e9 \u202e', 1000000)) WHERE id = %s",
            [action["id"]],
        )

    listed = await rota("list")
    assert max(map(len, listed.splitlines())) < 2_000
    assert "3,000,000 characters" in await rota("show", str(action["id"]))
    assert len(await rota("list", "--grouped")) < 2_000


@pytest.mark.parametrize("length", [880, 960])
async def test_what_is_listed_elsewhere_than_on_a_terminal_is_whole_too(desk, rota, length):
    await desk.run(*(send("bob", text=f"{'x' * length}{euros} EUR") for euros in (50, 500)))
    shown = (await rota("list")).splitlines()
    for euros, line in zip((50, 500), shown[1:], strict=True):
        assert f'"text": "{"x" * length}{euros} EUR"' in line


async def test_request_says_which_schedule_and_prompt_it_comes_from(desk, rota):
    schedule = await desk.workshop.schedule(name="morning")
    await desk.run(send("bob"), schedule_id=schedule.id, prompt="Tell Bob.\nAll of it.")
    (reference,) = ids(await desk.actions())

    shown = await rota("show", reference)
    assert ", of the schedule morning" in shown
    assert "Its prompt    “Tell Bob.”" in shown
    found = await rota("show", reference, "--json")
    assert (found["schedule"], found["prompt"]) == ("morning", "Tell Bob.\nAll of it.")


async def test_two_identical_calls_are_said_to_be_alike_wherever_they_are_shown(desk, rota):
    await desk.run(send("ann", text="Hello"), send("bob", text="Hello"), send("ann", text="Hello"))
    first, other, second = (str(action["id"]) for action in await desk.actions())
    said = f"These 2 requests are the same call: {first} {second}. Each one that you approve runs."
    swapped = (
        f"These 2 requests are the same call: {second} {first}. Each one that you approve runs."
    )

    for shown in (await rota("list"), await rota("list", "--grouped")):
        assert said in shown or swapped in shown
    for same in (first, second):
        shown = await rota("show", same)
        assert said in shown or swapped in shown
    assert "The same call" not in await rota("show", other)
    reasons = {str(action["id"]): action["reason"] for action in await desk.actions()}
    assert reasons[second].endswith(f"this run asked for the very same as {first[:8]}")
    assert {reasons[first], reasons[other]} == {"the tool requires approval"}

    await desk.approve((await desk.actions())[0])
    await desk.work()
    assert "the very same as" in (await rota("show", second, "--json"))["reason"]
    assert "The same call" not in await rota("list")
    assert desk.sent == ["ann"]
