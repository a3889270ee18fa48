"""The Gmail tools, over HTTP, against a Gmail on loopback that serves real MIME."""

import base64
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.google_api import ATTEMPTS
from rota.agents.tools.mail import gmail_tools
from rota.agents.tools.mail.gmail import GmailClient
from rota.agents.tools.mail.gmail_tools import gmail_get_message_tool, gmail_search_tool
from rota.domain.errors import (
    InvalidInputError,
    NotFoundError,
    SetupRequiredError,
    UnavailableError,
)
from tests.loopback.gmail import Failure, GmailServer
from tests.unit.agents.mail_contexts import mail_context


def mail(*headers, body=b"", subject="Hello"):
    head = ["From: Ann <ann@example.com>", "To: bob@example.com", f"Subject: {subject}"]
    head += ["Date: Mon, 02 Mar 2026 08:00:00 +0100", "MIME-Version: 1.0", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.fixture
def gmail():
    with GmailServer() as server:
        yield server


@pytest.fixture
def waits():
    return []


@pytest.fixture
async def client(gmail, waits):
    async def token():
        return "good-token"

    async def sleep(seconds):
        waits.append(seconds)

    async with httpx.AsyncClient() as http:
        yield GmailClient(gmail.url, token, http=http, timeout=5, sleep=sleep)


@pytest.fixture
def context(client, monkeypatch):
    """Of a person whose Gmail the client reads."""

    @asynccontextmanager
    async def connection(name):
        assert name == "gmail"
        yield "good-token"

    monkeypatch.setattr(gmail_tools, "gmail_client", lambda *_of: client)
    return replace(mail_context(None, None), connection=connection)


async def text_of(client, gmail, raw):
    return (await client.get(gmail.add(raw))).text


async def test_search_lists_the_newest_first_with_sender_subject_date_and_snippet(gmail, context):
    gmail.add(mail(subject="First"), mail(subject="=?utf-8?q?Zw=C3=B6lf?="))
    answer = json.loads(await gmail_search_tool(context=context).ainvoke({"query": ""}))
    assert [entry["subject"] for entry in answer] == ["Zwölf", "First"]
    assert answer[0]["from"] == "Ann <ann@example.com>"
    assert answer[0]["date"] == "2026-03-02T08:00:00+01:00"
    assert answer[0]["snippet"] == "It's a <snippet> of " + answer[0]["id"]
    assert answer[0]["unread"] is True


async def test_the_query_and_the_number_of_results_reach_gmail(gmail, client):
    gmail.add(*[mail(subject=f"Invoice {number}") for number in range(9)], mail(subject="Lunch"))
    found = await client.search("invoice", 3)
    assert [message.subject for message in found] == ["Invoice 8", "Invoice 7", "Invoice 6"]
    assert gmail.requests[0].query == {"q": ["invoice"], "maxResults": ["3"]}


async def test_pages_are_followed_until_there_is_enough(gmail, client):
    gmail.page_size = 4
    gmail.add(*[mail(subject=str(number)) for number in range(20)])
    found = await client.search("", 10)
    assert [message.subject for message in found] == [str(number) for number in range(19, 9, -1)]


async def test_a_message_that_gmail_does_not_give_hides_no_other(gmail, client):
    gmail.add(mail(subject="First"), mail(subject="Second"))
    answer = gmail._answer

    def broken(target, authorization):
        found = answer(target, authorization)
        return (200, {}, b'{"id": 3}') if "0000?" in target else found

    gmail._answer = broken
    found = await client.search()
    assert [message.subject for message in found] == [
        "Second",
        "(a message that could not be read)",
    ]
    assert found[1].notes[0].startswith("Gmail did not give it: ")

    gmail._answer = lambda target, key: (
        answer(target, key) if "?m" in target else broken("0000?", key)
    )
    with pytest.raises(UnavailableError):
        await client.search()


async def test_senders_are_told_from_names_as_in_a_folder(gmail, client):
    raw = mail().replace(b"From: Ann", b"From: Boss <boss@example.org>\r\nFrom: Ann")
    (found,) = await client.search() if gmail.add(raw) else ()
    assert found.sender == "Boss <boss@example.org>, Ann <ann@example.com>"
    assert found.notes[0].startswith("It has 2 From headers")


async def test_an_empty_mailbox_is_an_empty_list(gmail, context):
    assert await gmail_search_tool(context=context).ainvoke({}) == "[]"


async def test_at_most_five_requests_are_under_way_at_once(gmail, client):
    gmail.add(*[mail() for _ in range(20)])
    gmail.slowness = 0.01
    assert len(await client.search("", 20)) == 20
    assert 1 < gmail.busiest <= 5


async def test_the_token_is_in_the_header_and_nowhere_else(gmail, client, caplog):
    caplog.set_level(logging.DEBUG)
    await client.get(gmail.add(mail(body=b"x")))
    assert all(request.authorization == "Bearer good-token" for request in gmail.requests)
    assert not any("good-token" in str(request.query) for request in gmail.requests)
    assert "good-token" not in caplog.text


MULTIPART = mail(
    'Content-Type: multipart/mixed; boundary="o"',
    body=b'--o\r\nContent-Type: multipart/alternative; boundary="i"\r\n\r\n'
    b"--i\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
    b"--i\r\nContent-Type: text/html\r\n\r\n<p>HTML</p>\r\n--i--\r\n"
    b'--o\r\nContent-Type: application/pdf; name="a.pdf"\r\n'
    b'Content-Disposition: attachment; filename="a.pdf"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--o--\r\n",
)


async def test_a_multipart_message_has_its_text_and_lists_its_attachment(gmail, context):
    tool = gmail_get_message_tool(context=context)
    answer = json.loads(await tool.ainvoke({"message_id": gmail.add(MULTIPART)}))
    assert answer["text"] == "Grüße"
    assert answer["attachments"] == [
        {"name": "a.pdf", "content_type": "application/pdf", "size": 4}
    ]
    assert answer["to"] == "bob@example.com"
    assert answer["truncated"] is False


@pytest.mark.parametrize("transcodes", [True, False])
@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("iso-2022-jp", "田中です。よろしく"),
        ("windows-1251", "Привет, Сэм"),
        ("koi8-r", "Привет, Сэм"),
        ("iso-8859-1", "Müßiggang"),
        ("utf-16", "Grüße, 田中"),
        ("utf-8", "naïve ☕"),
        ("shift_jis", "日本語のメール"),
    ],
)
async def test_text_is_read_whether_or_not_gmail_transcodes_it(
    gmail, client, charset, text, transcodes
):
    gmail.transcodes = transcodes
    raw = mail(
        f"Content-Type: text/plain; charset={charset}",
        "Content-Transfer-Encoding: base64",
        body=base64.encodebytes(text.encode(charset)),
    )
    assert await text_of(client, gmail, raw) == text


async def test_html_only_becomes_text(gmail, client):
    raw = mail(
        "Content-Type: text/html; charset=utf-8", body=b"<h1>Hi</h1><p>there<script>x</script></p>"
    )
    assert await text_of(client, gmail, raw) == "Hi\n\nthere"


async def test_a_large_message_is_cut_and_says_so(gmail, context):
    key = gmail.add(mail("Content-Type: text/plain", body=b"0123456789" * 500_000))
    answer = json.loads(await gmail_get_message_tool(context=context).ainvoke({"message_id": key}))
    assert len(answer["text"]) == 20_000
    assert answer["truncated"] is True


async def test_an_expired_token_asks_to_connect_again_without_showing_it(gmail, context, waits):
    gmail.token = "another"
    with pytest.raises(SetupRequiredError, match="no longer accepts the connection") as error:
        await gmail_search_tool(context=context).ainvoke({})
    assert "good-token" not in str(error.value)
    assert waits == []


async def test_a_token_that_no_header_can_hold_is_not_quoted(gmail):
    async def token():
        return "bad\ntoken"

    with pytest.raises(SetupRequiredError, match="damaged") as error:
        async with httpx.AsyncClient() as http:
            await GmailClient(gmail.url, token, http=http).search()
    assert "bad" not in str(error.value)
    assert gmail.requests == []


async def test_a_missing_scope_asks_to_grant_it(gmail, client, waits):
    gmail.always = Failure(403, "insufficientPermissions")
    with pytest.raises(SetupRequiredError, match=r"needs the scope .*gmail\.readonly"):
        await client.search()
    assert waits == []


@pytest.mark.parametrize(
    "failure",
    [
        Failure(403, "userRateLimitExceeded"),
        Failure(403, "rateLimitExceeded"),
        Failure(429, "rateLimitExceeded"),
        Failure(500),
        Failure(502, body=b"<html>Bad gateway</html>"),
        Failure(503),
        Failure(504),
    ],
)
async def test_a_passing_failure_is_tried_again(gmail, client, waits, failure):
    gmail.add(mail(subject="Here"))
    gmail.failures.extend([failure, failure])
    assert [message.subject for message in await client.search()] == ["Here"]
    assert 1 <= waits[0] < waits[1] <= 3


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "86400"}, 20),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 20),
    ],
)
async def test_retry_after_is_honoured_up_to_a_limit(gmail, client, waits, headers, wait):
    gmail.failures.append(Failure(429, "rateLimitExceeded", headers=headers))
    await client.search()
    assert waits == [wait]


async def test_a_lasting_failure_ends_after_a_bounded_number_of_attempts(gmail, client, waits):
    gmail.always = Failure(500)
    with pytest.raises(UnavailableError, match="Try again later"):
        await client.search()
    assert len(gmail.requests) == ATTEMPTS
    assert len(waits) == ATTEMPTS - 1


async def test_a_failure_among_the_messages_fails_the_search(gmail, context):
    gmail.add(mail(), mail())
    gmail.always = Failure(500)
    gmail.failures.append(Failure(200, body=b'{"messages":[{"id":"a"},{"id":"b"}]}'))
    with pytest.raises(ToolException, match="answered with an error"):
        await gmail_search_tool(context=context).ainvoke({})


async def test_a_message_deleted_since_it_was_listed_is_left_out(gmail, client):
    kept = gmail.add(mail())
    listed = json.dumps({"messages": [{"id": "gone"}, {"id": kept}]}).encode()
    gmail.failures.append(Failure(200, body=listed))
    assert [message.id for message in await client.search()] == [kept]


async def test_a_slow_gmail_times_out(gmail):
    async def token():
        return "good-token"

    async def sleep(_seconds):
        """Not in a test."""

    gmail.always = Failure(200, delay=0.3)
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.05 s"):
        async with httpx.AsyncClient() as http:
            await GmailClient(gmail.url, token, http=http, timeout=0.05, sleep=sleep).search()


async def test_a_gmail_that_is_not_there_is_unavailable(waits):
    with GmailServer() as gone:
        url = gone.url

    async def token():
        return "good-token"

    async def sleep(seconds):
        waits.append(seconds)

    with pytest.raises(UnavailableError, match="could not be reached"):
        async with httpx.AsyncClient() as http:
            await GmailClient(url, token, http=http, sleep=sleep).search()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"messages":[{"no":"id"}]}', b"[" * 100_000])
async def test_an_answer_that_is_not_gmails_is_refused(gmail, client, body):
    gmail.always = Failure(200, body=body)
    with pytest.raises(UnavailableError, match="not what its API documents"):
        await client.search()


@pytest.mark.parametrize("message_id", ["../labels", "a/b", "", "a?b", "a" * 65, "ä", "a\n"])
async def test_an_id_that_is_none_is_never_sent(gmail, client, message_id):
    with pytest.raises(InvalidInputError):
        await client.get(message_id)
    assert gmail.requests == []


async def test_an_unknown_message_is_told_to_the_model(gmail, client, context):
    with pytest.raises(NotFoundError):
        await client.get("abc123")
    with pytest.raises(ToolException, match=r"No message 'abc123'\. Search again"):
        await gmail_get_message_tool(context=context).ainvoke({"message_id": "abc123"})


async def test_a_refused_query_gives_gmails_reason(gmail, client):
    gmail.always = Failure(400, "badRequest", "Invalid \x1bquery")
    with pytest.raises(InvalidInputError, match=r"refused the request: Invalid query\."):
        await client.search("{")
