"""A mailbox on a real IMAP server: what is found, what is said where it cannot be read."""

from __future__ import annotations

import dataclasses
import mailbox
import os
from contextlib import closing
from datetime import UTC, datetime

import pytest

from rota.agents.tools.mail import imap
from rota.agents.tools.mail.folder import MailFolder
from rota.agents.tools.mail.imap import ImapMailbox
from rota.domain.agents.connections import LoginRefusedError
from rota.domain.agents.mail_accounts import ImapAccount
from rota.domain.errors import NotFoundError, SetupRequiredError, UnavailableError
from rota.sample import sample_mailbox_path
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def mail(
    subject, *, sender="Ann <ann@example.org>", date="Mon, 30 Nov 2026 08:00:00 +0000", **more
):
    headers = {"From": sender, "To": "alice@example.com", "Subject": subject, "Date": date}
    text = more.pop("text", "Hello.")
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{head}\r\n{text}\r\n".encode(errors="replace")


@pytest.fixture(scope="module")
def server():
    dovecot.need()
    with Dovecot() as running:
        yield running


@pytest.fixture
def account(server, request):
    name = f"p{abs(hash(request.node.nodeid)):x}"
    return ImapAccount(
        "127.0.0.1", name, dovecot.PASSWORD, port=server.tls, certificate=server.authority
    )


def subjects(account, query="", limit=20):
    return [m.subject for m in ImapMailbox(account).search(query, limit, now=NOW)]


def test_finds_and_reads_what_a_folder_on_disk_would(server, account, tmp_path):
    path = sample_mailbox_path()
    with closing(mailbox.mbox(path)) as sample:
        server.deliver(account.user, *[bytes(m) for m in sample], at=1_795_000_000)
    folder = MailFolder.open(path)

    for query in (
        *("", "invoice", "from:hosting", "has:attachment", "-from:hosting", "subject:invoice"),
        *("after:2026/03/01", "before:2026/03/01", "newer_than:1y", 'to:"example"', "is:unread"),
    ):
        of_folder = folder.search(query, 50, now=NOW)
        of_server = ImapMailbox(account).search(query, 50, now=NOW)
        if query != "is:unread":  # an mbox says it by headers of its own
            assert [m.subject for m in of_server] == [m.subject for m in of_folder], query
            assert [m.snippet for m in of_server] == [m.snippet for m in of_folder], query
    [found] = ImapMailbox(account).search("invoice from:hosting", 5, now=NOW)
    read = ImapMailbox(account).get(found.id)
    [expected] = folder.search("invoice from:hosting", 5, now=NOW)
    same = ("subject", "sender", "to", "cc", "text", "attachments", "message_id", "date")
    assert [getattr(read, name) for name in same] == [getattr(expected, name) for name in same]


def test_nothing_is_marked_as_read(server, account):
    server.deliver(account.user, mail("One"), mail("Two"))

    for found in ImapMailbox(account).search("hello", 20, now=NOW):
        ImapMailbox(account).get(found.id)

    assert server.flags(account.user) == ["", ""]
    assert sorted(subjects(account, "is:unread")) == ["One", "Two"]
    assert subjects(account, "is:read") == []


def test_read_and_deleted_are_told(server, account):
    server.deliver(account.user, mail("Seen"), flags="S")
    server.deliver(account.user, mail("Gone"), flags="ST")
    server.deliver(account.user, mail("New"))

    assert subjects(account, "is:read") == ["Seen"]
    assert sorted(subjects(account)) == ["New", "Seen"]


def test_an_empty_mailbox_is_empty(account):
    assert ImapMailbox(account).check() == 0
    assert subjects(account) == []
    with pytest.raises(NotFoundError):
        ImapMailbox(account).get("1-1")


@pytest.mark.parametrize("message_id", ["", "1-1", "999999-1", "x", "1-1:*", "../../etc/passwd"])
def test_an_id_of_nothing_is_not_found(server, account, message_id):
    server.deliver(account.user, mail("One"))

    with pytest.raises(NotFoundError):
        ImapMailbox(account).get(message_id)


def test_an_id_from_before_the_server_renumbered_is_not_found(server, account):
    server.deliver(account.user, mail("One"))
    [found] = ImapMailbox(account).search("", 1, now=NOW)
    validity, _, uid = found.id.partition("-")

    with pytest.raises(NotFoundError):
        ImapMailbox(account).get(f"{int(validity) + 1}-{uid}")


@pytest.mark.parametrize("query", ["größe", 'subject:"größe 38"', "GRÖßE", '"größe 38"'])
def test_what_is_not_ascii_is_found(server, account, query):
    server.deliver(
        account.user,
        mail("=?utf-8?q?Gr=C3=B6=C3=9Fe_38?=", Content_Type="text/plain; charset=utf-8"),
        mail("Other"),
    )

    assert subjects(account, query) == ["Größe 38"]


@pytest.mark.parametrize(
    "text",
    [
        'quo"te',
        "back\\slash",
        "100%",
        "(brace)x",
        "{5}",
        "{5+}",
        "x) ALL (y",
        "\ud800x",
        "naïve{3}",
        "a*b",
        "NIL",
        "]",
    ],
)
def test_odd_words_are_found_and_do_no_harm(server, account, text):
    server.deliver(
        account.user,
        mail("Odd", text=f"so {text} it", Content_Type="text/plain; charset=utf-8"),
        mail("Plain"),
    )
    word = text if '"' not in text else "quo"

    assert subjects(account, f'"{word}"') == ([] if text == "\ud800x" else ["Odd"])
    assert subjects(account, f'subject:"{word}"') == []


def test_words_in_base64_and_html_are_found(server, account):
    server.deliver(
        account.user,
        mail(
            "Coded",
            text="PGI+aW52b2ljZTwvYj4gMTIz",
            Content_Type="text/html",
            Content_Transfer_Encoding="base64",
        ),
    )

    assert subjects(account, "invoice") == ["Coded"]


@pytest.mark.parametrize("encryption", ["tls", "starttls"])
def test_both_ways_of_encryption(server, account, encryption):
    server.deliver(account.user, mail("One"))
    port = server.tls if encryption == "tls" else server.starttls

    account = dataclasses.replace(account, port=port, encryption=encryption)

    assert subjects(account) == ["One"]


def test_names_and_passwords_beyond_ascii(server, account):
    server.deliver("zoë", mail("One"))

    assert subjects(dataclasses.replace(account, user="zoë", password="grüße")) == ["One"]
    assert subjects(dataclasses.replace(account, user='my (odd) "name"')) == []


def test_folders_with_odd_names(server, account):
    server.deliver(account.user, mail("Draft"), folder="Entw&APw-rfe")
    server.deliver(account.user, mail("Amp"), folder="R&-D.x y")

    assert subjects(dataclasses.replace(account, folder="Entwürfe")) == ["Draft"]
    assert subjects(dataclasses.replace(account, folder="R&D.x y")) == ["Amp"]
    with pytest.raises(SetupRequiredError, match=r"has no folder 'Nowhere'.*Entwürfe"):
        subjects(dataclasses.replace(account, folder="Nowhere"))


def test_the_newest_by_date_come_first_whenever_they_came(server, account, monkeypatch):
    monkeypatch.setattr(imap, "_HEADS", 3)
    days = (9, 2, 30, 17, 1, 25, 28, 5, 12, 29)
    for day in days:
        date = f"{day:02} Nov 2026 08:00:00 +0000"
        came = datetime(2026, 11, day, 8, tzinfo=UTC).timestamp()
        server.deliver(account.user, mail(str(day), date=date), at=came)
    # Sent long ago, come today; and one without a date.
    server.deliver(account.user, mail("old", date="1 Jan 2020 08:00:00 +0000"), at=NOW.timestamp())

    newest = [str(day) for day in sorted(days, reverse=True)]
    assert subjects(account) == [*newest, "old"]
    assert subjects(account, limit=4) == newest[:4]
    assert subjects(account, "before:2020/02/01") == ["old"]
    assert subjects(account, "after:2026/11/29") == ["30", "29"]
    assert subjects(account, "after:2026/11/28 before:2026/11/30") == ["29", "28"]


def test_a_large_message_is_listed_by_its_beginning_and_read_whole(server, account):
    large = mail("Large", text="Begins so.\r\n" + "x" * 70 + ("\r\n" + "x" * 70) * 30_000)
    server.deliver(account.user, large, mail("Small"))

    listed = ImapMailbox(account).search("", 20, now=NOW)
    assert {m.subject: m.snippet[:10] for m in listed} == {"Large": "Begins so.", "Small": "Hello."}
    [found] = [m for m in listed if m.subject == "Large"]
    assert len(ImapMailbox(account).get(found.id).text) == 1_000_000
    # Its last word is past what is fetched to judge a message by.
    server.deliver(account.user, mail("Late", text="y\r\n" * 400_000 + "needle"))
    assert subjects(account, "needle") == ["Late"]


def test_attachments_are_found_in_whatever_form_a_message_has(server, account, monkeypatch):
    def typed(subject, content_type, **more):
        return mail(subject, Content_Type=content_type, **more)

    parts = "--b\r\n\r\nHello.\r\n--b\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n--b--"
    server.deliver(
        account.user,
        typed("mixed", "multipart/mixed; boundary=b", text=parts),
        typed("related", 'MULTIPART/related; type="text/html"; boundary=b', text=parts),
        typed("pdf", "application/pdf"),
        typed("calendar", "text/calendar"),
        typed("sent as a file", "text/plain", Content_Disposition="attachment; filename=a.txt"),
        typed("plain", "text/plain"),
        typed("html", "text/html"),
        mail("untyped"),
    )
    asked = []
    loaded = imap._Session.messages
    monkeypatch.setattr(
        imap._Session,
        "messages",
        lambda self, uids, size: loaded(self, asked.append(list(uids)) or asked[-1], size),
    )

    found = subjects(account, "has:attachment")
    everything = ImapMailbox(account).search("", 20, now=NOW)

    assert sorted(found) == sorted(m.subject for m in everything if m.attachments)
    assert set(found) >= {"mixed", "related", "pdf"}
    assert len(asked[0]) == 5


@pytest.mark.slow
def test_twenty_thousand_messages_and_few_are_fetched(server, account, monkeypatch):
    base = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    for number in range(20_000):
        date = datetime.fromtimestamp(base + number * 60, UTC)
        data = mail(f"n{number}", date=f"{date:%d %b %Y %H:%M:%S} +0000")
        box = server.root / "mail" / account.user
        (box / "cur").mkdir(parents=True, exist_ok=True)
        (box / "cur" / f"{int(base) + number * 60}.M{number}P1.test:2,").write_bytes(data)
        os.utime(
            box / "cur" / f"{int(base) + number * 60}.M{number}P1.test:2,", (date.timestamp(),) * 2
        )
    for name in ("new", "tmp"):
        (box / name).mkdir()
    server._own()
    fetched = []
    heads = imap._Session.heads
    monkeypatch.setattr(
        imap._Session,
        "heads",
        lambda self, uids: heads(self, [fetched.append(uid) or uid for uid in uids]),
    )

    assert ImapMailbox(account).check() == 20_000
    assert subjects(account, limit=2) == ["n19999", "n19998"]
    assert len(fetched) < 3_000
    assert subjects(account, "subject:n777 before:2026/01/02") == ["n777"]
    assert len(subjects(account, limit=1_000)) == 1_000


def test_a_wrong_password_is_said_with_the_servers_words(account):
    with pytest.raises(
        LoginRefusedError, match=r"refused the password of .*: .*Authentication fail"
    ):
        subjects(dataclasses.replace(account, password="nonsense"))


def test_a_password_is_in_no_error_and_no_log(server, account, caplog):
    caplog.set_level("DEBUG")
    with pytest.raises(LoginRefusedError) as caught:
        subjects(dataclasses.replace(account, password="s3cr3t-phrase"))

    assert "s3cr3t" not in f"{caught.value}{caplog.text}"
    assert dovecot.PASSWORD not in repr(account)


def test_a_certificate_that_does_not_verify_gets_no_password(server, account):
    logins = server.logins(account.user)
    for port, encryption in ((server.tls, "tls"), (server.starttls, "starttls")):
        stranger = dataclasses.replace(account, certificate="", port=port, encryption=encryption)
        with pytest.raises(SetupRequiredError, match=r"certificate of 127.0.0.1.* does not verify"):
            subjects(stranger)
    assert server.logins(account.user) == logins


def test_a_certificate_of_another_name_gets_no_password(account):
    with Dovecot(names=("imap.example.com",)) as other:
        elsewhere = dataclasses.replace(account, port=other.tls, certificate=other.authority)
        with pytest.raises(SetupRequiredError, match="does not verify"):
            subjects(elsewhere)
        assert other.logins(account.user) == 0


def test_a_server_without_encryption_gets_no_password(account):
    with Dovecot(settings="ssl = no\ndisable_plaintext_auth = no") as plain:
        open_to_all = dataclasses.replace(account, port=plain.starttls, encryption="starttls")
        with pytest.raises(SetupRequiredError, match="sends no password unencrypted"):
            subjects(open_to_all)
        with pytest.raises(UnavailableError, match="--encryption"):
            subjects(dataclasses.replace(account, port=plain.starttls))
        assert plain.logins(account.user) == 0


def test_a_server_that_is_down_is_said():
    nowhere = ImapAccount("127.0.0.1", "alice", "x", port=dovecot._free_port())
    with pytest.raises(UnavailableError, match=r"127.0.0.1:\d+ cannot be reached"):
        subjects(nowhere)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        subjects(dataclasses.replace(nowhere, host="imap.invalid"))
