"""README, the tutorial and the how-tos, typed as they are printed.

In one data directory, in their order, with the tutorial's `rota up` in another terminal; and each
in a data directory of its own, made by a first `rota up`. What needs an account or a server is left
out, and is listed in `NEEDS`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rota.sample import recent_sample
from tests.howto.pages import Command, File, all_pages, page_name, typed
from tests.howto.reader import Reader

pytestmark = [pytest.mark.howto, pytest.mark.timeout(1800)]

KEY = "a key of a model's provider"
SERVER = "a PostgreSQL server of one's own; tests/cli/operations/test_supabase.py types it"
SYSTEMD = "a session of systemd"
NEEDS: dict[str, dict[str, str]] = {
    "README.md": {"(umask 077": KEY, "scripts/up --model": KEY},
    "docs/tutorial/first-briefing.md": {"git clone": "the network"},
    "docs/howto/gmail.md": {"": "a Google account"},
    "docs/howto/microsoft.md": {"": "a Microsoft account"},
    "docs/howto/own-database.md": {"": SERVER},
    "docs/howto/workers.md": {
        "rota scheduler": SERVER,
        "rota worker": SERVER,
        "rota serve": SERVER,
        "systemctl": SYSTEMD,
        "loginctl": SYSTEMD,
        "journalctl": SYSTEMD,
    },
}
"""What is not typed, by the beginning of its line, and what it needs."""

SAYS: dict[str, dict[str, str]] = {
    "README.md": {"rota results show": "12 messages, the newest first"},
    "docs/tutorial/first-briefing.md": {"rota schedules run each-morning": "12 messages this week"},
    "docs/howto/agent-files.md": {"rota run unread-count": r"\d+ unread messages"},
    "docs/howto/approvals.md": {"rota run note-taker": "asked for your approval of 1 action"},
    "docs/howto/curl.md": {
        "curl -sS --fail-with-body -H @headers $API/runs/$RUN_ID/result": r"\d+ unread messages\.",
    },
    "docs/howto/fastapi.md": {
        "curl -sS --fail-with-body -X POST localhost": "waits for your decision",
        "curl -sS --fail-with-body localhost:8020/approvals": '"tool":"mail_search"',
        "curl -sS --fail-with-body -X POST 'localhost": '"status":"approved"',
    },
    "docs/howto/heartbeats.md": {"rota runs show": "not announced"},
    "docs/howto/holidays.md": {
        "rota calendars show holidays": "2030-12-25",
        "rota schedules why": r"is a day off \(Christmas\) by holidays",
    },
    "docs/howto/own-agents.md": {"rota schedules run disk-report": r'"asked": "What grew\?"'},
    "docs/howto/own-tools.md": {"rota run disk-watch": r"[\d.]+ % of the disk is free"},
    "docs/howto/ready-agents.md": {"rota results show": r"\d+ new messages"},
    "docs/howto/structured-results.md": {"rota schedules run": r'"contract": "met"'},
}
"""What some of the commands say, by the beginning of the line, as a pattern."""


def steps_of(page: Path) -> list[File | Command]:
    left_out = tuple(NEEDS.get(page_name(page), {}))
    return [
        step
        for step in typed(page)
        if isinstance(step, File) or not (left_out and step.line.startswith(left_out))
    ]


def what_failed(page: Path, done: list[tuple[str, int, str]]) -> list[str]:
    failed = [
        f"{page_name(page)}: {line}: exit code {code}\n{said}" for line, code, said in done if code
    ]
    for beginning, pattern in SAYS.get(page_name(page), {}).items():
        said = [answer for line, _, answer in done if line.startswith(beginning)]
        if not any(re.search(pattern, answer) for answer in said):
            failed.append(f"{page_name(page)}: {beginning} does not say {pattern!r}: {said}")
    return failed


def furnish(home: Path) -> None:
    """Give the reader the files that the pages take for granted."""
    (home / "Mail").mkdir()
    (home / "Mail/inbox.mbox").write_bytes(recent_sample(datetime.now(UTC)))


@pytest.fixture
def home() -> Iterator[Path]:
    """A home directory that the account of the embedded server can pass through, also root's."""
    folder = Path(tempfile.mkdtemp(prefix="rota-howto-"))
    folder.chmod(0o755)
    furnish(folder)
    yield folder
    shutil.rmtree(folder)


def test_all_pages_in_one_data_directory(home: Path) -> None:
    failed: list[str] = []
    with Reader(home) as reader:
        for page in all_pages():
            if page.parent.name == "howto":
                reader.up()
            failed += what_failed(page, reader.type_page(steps_of(page)))
        await_note(reader)
    assert not failed, "\n\n".join(failed)


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: page.stem)
def test_a_page_in_a_fresh_data_directory(page: Path, home: Path) -> None:
    steps = steps_of(page)
    if not any(isinstance(step, Command) for step in steps):
        needed = NEEDS.get(page_name(page), {}).values()
        pytest.skip(f"{page_name(page)} needs {', '.join(needed) or 'what its reader alone has'}")
    with Reader(home) as reader:
        if page.parent.name == "howto":
            reader.up()
        failed = what_failed(page, reader.type_page(steps))
        if page.stem == "approvals":
            await_note(reader)
    assert not failed, "\n\n".join(failed)


def await_note(reader: Reader) -> None:
    """Wait until what the page on approvals had approved is done."""
    notes = reader.home / "rota-notes/notes.txt"
    for _ in range(300):
        if notes.exists():
            assert "Buy milk." in notes.read_text("utf-8")
            return
        time.sleep(0.1)
    raise AssertionError("the approved note was not written")


def test_what_is_left_out_is_on_the_pages() -> None:
    for name, lines in NEEDS.items():
        page = next(page for page in all_pages() if page_name(page) == name)
        commands = [step.line for step in typed(page) if isinstance(step, Command)]
        for beginning in lines:
            assert any(line.startswith(beginning) for line in commands), (name, beginning)
