"""`rota agents new`: files that are valid and run as they are, for whatever is connected."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from typer.testing import CliRunner

from rota.agents.scripted.templates import render
from rota.agents.tools.builtin import builtin_facts
from rota.agents.tools.oauth.providers import SCOPES
from rota.cli.main import app
from rota.domain.agents.connections import KINDS, ConnectionInfo, ConnectionState
from rota.sample import recent_sample
from rota.services.agent_files.ready_agents import PROMPTS, ReadyAgent, write_ready_agent
from rota.settings import API_KEYS
from tests.loopback import dovecot, radicale
from tests.loopback.dovecot import Dovecot
from tests.loopback.radicale import Radicale

NOW = datetime(2026, 12, 1, 6, tzinfo=UTC)
MODEL = "anthropic:claude-sonnet-5-5"


def connection(name, kind, account="", *, is_active=True, scopes=()):
    return ConnectionInfo(
        name=name,
        kind=kind,
        account=account,
        scopes=scopes,
        state=ConnectionState.OK,
        problem="",
        expires_at=None,
        last_used_at=None,
        last_checked_at=None,
        is_active=is_active,
        created_at=NOW,
    )


WORK = connection("work", "imap", "work@example.com")
HOME = connection("home", "gmail", "me@gmail.com")
FEED = connection("family", "ics")


def written(kind, *connected, model=None, **options):
    wanted = ReadyAgent(
        kind=kind,
        name=options.pop("name", kind),
        zone="Europe/Berlin",
        file=f"{kind}.yaml",
        model=model,
        **options,
    )
    return write_ready_agent(wanted, connected, now=NOW)


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("model", [None, MODEL])
@pytest.mark.parametrize("mailboxes", [(), (WORK,), (WORK, HOME)], ids=["none", "one", "two"])
@pytest.mark.parametrize("calendars", [(), (FEED,)], ids=["none", "one"])
def test_every_file_is_read_and_links_tools_that_there_are(kind, model, mailboxes, calendars):
    text = written(kind, *mailboxes, *calendars, model=model)
    (agent,) = yaml.safe_load_all(text)
    assert max(map(len, text.splitlines())) <= 140
    assert set(agent["tools"]) <= set(builtin_facts())
    assert agent["model"] == (model or f"scripted:{kind}")
    (schedule,) = agent["schedules"]
    assert (schedule["cron"], schedule["time_zone"]) == ("0 7 * * mon-fri", "Europe/Berlin")
    assert ("prompt" in schedule) is (model is not None)


@pytest.mark.parametrize("model", [None, MODEL])
def test_the_tools_fit_what_is_connected(model):
    def tools(kind, *connected):
        return set(yaml.safe_load(written(kind, *connected, model=model))["tools"])

    assert "calendar_agenda" not in tools("briefing", WORK)
    assert "calendar_agenda" in tools("briefing", FEED)
    assert ("reply" in tools("inbox-triage", WORK)) is (model is not None)
    assert "reply" not in tools("inbox-triage")
    gone = connection("old", "imap", is_active=False)
    assert "reply" not in tools("inbox-triage", gone)


READ_ONLY = [
    connection("work", "imap", "work@example.com", scopes=("read",)),
    connection("home", "gmail", scopes=SCOPES["gmail"].reading),
    connection("firm", "microsoft", scopes=SCOPES["microsoft"].reading),
]


@pytest.mark.parametrize("mailbox", READ_ONLY, ids=lambda one: one.kind)
def test_a_mailbox_that_cannot_send_drafts_no_answers(mailbox):
    text = written("inbox-triage", mailbox, model=MODEL)
    agent = yaml.safe_load(text)
    assert agent["tools"] == ["mail_search", "mail_get_message", "mail_get_attachment"]
    assert "reply" not in agent["system_prompt"]
    assert "answers" not in agent["description"]
    assert "# No connected mailbox can send, so it drafts no answers." in text
    assert "docs/howto/send-mail.md" in text


def test_of_several_mailboxes_those_that_send_are_named():
    sends = connection("own", "imap", "me@own.example", scopes=("read", "send"))
    agent = yaml.safe_load(written("inbox-triage", READ_ONLY[0], sends, model=MODEL))
    assert "reply" in agent["tools"]
    assert "Only from these you can answer: own (me@own.example)." in agent["system_prompt"]
    both = yaml.safe_load(written("inbox-triage", WORK, HOME, model=MODEL))
    assert "Only from these" not in both["system_prompt"]


def test_what_is_not_connected_is_told_with_its_command():
    assert "#              rota connections add imap --account" in written("briefing")
    assert "rota connections add imap" not in written("briefing", WORK)
    assert "#              rota connections add ics" in written("briefing", WORK)
    assert "rota connections add ics" not in written("briefing", FEED)
    assert "until then its runs fail" in written("calendar-day")


def test_several_mailboxes_are_all_read():
    script = yaml.safe_load(written("briefing", WORK, HOME))["script"]
    calls = script["steps"][0]["calls"]
    assert [call["args"].get("mailbox") for call in calls] == ["work", "home"]
    prompt = yaml.safe_load(written("briefing", WORK, HOME, model=MODEL))["system_prompt"]
    assert "work (work@example.com), home (me@gmail.com)" in prompt


def test_no_name_of_an_account_becomes_a_line_of_the_file():
    text = written("briefing", connection("a", "imap", "x\nmodel: openai:evil"), model=MODEL)
    assert yaml.safe_load(text)["model"] == MODEL


def test_every_kind_of_connection_gives_what_an_agent_reads():
    for kind in KINDS:
        assert kind in written("briefing", connection(kind, kind))


# -- The command


@pytest.fixture
def rota(database_url, alice, monkeypatch, tmp_path):
    (tmp_path / "inbox.mbox").write_bytes(recent_sample(datetime.now(UTC)))
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    monkeypatch.setenv("ROTA_MAIL", str(tmp_path / "inbox.mbox"))
    for name in API_KEYS.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, arguments)

    return run


@pytest.mark.parametrize("kind", ["briefing", "inbox-triage"])
def test_a_file_is_validated_applied_and_run_without_an_edit(rota, kind):
    printed = rota("agents", "new", kind)
    made = rota("agents", "new", kind, "-o", "a.yaml")
    assert made.stdout == "Wrote a.yaml. Read it, then: rota agents apply a.yaml\n"
    assert Path("a.yaml").read_text() == printed.stdout.replace(f"{kind}.yaml", "a.yaml")

    assert f"agent {kind} would be created" in (rota("agents", "validate", "a.yaml")).stdout
    applied = (rota("agents", "apply", "a.yaml")).stdout
    assert applied == f"agent {kind}: created\nschedule {kind}: created\n"
    ran = rota("run", kind)
    assert ran.exit_code == 0, ran.output
    assert "- Fwd: Contract, second signature needed by Tuesday\n  From Hugo Marsh" in ran.stdout


def test_a_file_that_exists_is_left_unless_told_otherwise(rota):
    rota("agents", "new", "briefing", "-o", "a.yaml")
    Path("a.yaml").write_text("mine")
    refused = rota("agents", "new", "briefing", "-o", "a.yaml")
    assert "a.yaml exists already. --force writes over it." in str(refused.exception)
    assert Path("a.yaml").read_text() == "mine"
    assert (rota("agents", "new", "briefing", "-o", "a.yaml", "--force")).exit_code == 0


def test_the_options_change_what_is_written(rota):
    made = rota(
        *("agents", "new", "briefing", "--name", "evening", "--at", "18:30", "--days", "mon,thu"),
        *("--model", "openai:gpt-5-mini", "--json"),
    )
    answer = json.loads(made.stdout)
    agent = yaml.safe_load(answer["text"])
    assert answer["file"] is None
    assert (agent["name"], agent["model"]) == ("evening", "openai:gpt-5-mini")
    assert agent["schedules"][0]["cron"] == "30 18 * * mon,thu"


def test_the_model_is_that_of_a_key_or_of_other_agents(rota, monkeypatch):
    def model():
        return yaml.safe_load((rota("agents", "new", "briefing")).stdout)["model"]

    assert model() == "scripted:briefing"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert model() == "openai:gpt-5-mini"
    Path("b.yaml").write_text("name: other\nmodel: ollama:llama3\n")
    rota("agents", "apply", "b.yaml")
    assert model() == "ollama:llama3"


def test_a_model_of_other_agents_whose_key_is_not_here_is_not_taken(rota, monkeypatch):
    Path("b.yaml").write_text("name: other\nmodel: anthropic:claude-sonnet-5-5\n")
    rota("agents", "apply", "b.yaml")
    text = rota("agents", "new", "briefing").stdout
    assert yaml.safe_load(text)["model"] == "scripted:briefing"
    assert "use anthropic:claude-sonnet-5-5, but ANTHROPIC_API_KEY is not set here" in text
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    made = yaml.safe_load(rota("agents", "new", "briefing").stdout)
    assert made["model"] == "anthropic:claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("wanted", "model"),
    [("scripted", "scripted:inbox-triage"), ("scripted:plan", "scripted:plan")],
)
def test_a_script_can_be_chosen(rota, monkeypatch, wanted, model):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    made = rota("agents", "new", "inbox-triage", "--model", wanted, "-o", "a.yaml")
    assert made.exit_code == 0, made.exception
    text = Path("a.yaml").read_text()
    agent = yaml.safe_load(text)
    assert (agent["model"], "steps" in agent["script"]) == (model, True)
    assert "No provider's key is set" not in text
    assert rota("agents", "apply", "a.yaml").exit_code == 0
    assert rota("run", "inbox-triage").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "There is no ready agent 'nothing'; there are briefing, inbox-triage"),
        (["briefing", "--at", "25:00"], "'25:00' is no time of a day. Write it as 7:00 or 16:30."),
        (
            ["briefing", "--days", "funday"],
            "'funday' is no day of the week. Write --days as mon-fri or mon,thu",
        ),
        (["briefing", "--days", 'mon"\nx: y'], "is no day of the week"),
        (["briefing", "--name", "My Briefing"], "'My Briefing' is no name"),
        (["briefing", "--model", "gpt"], "gpt"),
        (["briefing", "-o", "none/a.yaml"], "none/a.yaml cannot be written: No such file"),
    ],
)
def test_what_cannot_be_written_is_told_in_a_sentence(rota, arguments, said):
    refused = rota("agents", "new", *arguments)
    assert refused.exit_code != 0
    assert said in f"{refused.exception}{refused.output}"


def test_the_script_of_triage_tells_people_from_machines(rota):
    rota("agents", "new", "inbox-triage", "-o", "a.yaml")
    rota("agents", "apply", "a.yaml")
    people, automatic = (rota("run", "inbox-triage")).stdout.split("\nAutomatic\n")
    assert "Hugo Marsh" in people
    assert "The Weekly Ledger" in automatic
    assert "Hugo Marsh" not in automatic


def said_by_script(kind, connected, **variables):
    """Return the answer of a ready agent's script, rendered with what tools returned."""
    script = yaml.safe_load(written(kind, connected))["script"]
    return render(script["answer"], {"failures": [], "results": [], **variables})


def test_the_script_of_triage_has_no_heading_over_nothing():
    def mail(sender):
        return {"from": sender, "subject": "Hi", "snippet": "x"}

    def triaged(*senders):
        found = {"mail_search": [[mail(sender) for sender in senders]]}
        return said_by_script("inbox-triage", WORK, now=NOW, by_tool=found).strip()

    assert triaged("ann@x.example") == "From people\n\n- Hi\n  From ann@x.example: x"
    assert triaged("noreply@x.example").startswith("Automatic\n\n- Hi")
    assert "x\n\nAutomatic\n\n- Hi" in triaged("ann@x.example", "noreply@x.example")
    assert triaged() == "No unread messages."


@pytest.mark.parametrize(
    ("hour", "said"),
    [
        (11, "Free: nothing of half an hour or more before 17:00"),
        (20, "Free: the working day is over"),
    ],
)
def test_a_day_without_free_time_says_why(hour, said):
    found = {"calendar_agenda": [[]], "calendar_find_time": [{"free": []}]}
    now = NOW.replace(hour=hour)

    told = said_by_script("calendar-day", FEED, now=now, by_tool=found)

    assert told.strip() == f"Today: no events\n\n{said}"


def test_without_a_calendar_the_day_says_what_to_connect(rota):
    rota("agents", "new", "calendar-day", "-o", "a.yaml")
    rota("agents", "apply", "a.yaml")
    ran = rota("run", "calendar-day")
    assert ran.exit_code != 0
    assert "rota connections add ics" in ran.output


def test_two_mailboxes_and_a_calendar_are_in_the_briefing_and_in_the_day(rota, tmp_path):
    """The scripts on real servers, with times in the person's zone."""
    dovecot.need()
    with Dovecot() as mail, Radicale() as calendars:
        path = calendars.calendar("own")
        _connect(rota, tmp_path, mail, calendars)
        for name in ("home", "work"):
            mail.deliver(name, _message(f"Mail at {name}"), at=time.time())
        today = datetime.now(ZoneInfo("Asia/Tokyo")).date()
        zone = ";TZID=Asia/Tokyo"
        calendars.put(
            path,
            f"UID:1\nSUMMARY:Lunch\nLOCATION:Café\nDTSTART{zone}:{today:%Y%m%d}T120000\n"
            f"DTEND{zone}:{today:%Y%m%d}T130000",
        )
        calendars.put(path, f"UID:2\nSUMMARY:Holiday\nDTSTART;VALUE=DATE:{today:%Y%m%d}")
        assert rota("settings", "zone", "Asia/Tokyo").exit_code == 0
        said = {}
        for kind in ("briefing", "calendar-day"):
            rota("agents", "new", kind, "-o", f"{kind}.yaml")
            assert rota("agents", "apply", f"{kind}.yaml").exit_code == 0
            ran = rota("run", kind)
            assert ran.exit_code == 0, ran.output
            said[kind] = ran.stdout
        assert rota("connections", "remove", "work").exit_code == 0
        without = rota("run", "briefing").stdout

    for told in said.values():
        assert "- 12:00 to 13:00: Lunch (Café)\n" in told
        assert "- all day: Holiday\n" in told
    assert "\n\n1 new message in home\n\n- Mail at home\n  From Ann" in said["briefing"]
    assert "\n\n1 new message in work\n\n- Mail at work\n  From Ann" in said["briefing"]
    assert "\n\nFree" in said["calendar-day"]
    assert "Could not be read (mail_search): There is no mailbox 'work'" in without
    assert "\n\n1 new message\n\n- Mail at home\n" in without


def _connect(rota, folder, mail, calendars):
    (folder / "mail.pem").write_text(mail.authority)
    (folder / "calendar.pem").write_text(calendars.authority)
    (folder / "password").write_text(dovecot.PASSWORD)
    server = ("--host", "127.0.0.1", "--port", str(mail.tls), "--certificate", "mail.pem")
    for name in ("home", "work"):
        account = ("--account", name, "--name", name, "--password-file", "password")
        made = rota("connections", "add", "imap", *account, *server)
        assert made.exit_code == 0, f"{made.output}{made.exception}"
    made = rota(
        *("connections", "add", "caldav", "--account", radicale.USER, "--url", calendars.url),
        *("--certificate", "calendar.pem", "--password-file", "password"),
    )
    assert made.exit_code == 0, f"{made.output}{made.exception}"


def _message(subject):
    message = EmailMessage()
    message["From"], message["Subject"] = "Ann <ann@example.com>", subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message.set_content("Hello.")
    return bytes(message)
