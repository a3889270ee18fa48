"""Calendars of a CalDAV account, on a real Radicale with TLS and passwords."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from rota.agents.tools.calendar.caldav import CalDavCalendars
from rota.domain.agents.calendar_accounts import PROVIDERS, CalDavAccount, CalendarProvider
from rota.domain.agents.connections import LoginRefusedError, ReconnectRequiredError
from rota.domain.errors import SetupRequiredError, UnavailableError
from tests.loopback.radicale import PASSWORD, USER, Radicale

BERLIN = ZoneInfo("Europe/Berlin")
FROM, UNTIL = datetime(2026, 3, 2, tzinfo=BERLIN), datetime(2026, 3, 9, tzinfo=BERLIN)


@pytest.fixture(scope="module")
def server():
    with Radicale() as radicale:
        radicale.calendar("work", title="Work/Team")
        radicale.calendar("home", title="Zuhause ❤")
        radicale.calendar("todo", component="VTODO")
        radicale.put(
            "/alice/work/",
            "UID:stand\nSUMMARY:Stand-up\nDTSTART;TZID=Europe/Berlin:20260105T090000\n"
            "DURATION:PT15M\nRRULE:FREQ=DAILY;BYDAY=MO,WE\n"
            "EXDATE;TZID=Europe/Berlin:20260302T090000",
            "UID:stand\nSUMMARY:Stand-up late\nRECURRENCE-ID;TZID=Europe/Berlin:20260304T090000\n"
            "DTSTART;TZID=Europe/Berlin:20260305T110000\nDURATION:PT15M",
        )
        radicale.put(
            "/alice/home/",
            "UID:d\nSUMMARY:Dentist\nDTSTART:20260303T130000Z\nDTEND:20260303T140000Z",
        )
        radicale.put(
            "/alice/home/", "UID:old\nSUMMARY:Old\nDTSTART:20250303T130000Z\nDTEND:20250303T140000Z"
        )
        yield radicale


def account(server, **changes):
    values = {
        "url": f"{server.url}/",
        "user": USER,
        "password": PASSWORD,
        "certificate": server.authority,
    }
    return CalDavAccount(**(values | changes))


async def titles(account):
    found = await CalDavCalendars(account, name="dav").events(FROM, UNTIL)
    return sorted((e.start.isoformat(), e.title, e.calendar) for e in found.events)


ALL = [
    ("2026-03-03T14:00:00+01:00", "Dentist", "dav/Zuhause ❤"),
    ("2026-03-05T11:00:00+01:00", "Stand-up late", "dav/Work-Team"),
]


@pytest.mark.parametrize("path", ["/", "", "/alice/", "/.well-known/caldav", "/no/such/path"])
async def test_calendars_are_found_from_any_address_of_the_server(server, path):
    assert await titles(account(server, url=f"{server.url}{path}")) == ALL


async def test_the_address_of_one_calendar_is_that_calendar(server):
    found = await titles(account(server, url=f"{server.url}/alice/home/"))
    assert found == [("2026-03-03T14:00:00+01:00", "Dentist", "dav")]


async def test_a_calendar_that_is_not_there_is_not_the_whole_account(server):
    with pytest.raises(ReconnectRequiredError, match="has nothing at /alice/nix/: is --url right"):
        await titles(account(server, url=f"{server.url}/alice/nix/"))


async def test_only_calendars_of_events_are_counted(server):
    assert await CalDavCalendars(account(server)).count(FROM, UNTIL) == (2, 2)


async def test_a_wrong_password_is_one_refusal(server):
    with pytest.raises(LoginRefusedError, match=r"^127\.0\.0\.1:\d+ refused the password of alice"):
        await titles(account(server, password="wrong"))


async def test_a_refusal_says_which_password_a_provider_takes(server, monkeypatch):
    provider = CalendarProvider("Own", server.url, "Own takes an app password.")
    monkeypatch.setitem(PROVIDERS, "own.example", provider)
    mine = account(server, user="me@own.example", password="wrong")

    with pytest.raises(LoginRefusedError, match=r"of me@own\.example\. Own takes an app password"):
        await titles(mine)
    with pytest.raises(LoginRefusedError, match=r"of me@else\.example\.$"):
        await titles(replace(mine, user="me@else.example"))


async def test_a_certificate_that_does_not_verify_is_told_nothing(server):
    with pytest.raises(
        ReconnectRequiredError, match=r"does not verify .*, so rota told it nothing"
    ):
        await titles(account(server, certificate=""))


async def test_another_host_than_in_the_certificate_is_told_nothing():
    with (
        Radicale(names=("calendar.example",)) as other,
        pytest.raises(ReconnectRequiredError, match="does not verify"),
    ):
        await titles(account(other))


async def test_an_account_without_calendars(server):
    with pytest.raises(SetupRequiredError, match=r"^bob has no calendar at 127\.0\.0\.1"):
        await titles(account(server, user="bob"))


async def test_a_server_that_is_down():
    with Radicale() as radicale:
        gone = account(radicale)
    with pytest.raises(UnavailableError, match=r"cannot be reached: .*onnect.*Try again later"):
        await titles(gone)
