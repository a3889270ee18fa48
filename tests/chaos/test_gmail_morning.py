"""Mornings on Gmail and Google Calendar: real workers, tokens of two seconds, and kill -9.

All is connected and started as a person does it. Google is on loopback: its sign-in, which rotates
refresh tokens, Gmail and Google Calendar. The model is a loopback server behind the real client.
"""

from __future__ import annotations

import asyncio
import email
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from email.policy import default

import httpx
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from tests.loopback.eager_model import EagerServer
from tests.loopback.gmail import GmailServer
from tests.loopback.google_calendar import GoogleCalendarServer
from tests.loopback.oauth_provider import OAuthProvider
from tests.services.harness import Workshop

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]  # processes, one after another

ALICE = "alice@gmail.example"
MAIL = (
    b"From: Bob <bob@example.net>\r\nTo: alice@gmail.example\r\nSubject: Lunch\r\n"
    b"Message-ID: <lunch@example.net>\r\nDate: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\n"
    b"Noon tomorrow?\r\n"
)
RUNS_AT_A_TIME = 4
KILLS = 6


class Provider(OAuthProvider):
    """Takes its time to refresh, and counts how many ask for the same grant at once."""

    seconds = 0.15

    def __init__(self, **options):
        super().__init__(account=ALICE, token_seconds=2, rotates=True, **options)
        self.at_once = Counter()
        self.most_at_once = 0
        self._counting = threading.Lock()

    def grant_of(self, refresh_token):
        """Return the number of the grant that a refresh token is or was of."""
        return next(
            number
            for number, grant in enumerate(self.grants)
            if refresh_token in {grant.refresh_token, *grant.old_tokens}
        )

    def _answer(self, target, form):
        if form.get("grant_type") != "refresh_token":
            return super()._answer(target, form)
        number = self.grant_of(form["refresh_token"])
        with self._counting:
            self.at_once[number] += 1
            self.most_at_once = max(self.most_at_once, self.at_once[number])
        try:
            time.sleep(self.seconds)
            return super()._answer(target, form)
        finally:
            with self._counting:
                self.at_once[number] -= 1

    def end_access_tokens(self):
        """End them all before their time, as where a person signs out everywhere."""
        with self._lock:
            self._tokens.clear()

    def came(self):
        """Return the refresh tokens of each grant, in the order in which they came."""
        came = {}
        for asked in self.asked:
            if asked.form.get("grant_type") == "refresh_token":
                token = asked.form["refresh_token"]
                came.setdefault(self.grant_of(token), []).append(token)
        return came


class Gmail(GmailServer):
    """Tells when it has taken a mail to send, before it answers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.taken = lambda: None

    def _write(self, path, content):
        made = super()._write(path, content)
        self.taken()
        return made

    def mails_sent(self):
        return [email.message_from_bytes(self.messages[key], policy=default) for key in self.sent]


class Eager(EagerServer):
    query = "lunch"  # this Gmail looks for words


class Browser:
    """A browser with a window: it consents by following where the provider leads."""

    def open(self, url):
        threading.Thread(target=httpx.get, args=(url,), kwargs={"follow_redirects": True}).start()
        return True


class Morning:
    """Alice's commands and processes, and the servers that her accounts are at."""

    def __init__(self, workshop, folder, provider, gmail):
        self.workshop = workshop
        self.folder = folder
        self.provider = provider
        self.gmail = gmail
        self.processes = []
        self.workers = []

    async def rota(self, *arguments):
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        assert done.exit_code == 0, f"{arguments}\n{done.output}{done.exception!r}"
        return done.stdout

    async def connect(self):
        client = self.folder / "client.json"
        client.write_text(self.provider.client_file())
        await self.rota("connections", "add", "gmail", "--send", "--client", str(client))
        await self.rota("connections", "add", "google-calendar")

    async def make(self, kind):
        """Have rota write the file of a ready agent, and store it as it was written."""
        file = str(self.folder / f"{kind}.yaml")
        await self.rota("agents", "new", kind, "--model", "openai:gpt-4o-mini", "-o", file)
        await self.rota("agents", "apply", file)

    def start(self, kind):
        process = subprocess.Popen([sys.executable, "-m", "rota", kind])
        self.processes.append(process)
        return process

    async def start_all(self):
        self.start("scheduler")
        self.workers = [self.start("worker"), self.start("worker")]
        await self.until(self.are_up)

    async def are_up(self):
        rows = await self.workshop.rows("rota.processes")
        return {worker.pid for worker in self.workers} <= {row["pid"] for row in rows}

    async def kill(self, number):
        """Kill a worker with -9, and start another in its place."""
        self.workers[number].kill()
        await asyncio.to_thread(self.workers[number].wait)
        self.workers[number] = self.start("worker")

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

    async def fire(self, count):
        for _ in range(count):
            await self.rota(
                *("schedules", "run", "briefing", "--no-wait", "--overlap", "allow_all")
            )

    async def until(self, condition):
        async with asyncio.timeout(120):
            while not (found := await condition()):
                await asyncio.sleep(0.05)
        return found

    async def results(self, count):
        """Wait until so many runs have ended, and return their results."""

        async def ended():
            rows = await self.workshop.rows("agent_execution_results")
            return len(rows) >= count and rows

        found = await self.until(ended)
        assert len(found) == count
        return found

    async def held(self):
        async def look():
            return json.loads(await self.rota("approvals", "list", "--json"))

        (action,) = await self.until(look)
        return action["id"]

    async def ended(self, action_id):
        async def look():
            action = await self.workshop.row("pending_actions")
            return action["status"] in {"succeeded", "failed", "unknown"} and action

        action = await self.until(look)
        assert str(action["id"]) == action_id
        return action


@pytest.fixture
def morning(database, database_url, owner, alice, monkeypatch, tmp_path):
    """Open a morning with this provider."""

    @contextmanager
    def opened(provider):
        with (
            provider,
            Gmail(accepts=provider.accepts) as gmail,
            GoogleCalendarServer(accepts=provider.accepts) as calendars,
            Eager() as model,
        ):
            gmail.add(MAIL)
            calendars.calendars[0]["id"] = ALICE
            today = datetime.now(UTC).date().isoformat()
            calendars.events[ALICE] = [
                {
                    "id": "standup",
                    "status": "confirmed",
                    "summary": "Stand-up",
                    "start": {"dateTime": f"{today}T12:00:00Z"},
                    "end": {"dateTime": f"{today}T12:30:00Z"},
                }
            ]
            for name, value in {
                "ROTA_DATABASE_URL": database_url,
                "ROTA_DATA_DIR": str(tmp_path / "data"),
                "ROTA_USER": "alice@example.com",
                "ROTA_SECRET_KEY": "00" * 32,
                "ROTA_ENDPOINTS": f"google-oauth={provider.url} gmail={gmail.url} "
                f"google-calendar={calendars.url}",
                "OPENAI_API_KEY": "sk-test",
                "OPENAI_BASE_URL": model.url,
                "TZ": "UTC",
            }.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setattr("webbrowser.get", Browser)
            made = Morning(Workshop(database, owner, alice), tmp_path, provider, gmail)
            try:
                yield made
            finally:
                made.stop()

    return opened


async def nothing_is_lost(morning, results):
    """Assert that every run has read mail and calendar, and that both grants go on."""
    assert Counter(one["status"] for one in results) == {"success": len(results)}
    for one in results:
        assert "Noon tomorrow?" in one["result_content"]
        assert "Stand-up" in one["result_content"]
    listed = json.loads(await morning.rota("connections", "list", "--json"))
    assert [one["state"] for one in listed] == ["ok", "ok"]
    for name in ("gmail", "google-calendar"):
        await asyncio.sleep(2)  # so that it takes another token
        assert (await morning.rota("connections", "check", name)).startswith(f"{name}: ok")
    assert not any(grant.is_revoked for grant in morning.provider.grants)
    assert morning.provider.most_at_once == 1
    schedules = await morning.workshop.rows("agent_schedules")
    assert [(one["is_active"], one["pause_note"]) for one in schedules] == [(True, None)]
    told = [row["title"] for row in await morning.workshop.rows("notifications")]
    assert not [title for title in told if "connection" in title]


async def test_two_workers_never_ask_with_a_token_that_was_used(morning):
    with morning(Provider(reuse="revokes")) as ours:
        await ours.connect()
        await ours.make("briefing")
        await ours.start_all()
        for _ in range(6):
            await ours.fire(RUNS_AT_A_TIME)
            await asyncio.sleep(1)
            ours.provider.end_access_tokens()
        results = await ours.results(6 * RUNS_AT_A_TIME)

        await nothing_is_lost(ours, results)
        assert set(ours.provider.came()) == {0, 1}
        for tokens in ours.provider.came().values():
            assert len(tokens) == len(set(tokens)) > 4


async def test_workers_that_are_killed_lose_no_refresh_and_no_run(morning):
    """Only a token whose answer died with its process comes twice, and none after a newer."""
    with morning(Provider(reuse="tolerated")) as ours:
        await ours.connect()
        await ours.make("briefing")
        await ours.start_all()

        async def one_is_refreshed():
            return any(ours.provider.at_once.values())

        for kill in range(KILLS):
            await ours.until(ours.are_up)
            await ours.fire(RUNS_AT_A_TIME)
            await ours.until(one_is_refreshed)
            await asyncio.sleep(random.uniform(0, ours.provider.seconds * 1.2))
            await ours.kill(kill % 2)
        results = await ours.results(KILLS * RUNS_AT_A_TIME)

        await nothing_is_lost(ours, results)
        assert max(one["metadata"]["attempt"] for one in results) > 1
        for tokens in ours.provider.came().values():
            asked_again = len(tokens) - len(set(tokens))
            assert asked_again <= KILLS
            changes = sum(one != before for one, before in zip(tokens[1:], tokens, strict=False))
            assert changes == len(set(tokens)) - 1


async def test_a_mail_is_sent_once_though_both_workers_are_killed_as_gmail_takes_it(morning):
    with morning(Provider(reuse="tolerated")) as ours:
        await ours.connect()
        await ours.make("inbox-triage")
        await ours.start_all()
        await ours.rota("schedules", "run", "inbox-triage", "--no-wait")
        action_id = await ours.held()
        assert "bob@example.net" in await ours.rota("approvals", "show", action_id)
        assert ours.gmail.sent == []
        killed = []

        def kill_both():
            killed.extend(worker.pid for worker in ours.workers)
            for worker in ours.workers:
                worker.kill()
                worker.wait()

        ours.gmail.taken = kill_both
        await ours.rota("approvals", "approve", action_id)

        async def is_taken():
            return len(killed) == 2

        await ours.until(is_taken)
        ours.workers = [ours.start("worker"), ours.start("worker")]
        action = await ours.ended(action_id)

        assert action["status"] == "succeeded"
        assert "The mailbox shows that." in action["result"]
        (mail,) = ours.gmail.mails_sent()
        assert (mail["To"], mail["In-Reply-To"]) == ("bob@example.net", "<lunch@example.net>")
        assert mail.get_content().strip() == "Noon is fine."
        posts = [one for one in ours.gmail.requests if one.path.endswith("/send")]
        assert len(posts) == 1
        assert not ours.provider.grants[0].is_revoked
