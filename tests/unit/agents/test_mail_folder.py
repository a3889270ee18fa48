"""Mailboxes on disk: found, searched and read, and left exactly as they were."""

import json
import mailbox
import os
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.mail.folder import MailFolder
from rota.agents.tools.mail.folder_tools import mail_get_message_tool, mail_search_tool
from rota.domain.errors import InvalidInputError, NotFoundError, SetupRequiredError
from rota.sample import recent_sample, sample_mailbox_path
from tests.unit.agents.mail_contexts import mail_context

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def mail(subject, *headers, date="Mon, 02 Mar 2026 08:00:00 +0000", body="Body"):
    lines = [f"Subject: {subject}", "From: Ann <ann@example.com>", f"Date: {date}", *headers]
    return "\n".join([*lines, "", body, ""]).encode()


@pytest.fixture
def write(tmp_path):
    def write_mbox(*messages):
        path = tmp_path / "inbox.mbox"
        path.write_bytes(
            b"".join(b"From a Mon Mar  2 08:00:00 2026\n" + m + b"\n" for m in messages)
        )
        return path

    return write_mbox


@pytest.fixture
def maildir(tmp_path):
    path = tmp_path / "Maildir"
    for name in ("cur", "new", "tmp"):
        (path / name).mkdir(parents=True)
    (path / "cur" / "100.a.host:2,S").write_bytes(mail("Seen"))
    (path / "cur" / "200.b.host:2,").write_bytes(mail("Unseen"))
    (path / "new" / "150.c.host").write_bytes(mail("New"))
    (path / "tmp" / "160.d.host").write_bytes(mail("Unfinished"))
    return path


def subjects(path, query="", limit=50, now=NOW):
    return [found.subject for found in MailFolder.open(path).search(query, limit, now=now)]


def state_of(path):
    files = [path, *path.rglob("*")] if path.is_dir() else [path, path.parent]
    return {
        str(file): (file.stat().st_mtime_ns, file.is_file() and file.read_bytes()) for file in files
    }


def test_an_mbox_is_split_as_pythons_mailbox_splits_it(write):
    path = write(
        mail("One", body="quoted\n>From here\n\nFromage"),
        mail("Two", body=""),
        mail("Three", body="no blank line\nFrom b Mon Mar  2 08:00:00 2026\nSubject: Four\n\nx"),
    )
    box = mailbox.mbox(path)
    expected = [message["subject"] for message in box]
    box.close()
    found = [message for _, message in MailFolder.open(path).messages()]
    assert [message.subject for message in found] == expected == ["One", "Two", "Three", "Four"]
    assert found[0].text == "quoted\n>From here\n\nFromage\n"


@pytest.mark.parametrize("shift", range(-8, 3))
def test_a_separator_across_the_chunks_of_a_large_mbox_is_seen(write, shift):
    head = len(write(mail("One", body="")).read_bytes())
    path = write(mail("One", body="x" * (1024 * 1024 - head + shift)), mail("Two"))
    assert path.read_bytes().index(b"\nFrom ") + 1 == 1024 * 1024 + shift
    assert [message.subject for _, message in MailFolder.open(path).messages()] == ["One", "Two"]


def test_reading_changes_nothing(write, maildir):
    for path in (write(mail("One"), mail("Two")), maildir):
        path_before = state_of(path)
        folder = MailFolder.open(path)
        for message_id, _ in folder.messages():
            folder.get(message_id)
        folder.search("body", 10, now=NOW)
        assert state_of(path) == path_before


def test_a_mailbox_that_may_only_be_read_is_read(write):
    path = write(mail("One"))
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert subjects(path) == ["One"]
    finally:
        path.parent.chmod(0o700)


def test_a_maildir_has_new_and_cur_in_the_order_of_their_names(maildir):
    found = list(MailFolder.open(maildir).messages())
    assert [message_id for message_id, _ in found] == ["100.a.host", "150.c.host", "200.b.host"]
    assert subjects(maildir, "is:unread") == ["New", "Unseen"]
    assert subjects(maildir, "is:read") == ["Seen"]


def test_a_maildir_message_keeps_its_id_when_it_is_moved_and_flagged(maildir):
    (maildir / "new" / "150.c.host").rename(maildir / "cur" / "150.c.host:2,S")
    assert MailFolder.open(maildir).get("150.c.host").subject == "New"


def test_ids_stay_when_an_mbox_grows_or_is_compacted(write):
    def ids(*messages):
        found = MailFolder.open(write(*messages)).messages()
        return {message.subject: message_id for message_id, message in found}

    one, two = mail("1", "Message-ID: <1@x>"), mail("2")
    before = ids(mail("0"), one, two)
    after = ids(one, two, mail("1 again", "Message-ID: <1@x>"))
    assert (before["1"], before["2"]) == (after["1"], after["2"])
    assert len(set(after.values())) == 3


def test_search_returns_the_newest_first_and_ties_in_order(write):
    old = "Sun, 01 Mar 2026 23:00:00 -1200"  # later than the others
    path = write(mail("a"), mail("b", date=old), mail("c"), mail("d", date="no date"))
    assert subjects(path) == ["b", "a", "c", "d"]
    assert subjects(path, limit=2) == ["b", "a"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("invoice", ["Invoice"]),
        ("INVOICE body", ["Invoice"]),
        ('"two words"', ["Phrase"]),
        ("two missing", []),
        ("from:ANN", ["Phrase", "Invoice", "Old"]),
        ("from:bob", []),
        ("-from:ann", []),
        ("to:eve", ["Invoice"]),
        ("cc:eve", ["Invoice"]),
        ('subject:"invoice"', ["Invoice"]),
        ("-subject:invoice", ["Phrase", "Old"]),
        ("-invoice", ["Phrase", "Old"]),
        ("after:2026/03/02", ["Phrase", "Invoice"]),
        ("before:2026-03-02", ["Old"]),
        ("newer_than:2d", ["Phrase", "Invoice"]),
        ("older_than:1m", ["Old"]),
        ("older_than:99999y", []),
        ("has:attachment", ["Phrase"]),
        ("is:unread", ["Phrase", "Old"]),
        ("re: https://x.example/a 12:30", ["Old"]),
        ('"from:nobody"', ["Old"]),
        ("  ", ["Phrase", "Invoice", "Old"]),
    ],
)
def test_the_search_syntax(write, query, expected):
    attached = "two  words\n--b\nContent-Type: application/pdf\n\nx\n--b--"
    path = write(
        mail(
            "Old",
            date="Thu, 01 Jan 2026 08:00:00 +0000",
            body="Re: see https://x.example/a at 12:30, from:nobody",
        ),
        mail("Invoice", "Cc: eve@example.com", "Status: RO"),
        mail(
            "Phrase",
            'Content-Type: multipart/mixed; boundary="b"',
            date="Mon, 02 Mar 2026 08:30:00 +0000",
            body=f"--b\n\n{attached}",
        ),
    )
    assert subjects(path, query) == expected


def test_days_begin_in_the_zone_of_now(write):
    path = write(mail("Late", date="Sun, 01 Mar 2026 23:30:00 +0000"))
    there = NOW.astimezone(timezone(timedelta(hours=1)))
    assert subjects(path, "after:2026/03/02") == []
    assert subjects(path, "after:2026/03/02", now=there) == ["Late"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("label:work", "label:work is not supported .* from:, to:, .*in quotes"),
        ("in:inbox", "in:inbox is not supported"),
        ("is:starred", "is:starred is not supported"),
        ("after:yesterday", "'yesterday' is not a day"),
        ("after:2026/02/31", "is not a day"),
        ("newer_than:soon", "newer_than:2d"),
        ("a OR b", "OR is not supported"),
        ("x" * 1001, "at most 1000"),
    ],
)
def test_what_a_folder_cannot_search_is_explained(write, query, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        subjects(write(mail("One")), query)


def test_an_empty_mailbox_is_no_error(tmp_path, write):
    assert subjects(write()) == []
    for name in ("cur", "new"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    assert subjects(tmp_path / "empty") == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"Hello", 'does not begin with a line "From'),
        (b"\x1f\x8bxx", "compressed; unpack it first"),
    ],
)
def test_what_is_no_mailbox_is_refused(tmp_path, content, sentence):
    path = tmp_path / "box"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupRequiredError, match=sentence):
        MailFolder.open(path)


def test_directories_pipes_and_loops_are_refused(tmp_path):
    with pytest.raises(SetupRequiredError, match="neither new nor cur"):
        MailFolder.open(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SetupRequiredError, match="neither a file nor a directory"):
        MailFolder.open(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SetupRequiredError, match="cannot be read"):
        MailFolder.open(tmp_path / "loop")


def test_a_mailbox_that_vanishes_is_an_error_and_not_an_empty_one(write):
    path = write(mail("One"))
    folder = MailFolder.open(path)
    path.unlink()
    with pytest.raises(SetupRequiredError, match="does not exist"):
        folder.search("", 5, now=NOW)


def test_an_unknown_id_is_not_found(write):
    with pytest.raises(NotFoundError):
        MailFolder.open(write(mail("One"))).get("../../etc/passwd")


async def test_the_tools_answer_in_json():
    path = sample_mailbox_path()
    search = mail_search_tool(context=mail_context(path, NOW))
    read = mail_get_message_tool(context=mail_context(path, NOW))
    listed = json.loads(await search.ainvoke({"query": "invoice from:hosting"}))
    assert [entry["subject"] for entry in listed] == ["Invoice 0311: EUR 148.00, due in two weeks"]
    assert set(listed[0]) == {"id", "date", "from", "subject", "snippet", "unread", "notes"}
    message = json.loads(await read.ainvoke({"message_id": listed[0]["id"]}))
    assert message["attachments"][0]["name"] == "invoice-0311.pdf"
    assert message["from"] == '"Harbour Hosting, Billing" <billing@hosting.example.net>'
    assert "Payment is due within two weeks" in message["text"]


async def test_the_tools_tell_the_model_what_was_wrong(tmp_path):
    search = mail_search_tool(context=mail_context(sample_mailbox_path(), NOW))
    with pytest.raises(ToolException, match="label:x is not supported"):
        await search.ainvoke({"query": "label:x"})
    read = mail_get_message_tool(context=mail_context(sample_mailbox_path(), NOW))
    with pytest.raises(ToolException, match="No message 'x'"):
        await read.ainvoke({"message_id": "x"})
    with pytest.raises(SetupRequiredError):
        await mail_get_message_tool(context=mail_context(tmp_path / "no", NOW)).ainvoke(
            {"message_id": "x"}
        )


@pytest.mark.parametrize(
    ("start", "newest"),
    [
        (datetime(2026, 11, 30, 12, tzinfo=UTC), "2026-11-30T08:34:02+00:00"),
        (datetime(2026, 11, 30, 8, tzinfo=UTC), "2026-11-29T08:34:02+00:00"),
        (datetime(2028, 2, 29, 23, tzinfo=UTC), "2028-02-29T08:34:02+00:00"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=9))), "2025-12-31T08:34:02+00:00"),
    ],
)
def test_the_sample_mailbox_is_of_the_morning_before_the_first_start(tmp_path, start, newest):
    path = tmp_path / "sample"
    path.write_bytes(recent_sample(start))
    found = MailFolder.open(path).search("newer_than:7d", 50, now=start)
    assert len(found) == 12
    assert found[0].date.isoformat() == newest
    assert all(message.date <= start and message.notes == () for message in found)
    shipped = [m for _, m in MailFolder.open(sample_mailbox_path()).messages()]
    for message, written in zip(
        (m for _, m in MailFolder.open(path).messages()), shipped, strict=True
    ):
        moved = message.date - written.date
        assert (moved.seconds, moved.days) == (0, (start - shipped[-1].date).days)
        assert (message.sender, message.subject) == (written.sender, written.subject)
    weekdays = re.findall(r"^Date: (\w{3}), (.*?\d{4}) ", path.read_text("utf-8"), re.MULTILINE)
    assert len(weekdays) == 13
    for weekday, day in weekdays:
        assert datetime.strptime(day, "%d %b %Y").strftime("%a") == weekday  # noqa: DTZ007


def test_the_sample_mailbox_is_a_monday_morning_in_many_encodings():
    messages = [message for _, message in MailFolder.open(sample_mailbox_path()).messages()]
    assert len(messages) == 12
    assert all(message.date and message.sender and message.text for message in messages)
    assert not any("\ufffd" in message.text + message.subject for message in messages)
    assert {"Перевод готов", "納品日のご確認 (delivery date)"} <= {m.subject for m in messages}
    assert Path(sample_mailbox_path()).is_file()
