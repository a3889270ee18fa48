"""Rules from the command line: added, listed, explained, removed; dry runs; "always allow"."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError, NotFoundError
from rota.services.approvals.rule_files import parse_rules
from tests.services.deciding import desk_of, send
from tests.services.harness import CIPHER, Workshop

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "approval-rules.md"


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    await made.declare("send", default_tier="user_configurable")
    return made


@pytest.fixture
def rota(workshop, database_url, monkeypatch):
    """Run a command as Alice, or as somebody else."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")

    async def run(*arguments, code=0):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if isinstance(result.exception, SystemExit):
            assert result.exit_code == code, result.output
        elif result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


POLICY = ("approvals", "policy")


async def add(rota, *arguments):
    (made,) = await rota(*POLICY, "add", *arguments, "--json")
    return made


async def explain(rota, tool, arguments, *more):
    return await rota(*POLICY, "explain", tool, json.dumps(arguments), *more, "--json")


async def test_a_rule_is_added_listed_and_removed(rota):
    made = await add(
        rota,
        *("--allow", "send", "--when", "to email_domain own.com"),
        *("--when", "text length_at_most 500 or missing", "--runs", "interactive"),
        *("--note", "colleagues", "--expires", "90d", "--uses", "10"),
    )

    assert (made["effect"], made["tool"], made["runs"], made["uses_left"]) == (
        "allow",
        "send",
        "interactive",
        10,
    )
    assert made["when"] == ["to email_domain own.com", "text length_at_most 500 or missing"]
    assert [rule["id"] for rule in await rota(*POLICY, "list", "--json")] == [made["id"]]
    said = await rota(*POLICY, "remove", made["id"][:8])
    assert said.splitlines() == [
        f"Removed {made['id']}: allow send",
        "Runs          interactive only",
        "When          to email_domain own.com",
        "and           text length_at_most 500 or missing",
    ]
    assert await rota(*POLICY, "list", "--json") == []
    assert "There are no rules" in await rota(*POLICY, "list")


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (
            ("--allow", "sned"),
            "No tool is declared as sned; see `rota tools list`. Did you mean send?",
        ),
        (
            ("--deny", "sned", "--operator"),
            "No tool is declared as sned; see `rota tools list`. Did you mean send?",
        ),
        (
            ("--allow", "boom"),
            "The operator requires approval for boom, so your rule has no effect.",
        ),
        (("--allow", "boom", "--operator"), None),
        (("--require", "boom"), None),
        (("--allow", "send"), None),
        (
            ("--allow", "sen"),
            "No tool is declared as sen; see `rota tools list`. Did you mean send?",
        ),
        (("--deny", "sned*"), "No declared tool fits sned*; see `rota tools list`."),
        (("--deny", "se*"), None),
        (("--allow", "bo*"), "The operator requires approval for bo*, so your rule has no effect."),
        (("--deny", "*"), None),
    ],
    ids=str,
)
async def test_a_rule_that_may_not_do_what_was_meant_is_warned_of(
    rota, workshop, arguments, warning
):
    await workshop.declare("boom", default_tier="requires_approval")

    result = await asyncio.to_thread(CliRunner().invoke, app, [*POLICY, "add", *arguments])

    assert result.exit_code == 0
    assert result.stderr == (f"Warning: {warning}\n" if warning else "")
    assert len(await workshop.rows("approval_rules")) == 1


async def test_each_rule_of_a_file_that_fits_no_tool_is_warned_of(rota, workshop, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("- refuse: delete_*\n- allow: send\n- require: sned\n")

    result = await asyncio.to_thread(CliRunner().invoke, app, [*POLICY, "add", "--file", str(file)])

    assert result.stderr.splitlines() == [
        "Warning: No declared tool fits delete_*; see `rota tools list`.",
        "Warning: No tool is declared as sned; see `rota tools list`. Did you mean send?",
    ]
    assert len(await workshop.rows("approval_rules")) == 3


OFFICE = """
from langchain_core.tools import tool

@tool
def pay(invoice: str, amount_eur: float) -> str:
    "Pay an invoice."
    return ""
"""


@pytest.mark.parametrize(
    ("rule", "warning"),
    [
        (
            ("--allow", "pay", "--when", "amont_eur > 200"),
            "pay has no argument 'amont_eur'; did you mean 'amount_eur'?",
        ),
        (
            ("--refuse", "pay", "--when", "* not only invoice amont_eur"),
            "pay has no argument 'amont_eur'; did you mean 'amount_eur'?",
        ),
        (
            ("--require", "pay", "--when", "zzz is 1"),
            "pay has no argument 'zzz'; there are: amount_eur, invoice.",
        ),
        (("--require", "pay", "--when", "amount_eur > 200"), None),
        (("--require", "send", "--when", "nobody_here_knows_it is 1"), None),
        (("--require", "*", "--when", "nobody_here_knows_it is 1"), None),
    ],
    ids=str,
)
async def test_a_condition_on_an_argument_that_the_tool_lacks_is_warned_of(
    rota, workshop, tmp_path, monkeypatch, rule, warning
):
    (tmp_path / "office_of_rules.py").write_text(OFFICE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ROTA_TOOLS", "pay=office_of_rules:pay")
    await rota("tools", "declare", "pay", "--tier", "user_configurable")

    result = await asyncio.to_thread(CliRunner().invoke, app, [*POLICY, "add", *rule])

    assert result.exit_code == 0
    assert result.stderr == (f"Warning: {warning}\n" if warning else "")
    assert len(await workshop.rows("approval_rules")) == 1


async def test_the_end_of_a_rule_may_be_given_as_elsewhere(rota):
    one = await add(rota, "--allow", "send", "--for", "90d")
    other = await add(rota, "--allow", "send", "--expires", "90d")
    assert one["expires_at"][:10] == other["expires_at"][:10]


async def test_the_list_says_whose_each_is(rota):
    await rota(*POLICY, "add", "--deny", "send", "--operator", "--user", "alice@example.com")
    await rota(*POLICY, "add", "--require", "se*", "--when", "amount > 100", "--risk", "high")

    rules = await rota(*POLICY, "list", "--json")
    operators = await rota(*POLICY, "list", "--operator", "--json")

    assert [(rule["whose"], rule["effect"], rule["risk"]) for rule in rules] == [
        ("operator", "refuse", None),
        ("you", "require", "high"),
    ]
    assert [rule["id"] for rule in operators] == [rules[0]["id"]]
    with pytest.raises(NotFoundError):
        await rota(*POLICY, "remove", rules[0]["id"])
    await rota(*POLICY, "remove", rules[0]["id"], "--operator")
    assert len(await rota(*POLICY, "list", "--json")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one of --allow"),
        (("--allow", "send", "--deny", "send"), "one of --allow"),
        (("--allow", "a tool"), "names no tool"),
        (("--allow", "send", "--when", "to email_domain"), "values"),
        (("--allow", "send", "--when", "to is"), "one value"),
        (("--deny", "send", "--uses", "3"), "Only a rule that allows"),
        (("--deny", "send", "--runs", "always"), "runs is one of"),
        (("--deny", "send", "--risk", "huge"), "risk is one of"),
        (("--deny", "send", "--user", "bob@example.com"), "--operator"),
        (("--deny", "send", "--expires", "soon"), "is not understood"),
        (("--deny", "send", "--expires", "2020-01-01"), "expired already"),
        (("--deny", "send", "--operator", "--schedule", "morning"), "by its id"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_said_and_nothing_is_added(rota, workshop, arguments, said):
    with pytest.raises(InvalidInputError) as caught:
        await rota(*POLICY, "add", *arguments)

    assert said in caught.value.message
    assert await workshop.rows("approval_rules") == []


async def test_explaining_says_the_decision_each_rule_and_what_would_help(rota, workshop):
    await workshop.agent({"steps": [], "answer": "x"}, tools=["send"])
    await workshop.schedule()
    allow = await add(rota, "--allow", "send", "--when", "to email_domain own.com")
    night = await add(rota, "--require", "send", "--schedule", "morning", "--runs", "unattended")

    own = await explain(rota, "send", {"to": "a@own.com"})
    foreign = await explain(rota, "send", {"to": "a@evil.com"})
    scheduled = await explain(rota, "send", {"to": "a@own.com"}, "--schedule", "morning")
    by_hand = await explain(
        rota, "send", {"to": "a@own.com"}, "--schedule", "morning", "--interactive"
    )

    assert [e["decision"] for e in (own, foreign, scheduled, by_hand)] == [
        "allowed",
        "held",
        "held",
        "allowed",
    ]
    found = {one["id"]: one for one in foreign["rules"]}
    assert found[allow["id"]]["finding"] == "does_not_apply"
    assert "an address is at evil.com" in found[allow["id"]]["why"]
    assert found[night["id"]]["why"] == "the rule is for another schedule"
    assert foreign["advice"] == ["A rule with --allow whose conditions hold would let it run."]
    assert night["id"][:8] in scheduled["advice"][0]
    said = await rota(*POLICY, "explain", "send", '{"to": "a@evil.com"}')
    assert said.startswith("It waits for approval: the tool requires approval unless you allow it")


async def test_explaining_says_what_waits_in_a_run_that_has_read_text_from_outside(rota):
    await rota(*POLICY, "add", "--allow", "send", "--when", "text absent")
    anywhere = await explain(rota, "send", {"to": "a@own.com"})
    await rota(*POLICY, "add", "--allow", "send", "--when", "to email_domain own.com")
    named = await explain(rota, "send", {"to": "a@own.com"})

    assert (anywhere["decision"], named["decision"]) == ("allowed", "allowed")
    assert "read text from outside it waits" in anywhere["advice"][0]
    assert not any("read text from outside" in said for said in named["advice"])


async def test_explaining_says_what_a_rule_may_not_loosen(rota, workshop):
    await workshop.declare("send", default_tier="requires_approval")
    await add(rota, "--allow", "send")

    explained = await explain(rota, "send", {})

    assert explained["decision"] == "held"
    assert explained["rules"][0]["may_loosen"] is False
    assert explained["advice"] == [
        "Only a rule of the operator can let it run: the tool requires approval."
    ]
    assert (await explain(rota, "ghost", {}))["tier"] == "unknown"


@pytest.mark.parametrize("given", ["[]", "{", '{"a": NaN}', '{"a": 1, "a": 2}'])
async def test_explaining_wants_arguments_that_everybody_reads_alike(rota, given):
    with pytest.raises(InvalidInputError):
        await rota(*POLICY, "explain", "send", given)


async def test_a_file_of_rules_is_added_as_a_whole(rota, tmp_path, workshop):
    file = tmp_path / "rules.yaml"
    file.write_text(
        """
        - allow: send
          when: to email_domain own.com
          expires: 30d
        - require: pay*
          when:
            - amount_eur over 100
            - currency equals EUR
          risk: high
        - deny: "*"
          runs: unattended
          when: ["url not url_host own.com unless missing"]
        """
    )
    made = await rota(*POLICY, "add", "--file", str(file), "--json")

    assert [(rule["effect"], len(rule["when"])) for rule in made] == [
        ("allow", 1),
        ("require", 2),
        ("refuse", 1),
    ]
    file.write_text("- allow: send\n- deny: 'no tool'\n")
    with pytest.raises(InvalidInputError):
        await rota(*POLICY, "add", "--file", str(file))
    assert len(await workshop.rows("approval_rules")) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a list of 1"),
        ("allow: send", "a list of 1"),
        ("- send", "rule 1: a rule is a mapping"),
        ("- allow: send\n  deny: send", "rule 1: it has one of"),
        ("- allow: send\n- note: x", "rule 2: it has one of"),
        ("- allow: send\n  wen: x", "there is no field 'wen'"),
        ("- allow: send\n  allow: pay", "appears twice"),
        ("- allow: &a send\n- deny: *a", "write it out"),
        ("- allow: send\n  when: 3", "`when` is a list"),
        ("- allow: send\n  uses: many", "`uses` is a number"),
        ("- allow: send\n  note: 3", "put it in quotes"),
        ("- allow: !!python/object:os.system x", "could not determine"),
        ("- allow: [", "rules.yaml:"),
    ],
)
def test_a_file_that_is_wrong_says_where(text, said):
    with pytest.raises(InvalidInputError) as caught:
        parse_rules(text, source="rules.yaml")

    assert said in caught.value.message


async def test_approving_always_approves_and_makes_a_rule(rota, workshop):
    desk = desk_of(workshop, cipher=CIPHER)
    await desk.run(send("bob", text="hello"))
    action = await desk.action()

    said = await rota(
        *("approvals", "approve", str(action["id"])[:8], "--always", "--only", "to"),
        *("--for", "7d", "--json", "--yes"),
    )

    assert said["action"]["status"] == "approved"
    assert said["rule"]["when"] == ["to equals bob", "* only text to"]
    assert said["rule"]["from_action"] == str(action["id"])
    explained = await explain(rota, "send", {"to": "bob", "text": "more"}, "--agent", "watcher")
    assert explained["decision"] == "allowed"


@pytest.mark.parametrize(
    "change", [["--hints", '{"destructiveHint": true}'], ["--risk", "medium"], ["--idempotent"]]
)
async def test_a_declaration_that_stops_always_rules_says_how_many_and_they_are_marked(
    rota, workshop, change
):
    desk = desk_of(workshop, cipher=CIPHER)
    await desk.run(send("bob"), send("ann"))
    for action in await desk.actions():
        await rota("approvals", "approve", str(action["id"]), "--always", "--yes")
    await rota("approvals", "policy", "add", "--deny", "look")

    unchanged = await rota("tools", "declare", "send", "--changes")
    assert "unchanged" in unchanged
    assert [rule["stale"] for rule in await rota("approvals", "policy", "list", "--json")] == [
        *(False, False, False)
    ]

    command = ["tools", "declare", "send", *change]
    declared = await asyncio.to_thread(CliRunner().invoke, app, command)

    assert declared.stderr == (
        "2 rules made by --always no longer have an effect, because the declaration of send "
        "changed. `rota approvals policy list` marks them as stale.\n"
    )
    listed = await rota("approvals", "policy", "list")
    stale = (
        "Stale         this rule has no effect: send is at version 2. Remove it, and use --always"
    )
    assert listed.count(stale) == 2
    command = ["tools", "declare", "send", "--timeout", "9"]
    assert (await asyncio.to_thread(CliRunner().invoke, app, command)).stderr == ""


async def test_approving_always_approves_nothing_where_no_rule_can_be_made(rota, workshop):
    desk = desk_of(workshop, cipher=CIPHER)
    await desk.run(send())
    action = str((await desk.action())["id"])

    for options in (["--only", "nothing"], ["--for", "100d"]):
        with pytest.raises(InvalidInputError):
            await rota("approvals", "approve", action, "--always", *options, "--yes")
    for wrong in (["--all", "--always"], [action, "--only", "to"], ["--always"]):
        with pytest.raises(InvalidInputError):
            await rota("approvals", "approve", *wrong)
    assert (await desk.action())["status"] == "pending"


async def test_a_dry_run_by_hand_shows_what_would_be_asked(rota, workshop):
    await workshop.agent(
        {"steps": [{"calls": [send("bob")]}], "answer": "{{ results[0] }}"}, tools=["send"]
    )
    await workshop.schedule()

    for command in (["run", "watcher"], ["schedules", "run", "morning"]):
        await rota(*command, "--dry-run", "--no-wait")
    runs = await workshop.rows("agent_runs")

    assert [run["options"] for run in runs] == [{"dry_run": True}] * 2
    await workshop.agent(name="own", model="callable:anything")
    with pytest.raises(InvalidInputError, match="dry run"):
        await rota("run", "own", "--dry-run", "--no-wait")


async def test_a_tool_is_declared_with_hints_and_pinned(rota, monkeypatch):
    hinted = await rota(
        "tools", "declare", "mail_search", "--hints", '{"openWorldHint": true}', "--json"
    )
    pinned = await rota("tools", "declare", "mail_search", "--pin", "--json")
    again = await rota("tools", "declare", "mail_search", "--pin", "--json")
    loose = await rota("tools", "declare", "mail_search", "--no-pin", "--json")

    assert hinted["annotations"] == {"openWorldHint": True}
    assert re.fullmatch("[0-9a-f]{64}", pinned["definition_hash"])
    assert again["change"] == "unchanged"
    assert loose["definition_hash"] is None
    with pytest.raises(InvalidInputError, match="no hint"):
        await rota("tools", "declare", "mail_search", "--hints", '{"safe": true}')


async def test_the_howto_says_what_the_commands_take(rota, tmp_path):
    text = HOWTO.read_text(encoding="utf-8")
    (yaml,) = re.findall(r"```yaml\n(- .*?)```", text, re.DOTALL)
    assert len(parse_rules(yaml, source="howto")) >= 3
    added = 0
    for line in re.findall(r"^rota approvals policy add (?!--file)(.*)$", text, re.MULTILINE):
        arguments = shlex.split(line)
        if "--schedule" not in arguments and "--user" not in arguments:
            await rota(*POLICY, "add", *arguments)
            added += 1
    assert added >= 4


async def test_a_rule_says_that_it_lets_run_calls_with_risk_signals(rota):
    said = await rota(*POLICY, "add", "--allow", "send", "--risk", "high")
    assert "calls with a risk signal run too" in said
    assert "calls with a risk signal run too" in await rota(*POLICY, "list")
    said = await rota(*POLICY, "add", "--require", "send", "--risk", "high")
    assert "the call counts as high risk or higher" in said


def test_a_file_may_say_refuse_or_deny():
    found = parse_rules('- refuse: "a_*"\n- deny: "b_*"\n', source="rules.yaml")

    assert [(entry.effect, entry.tool) for entry in found] == [("deny", "a_*"), ("deny", "b_*")]
    with pytest.raises(InvalidInputError, match="one of allow, require, refuse"):
        parse_rules("- refuse: a\n  deny: b\n", source="rules.yaml")


async def test_a_rule_that_is_there_word_for_word_is_not_added_again(rota, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(
        "- {allow: send, when: [to equals a, text equals b], expires: 90d, uses: 5}\n"
        "- {refuse: send, runs: unattended, note: not at night}\n"
        "- {refuse: send, runs: unattended, note: not at night}\n"
    )
    first = await rota(*POLICY, "add", "--file", str(file), "--json")
    again = await rota(*POLICY, "add", "--file", str(file), "--json")
    said = await rota(*POLICY, "add", "--file", str(file))
    other = await rota(*POLICY, "add", "--refuse", "send", "--runs", "unattended", "--json")
    listed = await rota(*POLICY, "list", "--json")

    assert [rule["is_new"] for rule in first] == [True, True, False]
    assert [rule["is_new"] for rule in again] == [False, False, False]
    assert [rule["id"] for rule in again] == [rule["id"] for rule in first]
    assert [rule["expires_at"] for rule in again] == [rule["expires_at"] for rule in first]
    refusal = f"There already, not added again: {first[1]['id']}: refuse send"
    assert said.splitlines().count(refusal) == 2
    assert other[0]["is_new"]  # its note is another
    assert len(listed) == 3


async def test_a_rule_of_the_operator_is_not_taken_for_ones_own(rota):
    await rota(*POLICY, "add", "--operator", "--require", "send")

    (own,) = await rota(*POLICY, "add", "--require", "send", "--json")

    assert own["is_new"]
