"""A calendar at a secret address, over HTTP, and servers that answer otherwise."""

import gzip
import logging
import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest

from rota.agents.tools.calendar import web
from rota.agents.tools.calendar.feed import FeedCalendar
from rota.domain.agents.calendar_accounts import CalendarFeed, calendar_feed
from rota.domain.agents.connections import ReconnectRequiredError
from rota.domain.errors import InvalidInputError, UnavailableError
from tests.loopback.certificates import write_certificates
from tests.loopback.web_pages import Page, WebPages

BERLIN = ZoneInfo("Europe/Berlin")
FROM, UNTIL = datetime(2026, 3, 2, tzinfo=BERLIN), datetime(2026, 3, 9, tzinfo=BERLIN)
SECRET = "/private-0123456789/basic.ics"
ICS = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a@x\r\nSUMMARY:Gr\xc3\xbc\xc3\x9fe\r\n"
    b"DTSTART:20260302T080000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


@pytest.fixture
def server():
    with WebPages() as pages:
        yield pages


async def read(server, path=SECRET, **options):
    feed = CalendarFeed(f"{server.url}{path}", **options)
    return await FeedCalendar(feed, name="work").events(FROM, UNTIL)


async def refused(server, path=SECRET, kind=UnavailableError, **options):
    """Return the sentence that a reading is refused with; the address is not in it."""
    with pytest.raises(kind) as error:
        await read(server, path, **options)
    chain = error.value
    while chain is not None:
        assert "0123456789" not in f"{chain}{chain!r}"
        chain = chain.__cause__
    return error.value.message


async def test_a_calendar_is_read(server):
    server.pages[SECRET] = Page(ICS, headers={"Content-Type": "text/calendar"})
    (event,) = (await read(server)).events
    assert (event.title, event.calendar) == ("Grüße", "work")
    assert event.start.isoformat() == "2026-03-02T09:00:00+01:00"


async def test_a_calendar_may_be_packed_in_utf_16_or_with_a_mark(server):
    for body in (b"\xef\xbb\xbf" + ICS, ICS.decode().encode("utf-16")):
        server.pages[SECRET] = Page(gzip.compress(body), headers={"Content-Encoding": "gzip"})
        assert [event.title for event in (await read(server)).events] == ["Grüße"]


async def test_an_empty_calendar_is_empty(server):
    server.pages[SECRET] = Page(b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n")
    found = await read(server)
    assert (found.events, found.unread) == ((), ())


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_an_address_that_is_no_longer_good_is_to_be_copied_anew(server, status):
    server.pages[SECRET] = Page(b"<html>", status)
    assert await refused(server, kind=ReconnectRequiredError) == (
        f"127.0.0.1 no longer gives out the calendar at its secret address ({status}). Copy the "
        "address anew."
    )


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(b"<!DOCTYPE html><html>Sign in"), "answers with a web page instead of a calendar"),
        (Page(b""), "answers with nothing instead of a calendar"),
        (Page(b"\x00\x01"), "answers with something else instead of a calendar"),
        (Page(b"", 500), "answered with 500 instead of the calendar. Try again later."),
        (Page(b"", 429), "is limiting requests. Try again later."),
        (Page(b"no gzip", headers={"Content-Encoding": "gzip"}), "with what cannot be unpacked"),
        (Page(b"", 302, {"Location": SECRET}), "redirects in a circle."),
        (
            Page(b"", 302, {"Location": "http://calendar.example/0123456789"}),
            "redirects to an address without encryption, which rota does not follow.",
        ),
        (
            Page(b"", 302, {"Location": "file:///etc/passwd"}),
            "redirects to an address without encryption, which rota does not follow.",
        ),
    ],
    ids=["page", "nothing", "else", "500", "429", "gzip", "circle", "http", "file"],
)
async def test_what_is_no_calendar_is_one_sentence(server, page, said):
    server.pages[SECRET] = page
    assert said in await refused(server)


async def test_a_bomb_is_not_unpacked(server):
    server.pages[SECRET] = Page(
        gzip.compress(b"BEGIN:VCALENDAR\n" + b" " * (200 * 1024 * 1024), 9),
        headers={"Content-Encoding": "gzip"},
    )
    assert await refused(server) == "127.0.0.1 answers with more than 24 MiB."


async def test_a_huge_calendar_is_not_read(server):
    server.pages[SECRET] = Page(ICS * (web.MOST_BYTES // len(ICS) + 1))
    assert await refused(server) == "127.0.0.1 answers with more than 24 MiB."


async def test_a_server_that_is_slow_is_not_waited_for(server, monkeypatch):
    done = threading.Event()
    server.pages[SECRET] = Page(ICS, wait=done)
    monkeypatch.setattr(web, "LONGEST", 0.2)
    try:
        assert await refused(server) == "127.0.0.1 did not answer in time. Try again later."
    finally:
        done.set()


async def test_a_server_that_is_not_there():
    with WebPages() as gone:
        pass
    assert (await refused(gone)).startswith("127.0.0.1 cannot be reached: ")


async def test_a_redirect_to_https_is_followed(server, tmp_path):
    authority = write_certificates(tmp_path, ("127.0.0.1",))
    with WebPages(tmp_path) as safe:
        safe.pages["/elsewhere"] = Page(ICS)
        server.pages[SECRET] = Page(b"", 301, {"Location": f"{safe.url}/elsewhere"})
        assert len((await read(server, certificate=authority)).events) == 1
        assert "does not verify" in await refused(server, kind=ReconnectRequiredError)
        safe.pages["/elsewhere"] = Page(b"", 302, {"Location": f"{server.url}/plain"})
        assert "without encryption" in await refused(server, certificate=authority)


async def test_the_address_is_in_no_log(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.pages[SECRET] = Page(b"", 302, {"Location": f"{SECRET}x"})
    server.pages[f"{SECRET}x"] = Page(ICS)
    await read(server)
    async with httpx.AsyncClient() as other:  # other requests are logged as before
        await other.get(f"{server.url}/public")
    assert "0123456789" not in caplog.text
    assert "/public" in caplog.text


@pytest.mark.parametrize(
    ("address", "read_as"),
    [
        (
            "webcal://p01-caldav.icloud.com/published/2/abc",
            "https://p01-caldav.icloud.com/published/2/abc",
        ),
        ("  https://x.example/a.ics#top \n", "https://x.example/a.ics"),
        ("x.example/a.ics", "https://x.example/a.ics"),
        ("http://localhost:8080/a.ics", "http://localhost:8080/a.ics"),
        (
            "https://calendar.google.com/calendar/ical/a/private-b/basic.ics",
            "https://calendar.google.com/calendar/ical/a/private-b/basic.ics",
        ),
    ],
)
def test_addresses_are_read_as_people_paste_them(address, read_as):
    assert calendar_feed(address).address == read_as


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "No address was given."),
        ("http://x.example/0123456789.ics", "has to begin with https://"),
        ("ftp://x.example/0123456789.ics", "begins with https:// or webcal://"),
        ("https:///0123456789.ics", "begins with https:// or webcal://"),
        ("https://x.example/01234 56789.ics", "begins with https:// or webcal://"),
        ("https://x.example:99999999/0123456789.ics", "cannot be read"),
        ("https://[0123456789/a", "cannot be read"),
        ("https://calendar.google.com/calendar/embed?src=0123456789", "Integrate calendar"),
        ("https://outlook.live.com/owa/calendar/0123456789/calendar.html", "the ICS link"),
    ],
)
def test_addresses_that_are_none_are_refused_without_repeating_them(address, said):
    with pytest.raises(InvalidInputError) as error:
        calendar_feed(address)
    assert said in error.value.message
    assert "01234" not in error.value.message


def test_a_feed_does_not_show_its_address():
    assert repr(CalendarFeed("https://x.example/0123456789.ics")) == "CalendarFeed(of 'x.example')"
