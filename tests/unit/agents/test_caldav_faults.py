"""CalDAV servers that are not as Radicale is: scripted on loopback."""

import hashlib
import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rota.agents.tools.calendar.caldav import CalDavCalendars
from rota.agents.tools.calendar.dav_answers import dav_items
from rota.agents.tools.calendar.new_events import NewEvent
from rota.domain.agents.calendar_accounts import CalDavAccount, caldav_account
from rota.domain.agents.connections import LoginRefusedError, ReconnectRequiredError
from rota.domain.errors import InvalidInputError, UnavailableError
from tests.loopback.web_pages import Page, WebPages

BERLIN = ZoneInfo("Europe/Berlin")
FROM, UNTIL = datetime(2026, 3, 2, tzinfo=BERLIN), datetime(2026, 3, 9, tzinfo=BERLIN)
PASSWORD = "wonder-land"
DAV = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"'
ICS = (
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\nSUMMARY:Here\r\nDTSTART:20260302T080000Z\r\n"
    "ATTENDEE;PARTSTAT=DECLINED:mailto:me@own.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
CALENDAR = "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>"


def multistatus(*responses, headers=None):
    body = "".join(
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{prop}</d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        for href, prop in responses
    )
    return Page(f"<d:multistatus {DAV}>{body}</d:multistatus>".encode(), 207, headers or {})


def href(name, value):
    return f"<{name}><d:href>{value}</d:href></{name}>"


def calendars(method, headers):
    """Answer at a calendar home: two calendars, one of them for reading."""
    reading = "<d:current-user-privilege-set><d:privilege><d:read/></d:privilege>"
    return multistatus(
        ("/home/", "<d:resourcetype><d:collection/></d:resourcetype>"),
        ("/home/a/", CALENDAR + "<d:displayname>Own</d:displayname>"),
        ("/home/b/", CALENDAR + reading + "</d:current-user-privilege-set>"),
    )


def events(method, headers):
    if method == "REPORT":
        return multistatus(("/home/a/1.ics", f"<c:calendar-data>{ICS}</c:calendar-data>"))
    return Page(b"", 403)


@pytest.fixture
def server():
    with WebPages() as pages:
        pages.pages |= {
            "/": multistatus(("/", href("d:current-user-principal", "/me/"))),
            "/me/": multistatus(
                (
                    "/me/",
                    href("c:calendar-home-set", "/home/")
                    + href("c:calendar-user-address-set", "mailto:Me@own.example"),
                )
            ),
            "/home/": calendars,
            "/home/a/": events,
            "/home/b/": events,
        }
        yield pages


def behind_basic(page):
    """Return a page that asks for a name and password, and looks at neither."""

    def answer(method, headers):
        if "authorization" not in headers:
            return Page(b"", 401, {"WWW-Authenticate": 'Basic realm="x"'})
        return page(method, headers) if callable(page) else page

    return answer


def behind_digest(page, sent):
    def answer(method, headers):
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', headers.get("authorization", "")))
        sent.append(headers.get("authorization", ""))
        if given:
            one = hashlib.md5(f"alice:x:{PASSWORD}".encode()).hexdigest()
            two = hashlib.md5(f"{method}:{given['uri']}".encode()).hexdigest()
            text = f"{one}:n0:{given['nc']}:{given['cnonce']}:auth:{two}"
            if given["response"] == hashlib.md5(text.encode()).hexdigest():
                return page(method, headers) if callable(page) else page
        challenge = 'Digest realm="x", nonce="n0", qop="auth", algorithm=MD5'
        return Page(b"", 401, {"WWW-Authenticate": challenge})

    return answer


def account(server, path="/", **changes):
    return CalDavCalendars(
        CalDavAccount(f"{server.url}{path}", "alice", PASSWORD, **changes), name="dav"
    )


async def titles(server, **changes):
    found = await account(server, **changes).events(FROM, UNTIL)
    return sorted((event.title, event.calendar, event.response) for event in found.events)


BOTH = [("Here", "dav/Own", "declined"), ("Here", "dav/b", "declined")]


async def test_the_owner_is_known_by_what_the_server_calls_them(server):
    assert await titles(server) == BOTH


async def test_a_server_that_asks_by_digest_never_hears_the_password(server):
    sent = []
    server.pages = {path: behind_digest(page, sent) for path, page in server.pages.items()}
    assert await titles(server) == BOTH
    assert sent[0] == ""
    assert all(PASSWORD not in one and "Basic" not in one for one in sent)


async def test_a_wrong_password_by_digest_is_one_refusal(server):
    sent = []
    server.pages = {path: behind_digest(page, sent) for path, page in server.pages.items()}
    wrong = CalDavAccount(f"{server.url}/", "alice", "wrong")
    with pytest.raises(LoginRefusedError):
        await CalDavCalendars(wrong).events(FROM, UNTIL)
    assert sum(bool(one) for one in sent) == 1


async def test_a_server_that_answers_strangers_is_told_who_asks(server):
    for path in ("/me/", "/home/", "/home/a/", "/home/b/"):
        server.pages[path] = behind_basic(server.pages[path])
    known = server.pages["/"]

    def root(method, headers):
        stranger = (
            "/",
            "<d:current-user-principal><d:unauthenticated/></d:current-user-principal>",
        )
        return known if "authorization" in headers else multistatus(stranger)

    server.pages["/"] = root
    assert await titles(server) == BOTH


async def test_a_way_to_sign_in_that_nobody_knows(server):
    server.pages["/"] = Page(b"", 401, {"WWW-Authenticate": "Negotiate"})
    with pytest.raises(ReconnectRequiredError, match="asks for a way to sign in that rota does"):
        await titles(server)


async def test_a_redirect_keeps_method_and_body(server):
    server.pages["/.well-known/caldav"] = Page(b"", 301, {"Location": "/dav"})
    server.pages["/dav"] = server.pages.pop("/")
    assert await titles(server) == BOTH
    assert ("PROPFIND", "/dav") in [(method, path) for method, path, _ in server.requests]


async def test_a_password_is_not_taken_to_a_server_without_encryption(server):
    with WebPages() as other:
        server.pages["/"] = Page(b"", 302, {"Location": f"{other.url}/"})
        with pytest.raises(UnavailableError, match="redirects to an address without encryption"):
            await titles(server)
        assert other.requests == []


@pytest.mark.parametrize(
    ("page", "kind", "said"),
    [
        (Page(b"<html>", 200), ReconnectRequiredError, "There is no CalDAV at"),
        (Page(b"", 404), ReconnectRequiredError, "There is no CalDAV at"),
        (Page(b"", 503), UnavailableError, "answered with 503 instead of the calendars"),
        (Page(b"not xml", 207), UnavailableError, "answers with what is no CalDAV"),
        (
            Page(
                b'<!DOCTYPE x [<!ENTITY a "b">]><d:multistatus xmlns:d="DAV:">&a;</d:multistatus>',
                207,
            ),
            UnavailableError,
            "answers with what is no CalDAV",
        ),
    ],
    ids=["page", "missing", "down", "no xml", "entities"],
)
async def test_what_is_no_caldav_is_one_sentence(server, page, kind, said):
    server.pages |= {"/": page, "/.well-known/caldav": page, "/remote.php/dav/": page}
    with pytest.raises(kind, match=said):
        await titles(server)


async def test_calendars_for_reading_take_no_event(server):
    found = await account(server).calendars()
    assert [(label, calendar.is_writable) for label, calendar in found] == [
        ("dav/Own", True),
        ("dav/b", False),
    ]
    event = NewEvent("x", FROM, FROM + timedelta(hours=1))
    with pytest.raises(InvalidInputError, match=r"does not take the event \(404\)"):
        await account(server).create(f"{server.url}/home/a/", event, "uid@rota", now=FROM)


async def test_an_event_that_is_there_already_is_that_of_an_earlier_attempt(server):
    server.pages["/home/a/uid%40rota.ics"] = Page(b"", 412)
    event = NewEvent("x", FROM, FROM + timedelta(hours=1))
    assert await account(server).create(f"{server.url}/home/a/", event, "uid@rota", now=FROM) == ""
    method, _, headers = server.requests[-1]
    assert (method, headers["if-none-match"]) == ("PUT", "*")


async def test_a_server_that_plans_meetings_invites(server):
    server.pages["/home/"] = multistatus(
        ("/home/a/", CALENDAR), headers={"DAV": "1, calendar-access, calendar-auto-schedule"}
    )
    server.pages["/home/a/uid%40rota.ics"] = Page(b"", 201)
    event = NewEvent("x", FROM, FROM + timedelta(hours=1), attendees=("ann@example.com",))
    said = await account(server).create(f"{server.url}/home/a/", event, "uid@rota", now=FROM)
    assert said == " The server invites 1."


def test_what_a_server_has_no_right_to_say_is_not_heard():
    answer = (
        f"<d:multistatus {DAV}><d:response><d:href>/a/</d:href><d:propstat><d:prop>{CALENDAR}"
        "</d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>"
        "</d:multistatus>"
    )
    (item,) = dav_items(answer.encode())
    assert not item.is_calendar


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("me@icloud.com", "https://caldav.icloud.com/"),
        ("me@fastmail.com", "https://caldav.fastmail.com/"),
        ("me@mailbox.org", "https://dav.mailbox.org/"),
        ("me@GMX.de", "https://caldav.gmx.net/"),
    ],
)
def test_big_providers_are_known(address, url):
    made = caldav_account(address, "abcd-efgh-ijkl-mnop")
    assert (made.url, made.user, made.address) == (url, address, address.lower())
    assert "abcd" not in repr(made)
    assert caldav_account(address, "abcd efgh ijkl mnop").password == "abcdefghijklmnop"
