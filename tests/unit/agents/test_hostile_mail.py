"""What strangers send hides nobody else's mail, and nothing is shown as from somebody else."""

import json
import os
import re
from datetime import UTC, datetime

import pytest

from rota.agents.tools.mail import mime
from rota.agents.tools.mail.addresses import read_addresses
from rota.agents.tools.mail.folder import MailFolder
from rota.agents.tools.mail.folder_tools import mail_get_message_tool, mail_search_tool
from rota.domain.errors import SetupRequiredError, UnavailableError
from tests.unit.agents.mail_contexts import mail_context

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
LINE = "From x@example.org Mon Nov 30 01:00:00 2026\n"
DATE = "Date: Mon, 30 Nov 2026 01:00:00 +0000"
ANN = (
    f"Message-ID: <a@x>\nFrom: Ann <ann@example.org>\n{DATE}\nSubject: It matters\n\n"
    "Answer today.\n"
)


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


@pytest.fixture
def mbox(tmp_path):
    def write(*messages, line=LINE):
        path = tmp_path / "box"
        path.write_bytes(b"".join(as_bytes(line) + as_bytes(text) + b"\n" for text in messages))
        return MailFolder.open(path)

    return write


@pytest.fixture
def found(mbox):
    """Return a message as a search finds it, between two of Ann's, which are found as well."""

    def read(message):
        folder = mbox(ANN, message, ANN.replace("<a@x>", "<b@x>"))
        listed = [m for _, m in folder.messages()]
        assert [listed[0].sender, listed[-1].sender] == ["Ann <ann@example.org>"] * 2
        assert len(folder.search("", 10, now=NOW)) == len(listed) == 3
        assert len(folder.search("from:ann@example.org", 10, now=NOW)) >= 2
        assert folder.get(listed[1].id) == listed[1]
        return listed[1]

    return read


def stranger(*headers, body="Hello", sender="From: Eve <eve@example.net>"):
    return "\n".join([sender, DATE, "Subject: Odd", *headers, "", body, ""])


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ("Content-Type: text/plain; charset*=us-ascii''utf-8", "Grüße", "Grüße"),
        ("Content-Type: text/plain; charset*0*=us-ascii''ut; charset*1=f-8", "Grüße", "Grüße"),
        ("Content-Type: text/plain; charset*=", "Grüße", "Grüße"),
        ('Content-Type: text/plain; charset="', "Grüße", "Grüße"),
        ("Content-Type: text/plain; charset=\x00utf-8", "Grüße", "Grüße"),
        ("Content-Type: text/plain; charset=rot13", "Grüße", "Grüße"),
        ("Content-Type: text/plain; charset=" + "x" * 5000, "Grüße", "Grüße"),
        ("Content-Type: text/plain; charset=utf-16", "Grüße", ""),
        ("Content-Type: ;;;=\x00", "Grüße", "Grüße"),
        ("Content-Type: text/x-unheard-of", "Grüße", "Grüße"),
        ("Content-Type: multipart/mixed", "Grüße", "Grüße"),
        ("Content-Type: multipart/mixed; boundary=b", "Grüße", "Grüße"),
        ("Content-Type: multipart/alternative; boundary=b", "Grüße", "Grüße"),
        ("Content-Type: multipart/mixed; boundary=b", "--b\n\nGrüße", "Grüße"),
        ("Content-Type: multipart/mixed; boundary*=us-ascii''b", "--b\n\nGrüße\n--b--", "Grüße"),
        ("Content-Transfer-Encoding: base64", "%%%=\x00", ""),
        ("Content-Transfer-Encoding: quoted-printable", "Gr=C3=BC=C3=9Fe =", "Grüße "),
        ("Content-Transfer-Encoding: x-uuencode", "begin 666 x\n#!!!\nend", ""),
        ("Content-Transfer-Encoding: no-such-thing", "Grüße", "Grüße"),
        ("Content-Disposition: attachment; filename*=x'", "Grüße", ""),
        ("Content-Type: message/rfc822", "From: ann@example.org\n\nGrüße", "Grüße"),
        ("Content-Type: message/rfc822", "", ""),
        ("Content-Type: message/delivery-status", "a: b\n\nc: d", ""),
        ("Content-Type: message/external-body; access-type=x", "Grüße", ""),
        ("X: " + "y" * 500_000, "Grüße", "Grüße"),
        ("\n".join(f"X-{n}: y" for n in range(20_000)), "Grüße", "Grüße"),
    ],
)
def test_a_message_that_is_built_oddly_is_listed_and_so_are_the_others(found, headers, body, text):
    message = found(stranger(headers, body=body))
    assert (message.sender, message.subject) == ("Eve <eve@example.net>", "Odd")
    assert text in message.text or message.attachments
    assert message.notes == ()


async def test_the_case_that_hid_a_mailbox(tmp_path):
    path = tmp_path / "box"
    path.write_text(
        f"{LINE}Message-ID: <good@x>\nFrom: Ann Lee <ann@example.org>\n{DATE}\nSubject: A\n\na\n\n"
        f"{LINE}Message-ID: <odd@x>\nFrom: Stranger <s@example.net>\n{DATE}\nSubject: B\n"
        "Content-Type: text/plain; charset*=us-ascii''utf-8\n\nGrüße\n",
        encoding="utf-8",
    )
    search = mail_search_tool(context=mail_context(path, NOW))
    listed = json.loads(await search.ainvoke({"query": ""}))
    assert [(m["subject"], m["snippet"]) for m in listed] == [("A", "a"), ("B", "Grüße")]


def test_a_fault_of_a_parser_hides_no_message_and_is_said(mbox, monkeypatch):
    def fail(*_):
        raise SystemError("a fault of this version of Python")

    folder = mbox(ANN, stranger("Content-Type: text/html", body="<p>Grüße"))
    monkeypatch.setattr(mime, "html_to_text", fail)
    ann, eve = (message for _, message in folder.messages())
    assert ann.text == "Answer today.\n"
    assert eve.sender == "Eve <eve@example.net>"
    assert eve.notes == ("It could not be read (SystemError): its text is all of it, as sent.",)
    assert "<p>Grüße" in eve.text

    monkeypatch.setattr(mime, "date_of", fail)
    subjects = [message.subject for message in folder.search("", 9, now=NOW)]
    assert subjects == ["(a message that could not be read)"] * 2


BOSS = "boss@example.org"
EVE = "eve@example.net"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (
            "=?utf-8?q?boss=40example.org?= <eve@example.net>",
            '"boss@example.org" <eve@example.net>',
        ),
        (
            "=?utf-8?q?Boss_=3Cboss=40example.org=3E=2C?= <eve@example.net>",
            '"Boss <boss@example.org>," <eve@example.net>',
        ),
        (
            '"Boss <boss@example.org>" <eve@example.net>',
            '"Boss <boss@example.org>" <eve@example.net>',
        ),
        (
            '"Boss\\" <boss@example.org>, \\"x" <eve@example.net>',
            "\"Boss' <boss@example.org>, 'x\" <eve@example.net>",
        ),
        ("eve@example.net (boss@example.org)", '"boss@example.org" <eve@example.net>'),
        ("boss@example.org <eve@example.net>", '"boss@example.org" <eve@example.net>'),
        ("boss\uff20example.org <eve@example.net>", '"boss\uff20example.org" <eve@example.net>'),
        ("boss@example.org: eve@example.net;", '"boss@example.org": eve@example.net;'),
        ("<@boss@example.org,@b:eve@example.net>", None),
        ("<boss@example.org> <eve@example.net>", None),
        ("boss@example.org, <eve@example.net", None),
        ('"boss@example.org <eve@example.net>', None),
        ("boss@example.org (\\) <eve@example.net>", None),
        ("boss@example.org\x00 <eve@example.net>", '"boss@example.org\ufffd" <eve@example.net>'),
        (f"boss@example.org ({'x' * 30_000}), <eve@example.net>", None),
    ],
)
def test_a_name_that_looks_like_another_address_is_not_taken_for_it(found, raw, shown):
    message = found(stranger(sender=f"From: {raw}"))
    if shown is None:  # as it was sent, so that both are seen
        assert BOSS in message.sender
        assert "eve@example.net" in message.sender
        assert "it is shown as it was sent" in message.notes[0]
    else:
        assert message.sender == shown
        assert "looks like an address and is none" in message.notes[0]
        assert read_addresses([raw], "From").addresses == (EVE,)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Ann <ann@example.org>", "Ann <ann@example.org>"),
        ("ann@example.org (Ann Lee)", "Ann Lee <ann@example.org>"),
        ('"Lee, Ann" <ann@example.org>', '"Lee, Ann" <ann@example.org>'),
        ("=?utf-8?q?M=C3=BCller=2C_Ann?= <ann@example.org>", '"Müller, Ann" <ann@example.org>'),
        ("ann@example.org <ann@example.org>", '"ann@example.org" <ann@example.org>'),
        (
            "Team: ann@example.org, Bob <bob@example.org>;",
            "Team: ann@example.org, Bob <bob@example.org>;",
        ),
        ("undisclosed-recipients:;", "undisclosed-recipients: ;"),
        ("<@relay.example:ann@example.org>", "ann@example.org"),
        ("root (Cron Daemon)", "Cron Daemon <root>"),
        ("Mail System <>", "Mail System <>"),
        (",, ann@example.org ,", "ann@example.org"),
        ('"a b"@example.org', '"a b"@example.org'),
        ("Ann\r\n <ann@example.org>", "Ann <ann@example.org>"),
    ],
)
def test_plain_senders_are_shown_plainly(raw, shown):
    header = read_addresses([raw], "From")
    assert (header.text, header.notes) == (shown, ())


def test_encoded_words_in_an_address_stay_as_they_were_sent():
    raw = "=?utf-8?b?Ym9zc0BleGFtcGxlLm9yZw==?==?utf-8?q?=00?=@example.net"
    assert read_addresses([raw], "From").addresses == (raw,)


def test_a_long_name_does_not_push_the_address_out():
    header = read_addresses([f"Boss <boss@example.org> {'x' * 30_000} <eve@example.net>"], "From")
    assert header.is_unclear
    assert header.text.endswith("<eve@example.net>")
    header = read_addresses([f'"{"x " * 3_000}" <eve@example.net>'], "From")
    assert header.text.endswith(" <eve@example.net>")
    assert len(header.text) < 300


def test_letters_that_look_alike_are_named():
    (note,) = read_addresses(["b\u043ess@example.org"], "From").notes
    assert "CYRILLIC SMALL LETTER O" in note
    assert read_addresses(["bo\u200bss@example.org"], "From").text == "bo\\u200bss@example.org"


def test_several_from_headers_are_all_shown(found):
    message = found(stranger("From: Eve <eve@example.net>", sender="From: Boss <boss@example.org>"))
    assert message.sender == "Boss <boss@example.org>, Eve <eve@example.net>"
    assert message.notes[0].startswith("It has 2 From headers")


def test_many_from_headers_are_bounded(found):
    froms = "\n".join(f"From: {n}@example.net" for n in range(5_000))
    message = found(stranger(sender=froms))
    assert message.sender.count("@") == 10
    assert message.notes[0].startswith("It has 5000 From headers and the first 10 are shown")


@pytest.mark.parametrize(
    "head",
    [
        f"Subject: x\rFrom: Boss <{BOSS}>\nFrom: {EVE}",
        f"Subject: x\r\rFrom: Boss <{BOSS}>\nFrom: {EVE}",
        f"X: \r\r\nFrom: {EVE}",
        f"From : {EVE}",
        f">From x Mon Nov 30 01:00:00 2026\nFrom: {EVE}",
        f"Subject: x\n From: Boss <{BOSS}>\nFrom: {EVE}",
        f"Subject: =?utf-8?q?x=0AFrom=3A_boss=40example.org?=\nFrom: {EVE}",
        f"FROM:{EVE}",
    ],
)
def test_headers_are_those_that_mail_servers_see(found, head):
    assert found(f"{head}\n{DATE}\n\nbody\n").sender == EVE


def test_a_message_without_a_sender_has_none(found):
    message = found(f"{DATE}\nSubject: x\n\nFrom: boss@example.org\n")
    assert message.sender == ""
    assert message.notes == ("It has no From header.",)


def test_an_address_is_not_found_in_a_name(mbox):
    folder = mbox(ANN, stranger(sender='From: "ann@example.org" <eve@example.net>'))
    senders = [m.sender for m in folder.search("from:ann@example.org", 9, now=NOW)]
    assert senders == ["Ann <ann@example.org>"]
    assert len(folder.search("from:ANN", 9, now=NOW)) == 2
    assert len(folder.search("-from:eve@example.net", 9, now=NOW)) == 1


FORGED = f"From boss Mon Nov 30 02:00:00 2026\nFrom: Boss <{BOSS}>\n{DATE}\nSubject: Pay\n\nnow\n"


@pytest.mark.parametrize(
    "line",
    [
        "From here on we meet at nine.",
        "From Monday Nov 30 we meet at nine.\nNote: bring the numbers.",
        f"From: Boss <{BOSS}>",
        f">{FORGED}",
    ],
)
def test_a_line_of_the_text_begins_no_message(found, line):
    message = found(stranger(body=f"One\n\n{line}\n\nlast"))
    assert message.sender == "Eve <eve@example.net>"
    assert message.text.endswith("last\n")


@pytest.mark.parametrize(
    "line",
    [
        "From x@example.org Mon Nov 30 01:00:00 2026",
        "From - Mon Nov 30 01:00:00 2026",
        "From x@example.org Mon Nov  3 1:00 2026",
        "From x@example.org Mon Nov 30 01:00:00 EST 2026",
        "From 1234@xxx Mon Nov 30 01:00:00 +0000 2026",
        "From x@example.org Mon Nov 30 01:00:00 2026 remote from y",
        "From 0123456789abcdef Mon Sep 17 00:00:00 2001",
        "From x@example.org",
        "From ",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_messages_are_told_by_their_lines_whatever_program_wrote_them(mbox, line, end):
    folder = mbox(*(ANN.replace("\n", end) for _ in range(3)), line=line + end)
    assert [m.subject for _, m in folder.messages()] == ["It matters"] * 3


@pytest.mark.parametrize("has_blank_line", [True, False])
def test_a_message_within_the_length_of_another_is_from_nobody_certain(mbox, has_blank_line):
    body = "Hello\n" + "\n" * has_blank_line + FORGED
    folder = mbox(stranger(f"Content-Length: {len(body) + 1}", body=body), ANN)
    eve, forged, ann = (m for _, m in folder.messages())
    assert (eve.sender, ann.sender) == ("Eve <eve@example.net>", "Ann <ann@example.org>")
    assert (forged.sender, forged.subject) == ("(not certain)", "Pay")
    assert "a part of the one before it" in forged.notes[0]
    assert "from Eve <eve@example.net> declares" in forged.notes[0]
    assert folder.search("from:boss", 9, now=NOW) == []
    assert folder.get(forged.id).sender == "(not certain)"


def test_a_part_of_a_deleted_message_is_from_nobody_certain_either(mbox):
    body = f"Hello\n\n{FORGED}"
    folder = mbox(ANN, stranger("Status: D", f"Content-Length: {len(body) + 1}", body=body))
    assert [m.sender for _, m in folder.messages()] == ["Ann <ann@example.org>", "(not certain)"]


def test_a_length_that_a_stranger_made_up_hides_nothing(mbox):
    for length in (10**6, 10**11, 50, 0):
        folder = mbox(stranger(f"Content-Length: {length}"), ANN, ANN.replace("<a@x>", "<b@x>"))
        senders = [m.sender for _, m in folder.messages()]
        assert senders == ["Eve <eve@example.net>", *["Ann <ann@example.org>"] * 2]


RECEIVED = "Received: from mx (mx [192.0.2.1])\n by me; Sun, 29 Nov 2026 23:10:00 +0000"


@pytest.mark.parametrize(
    ("headers", "line", "expected", "note"),
    [
        (DATE, LINE, datetime(2026, 11, 30, 1, tzinfo=UTC), None),
        (RECEIVED, LINE, datetime(2026, 11, 29, 23, 10, tzinfo=UTC), "no Date .* Received header"),
        (
            f"{RECEIVED}\nDate: 2026-11-30T01:11:00Z",
            LINE,
            datetime(2026, 11, 29, 23, 10, tzinfo=UTC),
            "'2026-11-30T01:11:00Z', is not as mail writes it; .* Received header",
        ),
        ("Date: 2026-11-30T01:11:00+01:00", LINE, datetime(2026, 11, 30, 0, 11, tzinfo=UTC), "ISO"),
        ("Date: 30.11.2026", LINE, datetime(2026, 11, 30, 1, tzinfo=UTC), 'line "From "'),
        ("Date: Mon, 99 Nov 2026", LINE, datetime(2026, 11, 30, 1, tzinfo=UTC), 'line "From "'),
        ("X: y", "From a\n", datetime(2026, 11, 28, tzinfo=UTC), "its file was last changed"),
        (
            f"{RECEIVED}\nDate: Mon, 01 Jan 2035 01:00:00 +0000",
            LINE,
            datetime(2026, 11, 29, 23, 10, tzinfo=UTC),
            "later than it arrived; .* Received header",
        ),
        (
            "Date: Mon, 01 Jan 2035 01:00:00 +0000",
            LINE,
            datetime(2026, 11, 30, 1, tzinfo=UTC),
            "later than it arrived",
        ),
        (
            "Date: Mon, 01 Jan 2035 01:00:00 +0000",
            "From a\n",
            datetime(2035, 1, 1, 1, tzinfo=UTC),
            None,
        ),
    ],
)
def test_a_message_has_the_best_date_that_there_is(mbox, tmp_path, headers, line, expected, note):
    folder = mbox(f"From: Shop <shop@example.org>\nSubject: x\n{headers}\n\nx\n", line=line)
    os.utime(tmp_path / "box", (datetime(2026, 11, 28, tzinfo=UTC).timestamp(),) * 2)
    ((_, message),) = folder.messages()
    assert message.date == expected
    assert [message.date] == [m.date for m in folder.search("newer_than:3d", 9, now=NOW)]
    if note is None:
        assert message.notes == ()
    else:
        (said,) = message.notes
        assert re.search(note, said)


def test_a_message_from_the_future_does_not_stand_before_all_others(mbox):
    future = stranger().replace("Nov 2026", "Nov 2090").replace("Mon, ", "")
    folder = mbox(future, ANN.replace("01:00", "02:00"))
    (newest,) = folder.search("", 1, now=NOW)
    assert newest.sender == "Ann <ann@example.org>"


def test_an_undated_message_of_a_maildir_has_the_date_of_its_file(tmp_path):
    for name in ("cur", "new"):
        (tmp_path / name).mkdir()
    file = tmp_path / "new" / "1.a.host"
    file.write_text("From: a@example.org\nSubject: x\n\nx")
    os.utime(file, (NOW.timestamp(), NOW.timestamp()))
    ((_, message),) = MailFolder.open(tmp_path).messages()
    assert message.date == NOW
    assert "file was last changed" in message.notes[0]


@pytest.mark.parametrize(
    ("headers", "unread"),
    [
        ("X-Mozilla-Status: 0001\nX-Mozilla-Status2: 00000000", False),
        ("X-Mozilla-Status: 0000", True),
        ("X-Account-Key: account1\nX-UIDL: 5\nX-Mozilla-Status: 0003", False),
        ("X-Mozilla-Status: 1fff", None),
        ("X-Mozilla-Status: 0009", None),
        ("X-Mozilla-Status: 0008", None),
        ("X-Mozilla-Status: hello", True),
        ("Received: x\nX-Mozilla-Status: 0009", True),  # the sender wrote it
        ("Status: RO", False),
        ("Status: O", True),
        ("Status: RO\nX-Status: AD", None),
        ("Status: D", None),
    ],
)
def test_what_mail_programs_noted_is_read(mbox, headers, unread):
    folder = mbox(f"{headers}\n{stranger()}", ANN)
    read = [m.unread for m in folder.search("subject:odd", 9, now=NOW)]
    assert read == ([] if unread is None else [unread])


def test_trashed_messages_of_a_maildir_are_left_out(tmp_path):
    for name in ("cur", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "cur" / "1.a.host:2,ST").write_text(ANN)
    (tmp_path / "cur" / "2.b.host:2,S").write_text(ANN)
    assert [name for name, _ in MailFolder.open(tmp_path).messages()] == ["2.b.host"]


def test_a_message_of_the_same_id_is_not_given_for_another(mbox):
    eve = stranger("Message-ID: <a@x>")
    ann_first = {m.sender: name for name, m in mbox(ANN, eve).messages()}
    assert mbox(eve, ANN).get(ann_first["Ann <ann@example.org>"]).sender == "Ann <ann@example.org>"


def test_a_mailbox_that_changes_while_it_is_read_is_read_again(mbox, tmp_path, monkeypatch):
    folder = mbox(ANN)
    read, times = type(folder)._matches, []

    def once_disturbed(self, *given):
        times.append(1)
        if len(times) == 1:
            raise UnavailableError("The mailbox changed while it was read.", service="mail")
        return read(self, *given)

    monkeypatch.setattr(type(folder), "_matches", once_disturbed)
    assert len(folder.search("", 9, now=NOW)) == 1


async def test_what_cannot_be_read_as_a_mailbox_is_a_setup_error(tmp_path):
    (tmp_path / "box").write_bytes(b"   From a\nx")
    for tool in (
        mail_search_tool(context=mail_context(tmp_path / "box", NOW)),
        mail_get_message_tool(context=mail_context(tmp_path / "gone", NOW)),
    ):
        with pytest.raises(SetupRequiredError):
            await tool.ainvoke({"message_id": "x"})
