"""Calendars connected by `rota connections`, and an agent that reads them."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from tests.loopback.radicale import PASSWORD, Radicale
from tests.loopback.web_pages import Page, WebPages

SECRET = "/private-0123456789/basic.ics"
AGENT = """\
name: day
model: scripted:day
tools: [calendar_agenda]
script:
  steps:
    - calls:
        - tool: calendar_agenda
          args: {days: 2}
    - error: "{% if failures %}{{ failures[0].message }}{% endif %}"
  answer: |
    {% for event in results[0] %}{{ event.title }} ({{ event.calendars[0] }}); {% endfor %}
"""


@pytest.fixture
def rota(database_url, alice, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def rota(*arguments, typed=None):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, input=typed)

    return rota


@pytest.fixture
def feed():
    with WebPages() as pages:
        yield pages


def in_an_hour(title, uid):
    start = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y%m%dT%H%M%SZ")
    return f"UID:{uid}\nSUMMARY:{title}\nDTSTART:{start}\nDURATION:PT30M"


def ics(*events):
    blocks = [f"BEGIN:VEVENT\n{event}\nEND:VEVENT" for event in events]
    return Page("\n".join(["BEGIN:VCALENDAR", *blocks, "END:VCALENDAR"]).encode())


async def test_an_agent_reads_a_feed_and_an_account_together(rota, feed, tmp_path):
    feed.pages[SECRET] = ics(in_an_hour("Board", "b"))
    (tmp_path / "day.yaml").write_text(AGENT)
    assert (await rota("agents", "apply", str(tmp_path / "day.yaml"))).exit_code == 0
    failed = await rota("run", "day")
    assert "No calendar is connected" in failed.output + str(failed.exception)

    with Radicale() as server:
        (tmp_path / "ca.pem").write_text(server.authority)
        server.put(server.calendar("home"), in_an_hour("Dentist", "d"))
        server.calendar("club")
        account = (
            *("connections", "add", "caldav", "--account", "alice", "--url", server.url),
            *("--certificate", str(tmp_path / "ca.pem"), "--name", "dav"),
        )
        refused = await rota(*account, typed="wrong\n")
        assert "refused the password of alice. Check the password, and --login" in str(
            refused.exception
        )
        added = await rota(*account, typed=f"{PASSWORD}\n")
        assert added.stdout == ("Connected alice: 2 calendars, 1 event in the next 30 days.\n")
        address = f"{feed.url}{SECRET}"
        added = await rota("connections", "add", "ics", "--name", "work", typed=f"{address}\n")
        assert added.stdout == "Connected work: 1 calendar, 1 event in the next 30 days.\n"

        ran = await rota("run", "day")
        assert "Board (work)" in ran.stdout
        assert "Dentist (dav/home)" in ran.stdout
        checked = await rota("connections", "check")
        assert checked.stdout.splitlines() == [
            "dav: ok, 2 calendars, 1 event in the next 30 days.",
            "work: ok, 1 calendar, 1 event in the next 30 days.",
        ]
        listed = await rota("connections", "list", "--json")
        found = {one["name"]: one for one in json.loads(listed.stdout)}
        assert (found["work"]["account"], found["work"]["state"]) == ("127.0.0.1", "ok")
        assert "0123456789" not in added.stdout + checked.stdout + listed.stdout + ran.stdout

        server.password("changed")
        failed = await rota("connections", "check", "dav")
        assert str(failed.exception).endswith("`rota connections reconnect dav`.")
        mended = await rota("connections", "reconnect", "dav", typed="changed\n")
        assert mended.stdout.startswith("Connected again: 2 calendars")


async def test_an_event_that_waits_is_shown_as_an_event(rota, tmp_path):
    day = datetime.now(UTC).date() + timedelta(days=9)
    (tmp_path / "maker.yaml").write_text(
        "name: maker\nmodel: scripted:maker\ntools: [calendar_create_event]\nscript:\n  steps:\n"
        "    - calls:\n        - tool: calendar_create_event\n          args: {title: Dentist, "
        f'start: "{day}", description: "Bring\\nthe card"}}\n  answer: done\n'
    )
    assert (await rota("agents", "apply", str(tmp_path / "maker.yaml"))).exit_code == 0
    with Radicale() as server:
        (tmp_path / "ca.pem").write_text(server.authority)
        server.calendar("home")
        await rota(
            *("connections", "add", "caldav", "--account", "alice", "--url", server.url),
            *("--certificate", str(tmp_path / "ca.pem")),
            typed=f"{PASSWORD}\n",
        )
        await rota("run", "maker")
        assert server.files() == []
    listed = await rota("approvals", "list")
    assert f"Event: Dentist; When: {day:%A} {day}; Calendar: caldav; “Bring the" in listed.stdout
    [waiting] = json.loads((await rota("approvals", "list", "--json")).stdout)
    shown = (await rota("approvals", "show", waiting["id"])).stdout
    assert re.search(rf"^  Event +Dentist\n  When +{day:%A} {day}$", shown, re.MULTILINE)
    assert re.search(r"^  Calendar +caldav\n  Text +Bring *\n.*the card$", shown, re.MULTILINE), (
        shown
    )
    assert '"title"' not in shown


async def test_a_schedule_that_waits_for_a_calendar_continues_once_there_is_one(
    rota, feed, tmp_path
):
    feed.pages[SECRET] = ics(in_an_hour("Board", "b"))
    (tmp_path / "day.yaml").write_text(AGENT)
    await rota("agents", "apply", str(tmp_path / "day.yaml"))
    await rota("schedules", "add", "day", "daily at 7:00", "--name", "daily")
    await rota("schedules", "run", "daily")
    paused = await rota("schedules", "show", "daily")
    assert "No calendar is connected" in paused.stdout
    added = await rota("connections", "add", "ics", typed=f"{feed.url}{SECRET}\n")
    assert added.stdout.endswith("Resumed daily.\n")


async def test_an_address_that_changed_is_given_anew(rota, feed):
    feed.pages[SECRET] = ics(in_an_hour("Board", "b"))
    await rota("connections", "add", "ics", "--name", "work", typed=f"{feed.url}{SECRET}\n")
    feed.pages["/new-0123456789.ics"] = feed.pages.pop(SECRET)
    failed = await rota("connections", "check", "work")
    assert str(failed.exception) == (
        "127.0.0.1 no longer gives out the calendar at its secret address (404). Copy the address "
        "anew. Connect it again with `rota connections reconnect work`."
    )
    [found] = json.loads((await rota("connections", "list", "--json")).stdout)
    assert found["state"] == "needs you"
    mended = await rota(
        "connections", "reconnect", "work", typed=f"{feed.url}/new-0123456789.ics\n"
    )
    assert mended.stdout == "Connected again: 1 calendar, 1 event in the next 30 days.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ics"], "No address was given."),
        (["ics", "--account", "foo"], "'foo' is no mail address. Write --account as me@"),
        (["caldav", "--account", "gmx.de"], "Name it: --url"),
        (["caldav"], "Name the account: --account"),
        (["caldav", "--account", "me@example.org"], "Name it: --url"),
        (["caldav", "--account", "me@gmail.com"], "rota connections add google-calendar"),
        (["caldav", "--account", "me@outlook.com"], "rota connections add ics"),
        (
            [
                "caldav",
                "--account",
                "me",
                "--url",
                "https://apidata.googleusercontent.com/caldav/v2",
            ],
            "Google takes no password by CalDAV",
        ),
        (["caldav", "--account", "me", "--url", "http://cloud.example.com"], "begin with https://"),
        (
            ["caldav", "--account", "me", "--url", "https://me:x@cloud.example.com"],
            "Leave name and password out of --url",
        ),
        (["caldav", "--account", "me@icloud.com"], "No password was given."),
    ],
)
async def test_what_is_missing_is_said(rota, arguments, said):
    refused = await rota("connections", "add", *arguments, typed="\n")
    assert refused.exception.exit_code == 2
    assert said in str(refused.exception)
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []
