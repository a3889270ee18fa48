"""What `calendar_agenda` and `calendar_find_time` answer, over calendars on loopback."""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.calendar.reading_tools import calendar_agenda_tool, calendar_find_time_tool
from rota.domain.agents.connections import ConnectedAccount
from rota.domain.errors import SetupRequiredError
from rota.security.gate.calls import noting_sources
from tests.loopback.gmail import Failure
from tests.loopback.google_calendar import GoogleCalendarServer
from tests.loopback.web_pages import Page, WebPages
from tests.unit.agents.calendar_contexts import calendar_context, feed

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 2, 8, 7, tzinfo=BERLIN)  # a Monday


def ics(*events):
    blocks = [
        f"BEGIN:VEVENT\n{text if 'UID:' in text else f'UID:{number}@x{chr(10)}{text}'}\nEND:VEVENT"
        for number, text in enumerate(events)
    ]
    return Page("\n".join(["BEGIN:VCALENDAR", *blocks, "END:VCALENDAR"]).encode())


@pytest.fixture
def server():
    with WebPages() as pages:
        yield pages


@pytest.fixture
def google():
    with GoogleCalendarServer() as calendars:
        yield calendars


async def agenda(context, **arguments):
    return json.loads(await calendar_agenda_tool(context=context).ainvoke(arguments))


async def find(context, **arguments):
    return json.loads(await calendar_find_time_tool(context=context).ainvoke(arguments))


async def test_an_agenda_is_a_list_by_start_in_the_zone_of_the_run(server):
    server.pages["/a.ics"] = ics(
        "SUMMARY:Lunch\nDTSTART:20260302T113000Z\nDTEND:20260302T123000Z\nLOCATION:Café\n"
        "DESCRIPTION:Bring the plan\nSTATUS:TENTATIVE",
        "SUMMARY:Tomorrow\nDTSTART:20260303T080000Z",
        "SUMMARY:Fair\nDTSTART;VALUE=DATE:20260301\nDTEND;VALUE=DATE:20260304\nTRANSP:TRANSPARENT",
    )
    found = await agenda(calendar_context(NOW, feed(server, "work")))
    assert found == [
        {
            "title": "Fair",
            "start": "2026-03-01",
            "end": "2026-03-03",
            "weekday": "Sunday",
            "all_day": True,
            "busy": False,
            "status": "confirmed",
            "response": "",
            "location": "",
            "description": "",
            "organizer": "",
            "calendars": ["work"],
            "notes": [],
        },
        {
            "title": "Lunch",
            "start": "2026-03-02T12:30+01:00",
            "end": "2026-03-02T13:30+01:00",
            "weekday": "Monday",
            "all_day": False,
            "busy": True,
            "status": "tentative",
            "response": "",
            "location": "Café",
            "description": "Bring the plan",
            "organizer": "",
            "calendars": ["work"],
            "notes": [],
        },
    ]


async def test_an_agenda_reads_all_calendars_and_tells_from_which(server, google):
    shared = "SUMMARY:Board\nDTSTART:20260302T090000Z\nDTEND:20260302T100000Z\nUID:board"
    server.pages["/a.ics"] = ics(shared, "SUMMARY:Work\nDTSTART:20260302T080000Z")
    server.pages["/b.ics"] = ics(shared + "\nLOCATION:Room 1")
    google.events["me@example.com"] = [
        {
            "id": title,
            "iCalUID": uid,
            "summary": title,
            "status": "confirmed",
            "start": {"dateTime": start},
            "end": {"dateTime": end},
        }
        for title, uid, start, end in (
            ("Gym", "g", "2026-03-02T18:00:00+01:00", "2026-03-02T19:00:00+01:00"),
            ("Not the board", "board", "2026-03-02T09:00:00Z", "2026-03-02T10:00:00Z"),
        )
    ]
    context = calendar_context(
        NOW,
        feed(server, "work"),
        feed(server, "home", path="/b.ics"),
        (ConnectedAccount("private", "google-calendar", "me@example.com"), "token"),
        endpoints={"google-calendar": google.url},
    )
    with noting_sources() as sources:
        found = await agenda(context)
    assert [(e["title"], e["calendars"], e["location"]) for e in found] == [
        ("Work", ["work"], ""),
        ("Board", ["work", "home"], "Room 1"),
        ("Not the board", ["private"], ""),
        ("Gym", ["private"], ""),
    ]
    assert sources == ["calendar work", "calendar home", "calendar private"]


async def test_a_calendar_that_does_not_answer_hides_no_other_and_is_told(server):
    server.pages["/a.ics"] = ics("SUMMARY:Here\nDTSTART:20260302T090000Z", "SUMMARY:Bad")
    server.pages["/b.ics"] = Page(b"", 503)
    went = {}
    found = await agenda(
        calendar_context(NOW, feed(server, "work"), feed(server, "home", path="/b.ics"), went=went)
    )
    assert [(e["title"], e["start"] is None, e["calendars"], e["notes"]) for e in found] == [
        ("Here", False, ["work"], []),
        ("(not shown)", True, ["work"], ["The event 'Bad' has no start that can be read."]),
        (
            "(not shown)",
            True,
            ["home"],
            ["127.0.0.1 answered with 503 instead of the calendar. Try again later."],
        ),
    ]
    assert went == {"home": "127.0.0.1 answered with 503 instead of the calendar. Try again later."}


async def test_where_no_calendar_answers_the_agenda_is_not_empty_but_fails(server):
    server.pages["/a.ics"] = Page(b"", 503)
    with pytest.raises(ToolException, match=r"answered with 503 instead of the calendar"):
        await agenda(calendar_context(NOW, feed(server, "work")))


async def test_a_calendar_that_needs_its_owner_ends_the_run(server):
    server.pages["/a.ics"] = ics("SUMMARY:Here\nDTSTART:20260302T090000Z")
    context = calendar_context(NOW, feed(server, "work"), feed(server, "home", path="/gone.ics"))
    with pytest.raises(SetupRequiredError, match="Copy the address anew"):
        await agenda(context)


async def test_nothing_connected_is_to_be_set_up():
    with pytest.raises(SetupRequiredError, match="rota connections add ics") as error:
        await agenda(calendar_context(NOW))
    assert error.value.what == "connection:calendar"


async def test_declined_events_are_marked_and_free(server):
    server.pages["/a.ics"] = ics(
        "SUMMARY:No\nDTSTART:20260302T090000Z\nDTEND:20260302T100000Z\n"
        "ATTENDEE;PARTSTAT=DECLINED:mailto:me@example.com"
    )
    (found,) = await agenda(calendar_context(NOW, feed(server, "work", account="Me@Example.com")))
    assert (found["response"], found["busy"]) == ("declined", False)


async def test_many_events_are_bounded(server):
    server.pages["/a.ics"] = ics(*["SUMMARY:x\nDTSTART:20260302T090000Z"] * 230)
    found = await agenda(calendar_context(NOW, feed(server, "work")))
    assert len(found) == 201
    assert found[-1]["notes"] == ["30 more events: ask for fewer days."]


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ({}, ["Mon"]),
        ({"start": "tomorrow"}, ["Tue"]),
        ({"days": 2}, ["Mon", "Tue"]),
        ({"start": "2026-03-03", "end": "2026-03-04"}, ["Tue", "Wed"]),
        ({"start": "2026-03-03T12:00", "end": "2026-03-04T09:30"}, ["Wed"]),
        ({"start": "2026-03-04T08:00:00Z", "end": "2026-03-04T08:30:00Z"}, ["Wed"]),
        ({"start": "now", "end": "today"}, ["Mon"]),
    ],
)
async def test_days_and_times_are_those_of_the_run(server, arguments, titles):
    server.pages["/a.ics"] = ics(
        "SUMMARY:Mon\nDTSTART;TZID=Europe/Berlin:20260302T230000\nDURATION:PT1H",
        "SUMMARY:Tue\nDTSTART;TZID=Europe/Berlin:20260303T000000\nDURATION:PT1H",
        "SUMMARY:Wed\nDTSTART;TZID=Europe/Berlin:20260304T090000\nDURATION:PT1H",
    )
    found = await agenda(calendar_context(NOW, feed(server, "work")), **arguments)
    assert [event["title"] for event in found] == titles


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"start": "next week"}, "'next week' is no day or time. Write 2026-03-02"),
        ({"start": "2026-02-30"}, "is no day or time"),
        ({"start": "2026-03-02", "end": "2026-03-01"}, "The end is not after the start."),
        ({"start": "2026-03-02", "end": "2026-03-03", "days": 2}, "not both"),
        ({"start": "2026-01-01", "end": "2026-12-31"}, "at most 92 days"),
    ],
)
async def test_periods_that_are_none_are_refused_with_what_to_write(server, arguments, said):
    with pytest.raises(ToolException, match=said):
        await agenda(calendar_context(NOW, feed(server, "work")), **arguments)


async def test_free_times_are_within_working_hours_from_now_on(server):
    server.pages["/a.ics"] = ics(
        "SUMMARY:Early\nDTSTART;TZID=Europe/Berlin:20260302T060000\nDURATION:PT4H",
        "SUMMARY:Lunch\nDTSTART;TZID=Europe/Berlin:20260302T120000\nDURATION:PT1H",
        "SUMMARY:Short gap\nDTSTART;TZID=Europe/Berlin:20260302T131500\nDURATION:PT2H",
    )
    found = await find(calendar_context(NOW, feed(server, "work")), end="2026-03-03")
    assert [
        (one["start"], one["end"], one["weekday"], one["minutes"]) for one in found["free"]
    ] == [
        ("2026-03-02T10:00+01:00", "2026-03-02T12:00+01:00", "Monday", 120),
        ("2026-03-02T15:15+01:00", "2026-03-02T17:00+01:00", "Monday", 105),
        ("2026-03-03T09:00+01:00", "2026-03-03T17:00+01:00", "Tuesday", 480),
    ]


async def test_free_times_begin_at_a_full_quarter(server):
    server.pages["/a.ics"] = ics()
    found = await find(calendar_context(NOW, feed(server, "work")), hours="0-24", end="today")
    assert found["free"][0]["start"] == "2026-03-02T08:15+01:00"


async def test_only_what_is_busy_takes_time(server):
    day = "DTSTART;VALUE=DATE:2026030{}\nTRANSP:{}"
    server.pages["/a.ics"] = ics(
        "SUMMARY:Holiday\n" + day.format(3, "OPAQUE"),
        "SUMMARY:Birthday\n" + day.format(4, "TRANSPARENT"),
        "SUMMARY:Focus\nDTSTART;TZID=Europe/Berlin:20260304T090000\nDURATION:PT1H\n"
        "TRANSP:TRANSPARENT",
        "SUMMARY:No\nDTSTART;TZID=Europe/Berlin:20260304T120000\nDURATION:PT1H\n"
        "ATTENDEE;PARTSTAT=DECLINED:mailto:me@example.com",
        "SUMMARY:Maybe\nDTSTART;TZID=Europe/Berlin:20260304T160000\nDURATION:PT1H\n"
        "STATUS:TENTATIVE",
    )
    context = calendar_context(NOW, feed(server, "work", account="me@example.com"))
    found = await find(context, start="2026-03-03", end="2026-03-04")
    assert [(one["start"], one["end"]) for one in found["free"]] == [
        ("2026-03-04T09:00+01:00", "2026-03-04T16:00+01:00")
    ]
    assert found["whole_days"] == ["Holiday"]


async def test_a_day_of_23_hours_is_measured_by_the_clock(server):
    server.pages["/a.ics"] = ics()
    sunday = {"start": "2026-03-29", "end": "2026-03-29", "hours": "0-24", "weekdays": "sun"}
    (found,) = (await find(calendar_context(NOW, feed(server, "work")), **sunday))["free"]
    assert found["minutes"] == 23 * 60


async def test_hours_may_go_over_midnight(server):
    server.pages["/a.ics"] = ics()
    found = await find(
        calendar_context(NOW, feed(server, "work")),
        start="2026-03-03T01:00",
        end="2026-03-03",
        hours="22:00-02:00",
        weekdays="mon-sun",
    )
    assert [(one["start"][8:16], one["end"][8:16]) for one in found["free"]] == [
        ("03T01:00", "03T02:00"),
        ("03T22:00", "04T00:00"),
    ]


async def test_the_number_of_free_times_is_bounded(server):
    server.pages["/a.ics"] = ics()
    context = calendar_context(NOW, feed(server, "work"))
    assert len((await find(context, end="2026-05-01", most=3))["free"]) == 3
    assert len((await find(context, end="2026-05-01"))["free"]) == 10


async def test_calendars_that_do_not_answer_are_told_beside_free_times(server):
    server.pages["/a.ics"] = ics()
    server.pages["/b.ics"] = Page(b"", 500)
    context = calendar_context(NOW, feed(server, "work"), feed(server, "home", path="/b.ics"))
    assert (await find(context, end="today"))["notes"] == [
        "home: 127.0.0.1 answered with 500 instead of the calendar. Try again later."
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hours": "nine to five"}, "are no hours of a day"),
        ({"hours": "9-25"}, "are no hours of a day"),
        ({"weekdays": "workdays"}, "are no days of the week"),
        ({"start": "2026-02-01", "end": "2026-02-02"}, "That is over: it is 2026-03-02T08:07"),
    ],
)
async def test_hours_and_days_that_are_none_are_refused(server, arguments, said):
    with pytest.raises(ToolException, match=said):
        await find(calendar_context(NOW, feed(server, "work")), **arguments)


async def test_an_account_of_google_has_its_pages_zones_and_exceptions(google):
    google.page_size = 2
    google.calendars += [
        {"id": "team#1@group", "summary": "Team", "summaryOverride": "Crew", "selected": True},
        {"id": "off@group", "summary": "Hidden", "selected": False},
        {"id": "gone@group", "summary": "Gone", "selected": True, "deleted": True},
    ]

    def event(number, **more):
        return {
            "id": f"e{number}",
            "iCalUID": f"e{number}",
            "summary": f"E{number}",
            "status": "confirmed",
            "start": {"dateTime": "2026-03-02T03:00:00-05:00"},
            "end": {"dateTime": "2026-03-02T04:00:00-05:00"},
        } | more

    me = {"email": "me@example.com", "self": True}
    google.events["me@example.com"] = [
        event(1),
        event(2, status="cancelled"),
        event(
            3, start={"date": "2026-03-02"}, end={"date": "2026-03-04"}, transparency="transparent"
        ),
        event(4, attendees=[me | {"responseStatus": "declined"}]),
        event(5, start={"dateTime": "nonsense"}, summary="Odd"),
    ]
    google.events["team#1@group"] = [event(6, description="<b>Bold</b><script>x</script> plan")]
    connected = ConnectedAccount("g", "google-calendar", "me@example.com"), "token"
    found = await agenda(
        calendar_context(NOW, connected, endpoints={"google-calendar": google.url})
    )
    assert [(e["title"], e["start"], e["end"], e["busy"], e["calendars"]) for e in found] == [
        ("E3", "2026-03-02", "2026-03-03", False, ["g/me@example.com"]),
        ("E1", "2026-03-02T09:00+01:00", "2026-03-02T10:00+01:00", True, ["g/me@example.com"]),
        ("E4", "2026-03-02T09:00+01:00", "2026-03-02T10:00+01:00", False, ["g/me@example.com"]),
        ("E6", "2026-03-02T09:00+01:00", "2026-03-02T10:00+01:00", True, ["g/Crew"]),
        ("(not shown)", None, None, False, ["g"]),
    ]
    assert found[3]["description"] == "Bold plan"
    assert found[4]["notes"] == ["The event 'Odd' cannot be read."]


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (Failure(401), SetupRequiredError, "Google Calendar no longer accepts the connection."),
        (Failure(403, "insufficientPermissions"), SetupRequiredError, "without what this needs"),
        (Failure(403, "accessNotConfigured"), SetupRequiredError, "is not enabled in the Google"),
        (Failure(403, "quotaExceeded"), ToolException, "limit for today is used up"),
        (Failure(200, body=b"<html>"), ToolException, "not what its API documents"),
    ],
)
async def test_what_google_refuses_is_one_sentence(google, failure, kind, said):
    google.failures.append(failure)
    connected = ConnectedAccount("g", "google-calendar", "me@example.com"), "token"
    with pytest.raises(kind, match=said):
        await agenda(calendar_context(NOW, connected, endpoints={"google-calendar": google.url}))
