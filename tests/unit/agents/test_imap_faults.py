"""What is said where a mail server refuses, breaks off or is silent, in its words."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest

from rota.agents.tools.mail import imap
from rota.agents.tools.mail.imap import ImapMailbox
from rota.domain.agents.connections import LoginRefusedError
from rota.domain.agents.mail_accounts import ImapAccount
from rota.domain.errors import SetupRequiredError, UnavailableError
from tests.loopback.scripted_imap import SILENCE, ScriptedImap

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OPEN = "* 3 EXISTS\n* OK [UIDVALIDITY 7] valid\n{tag} OK [READ-ONLY] done"
FOUND = "* SEARCH 1 2 3\n{tag} OK done"


def read(server, user="alice@gmail.com"):
    account = ImapAccount("127.0.0.1", user, "x", port=server.port, certificate=server.authority)
    return ImapMailbox(account).search("from:ann", 5, now=NOW)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG"])
def test_a_login_that_fails_for_another_reason_is_no_refused_password(code):
    with (
        ScriptedImap({"LOGIN": f"{{tag}} NO [{code}] Try in an hour"}) as server,
        pytest.raises(UnavailableError, match="Try in an hour"),
    ):
        read(server)


@pytest.mark.parametrize(
    "said", ["[AUTHENTICATIONFAILED] Invalid credentials", "[ALERT] Use an app password", "Failed"]
)
def test_a_refused_password_comes_with_what_the_provider_wants(said):
    with (
        ScriptedImap({"LOGIN": f"{{tag}} NO {said}"}) as server,
        pytest.raises(LoginRefusedError) as caught,
    ):
        read(server)
    assert said in str(caught.value)
    assert "https://myaccount.google.com/apppasswords" in str(caught.value)


@pytest.mark.parametrize(
    "answers",
    [
        {"SEARCH": "{tag} NO [OVERQUOTA] Account exceeded bandwidth limits"},
        {"SEARCH": "* BYE Account exceeded bandwidth limits"},
        {"EXAMINE": "* BYE Account exceeded bandwidth limits"},
        {"SEARCH": FOUND, "FETCH": "{tag} NO [LIMIT] Account exceeded bandwidth limits"},
        {"SEARCH": FOUND, "FETCH": "* BYE Account exceeded bandwidth limits"},
        {"LOGIN": "* BYE Account exceeded bandwidth limits"},
    ],
)
def test_a_limit_that_is_used_up_is_said_and_passes(answers):
    with (
        ScriptedImap({"EXAMINE": OPEN, **answers}) as server,
        pytest.raises(UnavailableError, match=r"exceeded bandwidth limits.* Try again later"),
    ):
        read(server)


def test_what_a_server_says_is_quoted_with_all_its_letters(caplog):
    with (
        ScriptedImap({"LOGIN": "{tag} NO [AUTHENTICATIONFAILED] Ungültig"}) as server,
        pytest.raises(LoginRefusedError, match=r"alice@own.example: \[AUTHENTI.*\] Ungültig\.$"),
    ):
        read(server, "alice@own.example")
    with (
        ScriptedImap({"EXAMINE": "{tag} NO Kein Ordner Entwürfe"}) as server,
        pytest.raises(SetupRequiredError, match="Kein Ordner Entwürfe"),
    ):
        read(server)
    assert caplog.records == []


def test_a_server_that_greets_with_goodbye_is_said():
    with (
        ScriptedImap({}, greeting="* BYE Too many connections") as server,
        pytest.raises(UnavailableError, match="Too many connections"),
    ):
        read(server)


@pytest.mark.parametrize("command", ["LOGIN", "EXAMINE", "SEARCH", "FETCH"])
def test_a_server_that_is_silent_holds_nothing_up(command, monkeypatch):
    monkeypatch.setattr(imap, "_ANSWER_SECONDS", 0.3)
    with (
        ScriptedImap({"EXAMINE": OPEN, "SEARCH": FOUND, command: SILENCE}) as server,
        pytest.raises(UnavailableError, match="did not answer in time"),
    ):
        read(server)


def test_a_search_that_takes_too_long_ends_with_advice(monkeypatch):
    monkeypatch.setattr(imap, "_LONGEST", -1.0)
    with (
        ScriptedImap({"EXAMINE": OPEN, "SEARCH": FOUND}) as server,
        pytest.raises(UnavailableError, match=r"takes too long.*newer_than:7d"),
    ):
        read(server)


@pytest.mark.parametrize(
    "answer",
    [
        "* 1 FETCH (UID 1 FLAGS (\\Seen",
        "* garbage\n{tag} OK done",
        "* 1 FETCH (UID 1)\n{tag} OK done",
        '* 1 FETCH (UID 1 INTERNALDATE "never")\n{tag} OK done',
        "* 1 FETCH (UID x INTERNALDATE NIL)\n{tag} OK done",
    ],
)
def test_answers_that_are_no_imap_are_an_error_of_one_sentence_or_nothing(answer, monkeypatch):
    monkeypatch.setattr(imap, "_ANSWER_SECONDS", 0.3)
    with (
        ScriptedImap({"EXAMINE": OPEN, "SEARCH": FOUND, "FETCH": answer}) as server,
        suppress(UnavailableError),
    ):
        assert read(server) == []


def test_a_message_without_a_date_of_arrival_is_found():
    head = "From: ann@x.org\r\nSubject: Hi\r\n\r\n"
    answer = f'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "never" BODY[]<0> {{{len(head)}}}\r\n{head})'
    with ScriptedImap(
        {"EXAMINE": OPEN, "SEARCH": FOUND, "FETCH": f"{answer}\n{{tag}} OK done"}
    ) as server:
        assert [m.subject for m in read(server)] == ["Hi"]


def test_a_server_that_knows_no_utf_8_is_asked_without():
    with ScriptedImap(
        {"EXAMINE": OPEN, "SEARCH": "{tag} BAD [BADCHARSET (US-ASCII)] no such charset"}
    ) as server:
        account = ImapAccount("127.0.0.1", "a", "x", port=server.port, certificate=server.authority)
        with pytest.raises(UnavailableError):
            ImapMailbox(account).search("größe is:unread", 5, now=NOW)
    asked = [command for command in server.commands if "SEARCH" in command]
    assert asked[0].startswith("UID SEARCH CHARSET UTF-8")
    assert asked[1:] == ["UID SEARCH 1:3 UNDELETED UNSEEN"]


def test_a_folder_that_is_not_there_is_told_with_those_that_are():
    with (
        ScriptedImap(
            {
                "EXAMINE": "{tag} NO [NONEXISTENT] Unknown Mailbox",
                "LIST": '* LIST () "/" "Entw&APw-rfe"\n{tag} OK done',
            }
        ) as server,
        pytest.raises(SetupRequiredError, match=r"Unknown Mailbox. It has: Entwürfe\."),
    ):
        read(server)


def test_no_command_changes_anything():
    with ScriptedImap({"EXAMINE": OPEN, "SEARCH": FOUND}) as server:
        assert read(server) == []
    allowed = {"CAPABILITY", "LOGIN", "EXAMINE", "UID SEARCH", "UID FETCH", "LOGOUT"}
    assert all(any(c.startswith(name) for name in allowed) for c in server.commands)
    assert not any("BODY[" in command for command in server.commands)
