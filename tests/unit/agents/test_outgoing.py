"""The bytes of mail that rota writes: whatever the model says, they say that and no more."""

from __future__ import annotations

import email
import re
from datetime import UTC, datetime
from email.policy import default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.agents.tools.mail.headers import read_headers
from rota.agents.tools.mail.sending.outgoing import (
    LONGEST_TEXT,
    OutgoingMail,
    Thread,
    check_recipients,
    check_text,
    message_id_for,
    read_recipients,
    read_sender,
    reply_subject,
)
from rota.agents.tools.mail.sending.replies import Reply
from rota.domain.approvals.mail_addresses import Recipients, read_addresses
from rota.domain.errors import InvalidInputError, SetupRequiredError

ME = read_sender("alice@own.example")
HEADERS = ["From", "To", "Cc", "Subject", "Date", "Message-ID", "Content-Type"]
HEADERS += ["Content-Transfer-Encoding", "MIME-Version"]

names = st.text(max_size=40).map(lambda name: name.replace('"', ""))
subjects = st.text(max_size=200)
texts = st.text(max_size=500)


def mail(to=("bob@example.org",), cc=(), *, subject="S", text="T", thread=None):
    return OutgoingMail(
        ME,
        read_recipients("to", to),
        read_recipients("cc", cc),
        (),
        subject,
        text,
        message_id_for("call", ME),
        datetime(2026, 3, 2, 7, tzinfo=UTC),
        thread or Thread(),
    )


def read(made):
    return email.message_from_bytes(made.as_bytes(), policy=default)


@settings(max_examples=150, deadline=None)
@given(st.lists(names, min_size=1, max_size=4), subjects, texts)
def test_no_name_subject_or_text_adds_a_header_or_a_recipient(phrases, subject, text):
    given_ = [f'"{name}" <p{n}@example.org>' for n, name in enumerate(phrases)]
    try:
        check_text(subject, text)
        made = mail(given_, subject=subject, text=text)
    except InvalidInputError:
        return  # refused, and so not sent

    message = read(made)
    assert message.keys() == [name for name in HEADERS if name != "Cc"]
    everybody = [one.addr_spec for one in message["To"].addresses]
    assert everybody == [f"p{n}@example.org" for n in range(len(phrases))]
    assert made.recipients == tuple(everybody)
    head, _, _ = made.as_bytes().partition(b"\r\n\r\n")
    assert head.isascii()
    assert max(map(len, head.split(b"\r\n"))) <= 998


@settings(max_examples=150, deadline=None)
@given(texts)
def test_a_text_arrives_as_it_was_written(text):
    try:
        check_text("S", text)
    except InvalidInputError:
        return
    said = read(mail(text=text)).get_content()

    def lines(value):
        return re.split("\r\n|\r|\n", value.removesuffix("\n"))

    assert lines(said.replace("\r\n", "\n")) == lines(text.replace("\r\n", "\n"))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='ab@.<>"(),;: \n\r\\é', max_size=24))
def test_who_gets_it_is_who_the_rules_have_read(text):
    try:
        found = read_recipients("to", [text])
    except InvalidInputError:
        return
    rules = Recipients()
    read_addresses(text, rules)
    assert [one.addr_spec.lower() for one in found] == rules.addresses
    assert rules.unreadable == []


def test_long_ids_are_neither_folded_nor_encoded():
    ids = tuple(f"<{'x' * 120}{n}@example.org>" for n in range(12))
    data = mail(thread=Thread(ids[-1], ids)).as_bytes()

    assert read_headers(data).text("references").split() == list(ids)
    assert b"=?" not in data.partition(b"\r\n\r\n")[0]


def test_a_thread_keeps_its_first_and_its_last_messages():
    many = " ".join(f"<{n}@example.org>" for n in range(100))
    thread = Thread.after("<new@example.org>", many)

    assert len(thread.references) == 30
    assert thread.references[0] == "<0@example.org>"
    assert thread.references[-2:] == ("<99@example.org>", "<new@example.org>")


@pytest.mark.parametrize("hostile", ["<a@b>\r\nBcc: eve@evil.example", "no id", "<a b@c>", ""])
def test_a_strangers_message_id_adds_no_header(hostile):
    message = read(mail(thread=Thread.after(hostile, hostile)))

    assert "Bcc" not in message
    assert (message["In-Reply-To"] or "<a@b>") == "<a@b>"


def test_the_message_id_is_the_calls_and_tells_nothing_of_it():
    assert message_id_for("call", ME) == message_id_for("call", read_sender("alice@own.example"))
    assert message_id_for("call", ME) != message_id_for("other", ME)
    assert re.fullmatch(r"<rota\.[0-9a-f]{40}@own\.example>", message_id_for("call", ME))


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("Lunch", "Re: Lunch"),
        ("Re: Lunch", "Re: Lunch"),
        ("AW: RE: re[2]: Lunch", "Re: Lunch"),
        ("Revenue: 3", "Re: Revenue: 3"),
        ("Lunch\r\nBcc: eve@evil.example", "Re: LunchBcc: eve@evil.example"),
        ("", "Re:"),
        ("x" * 900, "Re: " + "x" * 496),
    ],
)
def test_re_stands_once(subject, reply):
    assert reply_subject(subject) == reply


def test_limits():
    with pytest.raises(InvalidInputError, match="no recipient"):
        check_recipients((), ())
    many = read_recipients("to", [f"p{n}@example.org" for n in range(1_000)])
    with pytest.raises(InvalidInputError, match="1,000 recipients; one mail has at most 100"):
        check_recipients(many)
    with pytest.raises(InvalidInputError, match="30,000,000 characters"):
        check_text("S", "x" * 30_000_000)
    check_text("", "x" * LONGEST_TEXT)
    with pytest.raises(SetupRequiredError, match="which is no address"):
        read_sender("alice")


def answer(*headers, own=("alice@own.example",)):
    found = Reply.to_message(read_headers("\r\n".join((*headers, "", "")).encode()), own)
    return [one.addr_spec for one in found.to], [one.addr_spec for one in found.others]


def test_a_reply_goes_where_the_message_says():
    people = ("From: ann@x.org", "To: alice@own.example, bob@x.org", "Cc: Carl <carl@x.org>")

    assert answer(*people) == (["ann@x.org"], ["bob@x.org", "carl@x.org"])
    assert answer(*people, "Reply-To: list@x.org, ALICE@own.example") == (
        ["list@x.org"],
        ["bob@x.org", "carl@x.org"],
    )
    assert answer(*people, "Reply-To: bob@x.org") == (["bob@x.org"], ["carl@x.org"])
    assert answer(*people, own=("ann@x.org",)) == (
        ["alice@own.example", "bob@x.org"],
        ["carl@x.org"],
    )
    assert answer("From: alice@own.example", "To: alice@own.example") == (
        ["alice@own.example"],
        [],
    )


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("From: ",),
        ("To: alice@own.example",),
        ("From: <a@x.org> <b@y.org>",),
        ("From: ann@x.org", "Reply-To: <a@x.org> <b@y.org>"),
        ('From: "a@own.example" <"x y"@x.org>',),
    ],
)
def test_a_message_that_does_not_say_plainly_who_it_is_from_is_not_answered(headers):
    with pytest.raises(InvalidInputError):
        answer(*headers)
