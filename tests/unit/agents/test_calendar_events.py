"""Events of iCalendar texts: right times, whoever wrote them, and none lost for another.

The times expected were worked out by hand from the rules of the zones: Berlin is UTC+1, and UTC+2
from 29 March to 25 October 2026; New York UTC-5, and UTC-4 from 8 March to 1 November 2026.
"""

from datetime import date, datetime
from itertools import count
from zoneinfo import ZoneInfo

import pytest

from rota.agents.tools.calendar.events import days_after
from rota.agents.tools.calendar.icalendar_events import read_events
from rota.agents.tools.calendar.icalendar_text import take_apart

BERLIN = ZoneInfo("Europe/Berlin")


def calendar(*events, head="", tail="END:VCALENDAR"):
    blocks = [
        f"BEGIN:VEVENT\nUID:{n}@x\nDTSTAMP:20260101T000000Z\n{text.strip()}\nEND:VEVENT"
        if "UID:" not in text
        else f"BEGIN:VEVENT\n{text.strip()}\nEND:VEVENT"
        for n, text in enumerate(events)
    ]
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *([head] if head else []), *blocks, tail])


def read(text, first, last, zone=BERLIN, **options):
    start, end = (datetime.fromisoformat(day).replace(tzinfo=zone) for day in (first, last))
    return read_events(take_apart(text), start, end, **options)


def times(reading):
    """Return `title start - end` of each event, by start."""
    events = sorted(reading.events, key=lambda event: (str(event.start), event.title))
    return [f"{e.title} {e.start.isoformat()} - {e.end.isoformat()}" for e in events]


CUSTOM_ZONE = """BEGIN:VTIMEZONE
TZID:Customized Time Zone
X-LIC-LOCATION:nowhere
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0300
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0200
TZOFFSETTO:+0300
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE"""

CASES = {
    "in UTC, shown in winter and summer time": (
        [
            "SUMMARY:a\nDTSTART:20260302T080000Z\nDTEND:20260302T090000Z",
            "SUMMARY:b\nDTSTART:20260702T080000Z\nDTEND:20260702T090000Z",
        ],
        ("2026-03-01", "2026-08-01"),
        [
            "a 2026-03-02T09:00:00+01:00 - 2026-03-02T10:00:00+01:00",
            "b 2026-07-02T10:00:00+02:00 - 2026-07-02T11:00:00+02:00",
        ],
    ),
    "of another zone, whose clocks change three weeks earlier": (
        [
            (
                "SUMMARY:call\nDTSTART;TZID=America/New_York:20260305T090000\nDURATION:PT30M\n"
                "RRULE:FREQ=WEEKLY;COUNT=5"
            )
        ],
        ("2026-03-01", "2026-04-10"),
        [
            "call 2026-03-05T15:00:00+01:00 - 2026-03-05T15:30:00+01:00",
            "call 2026-03-12T14:00:00+01:00 - 2026-03-12T14:30:00+01:00",
            "call 2026-03-19T14:00:00+01:00 - 2026-03-19T14:30:00+01:00",
            "call 2026-03-26T14:00:00+01:00 - 2026-03-26T14:30:00+01:00",
            "call 2026-04-02T15:00:00+02:00 - 2026-04-02T15:30:00+02:00",
        ],
    ),
    "recurring through the change of the clocks": (
        [
            (
                "SUMMARY:s\nDTSTART;TZID=Europe/Berlin:20260328T090000\n"
                "DTEND;TZID=Europe/Berlin:20260328T091500\nRRULE:FREQ=DAILY;COUNT=2"
            )
        ],
        ("2026-03-28", "2026-03-30"),
        [
            "s 2026-03-28T09:00:00+01:00 - 2026-03-28T09:15:00+01:00",
            "s 2026-03-29T09:00:00+02:00 - 2026-03-29T09:15:00+02:00",
        ],
    ),
    "in the hour that does not exist": (
        ["SUMMARY:gap\nDTSTART;TZID=Europe/Berlin:20260329T023000\nDURATION:PT1H"],
        ("2026-03-29", "2026-03-30"),
        ["gap 2026-03-29T03:30:00+02:00 - 2026-03-29T04:30:00+02:00"],
    ),
    "in the hour that is there twice": (
        ["SUMMARY:twice\nDTSTART;TZID=Europe/Berlin:20261025T023000\nDURATION:PT1H"],
        ("2026-10-25", "2026-10-26"),
        ["twice 2026-10-25T02:30:00+02:00 - 2026-10-25T02:30:00+01:00"],
    ),
    "eight hours of a night that has seven": (
        [
            "SUMMARY:night\nDTSTART;TZID=Europe/Berlin:20260328T220000\nDURATION:PT8H",
            (
                "SUMMARY:each\nDTSTART;TZID=Europe/Berlin:20260327T220000\nDURATION:PT8H\n"
                "RRULE:FREQ=DAILY;COUNT=2"
            ),
        ],
        ("2026-03-27", "2026-03-30"),
        [
            "each 2026-03-27T22:00:00+01:00 - 2026-03-28T06:00:00+01:00",
            "each 2026-03-28T22:00:00+01:00 - 2026-03-29T07:00:00+02:00",
            "night 2026-03-28T22:00:00+01:00 - 2026-03-29T07:00:00+02:00",
        ],
    ),
    "a duration of a day is a day by the calendar": (
        ["SUMMARY:day\nDTSTART;TZID=Europe/Berlin:20260328T120000\nDURATION:P1D"],
        ("2026-03-28", "2026-03-30"),
        ["day 2026-03-28T12:00:00+01:00 - 2026-03-29T12:00:00+02:00"],
    ),
    "all day, which no zone moves": (
        [
            "SUMMARY:one\nDTSTART;VALUE=DATE:20260302",
            "SUMMARY:three\nDTSTART;VALUE=DATE:20260303\nDTEND;VALUE=DATE:20260306",
            "SUMMARY:lasts\nDTSTART;VALUE=DATE:20260307\nDURATION:P2D",
            "SUMMARY:nothing\nDTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260310",
        ],
        ("2026-03-01", "2026-04-01"),
        [
            "one 2026-03-02 - 2026-03-03",
            "three 2026-03-03 - 2026-03-06",
            "lasts 2026-03-07 - 2026-03-09",
            "nothing 2026-03-10 - 2026-03-11",
        ],
    ),
    "all day, as Exchange writes it": (
        [
            (
                "SUMMARY:x\nDTSTART;TZID=W. Europe Standard Time:20260302T000000\n"
                "DTEND;TZID=W. Europe Standard Time:20260303T000000\n"
                "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE"
            )
        ],
        ("2026-03-01", "2026-04-01"),
        ["x 2026-03-02 - 2026-03-03"],
    ),
    "several days long, begun before": (
        [
            (
                "SUMMARY:trip\nDTSTART;TZID=Europe/Berlin:20260227T180000\n"
                "DTEND;TZID=Europe/Berlin:20260303T120000"
            ),
            "SUMMARY:leave\nDTSTART;VALUE=DATE:20260220\nDTEND;VALUE=DATE:20260303",
            "SUMMARY:over\nDTSTART;VALUE=DATE:20260220\nDTEND;VALUE=DATE:20260302",
        ],
        ("2026-03-02", "2026-03-03"),
        [
            "leave 2026-02-20 - 2026-03-03",
            "trip 2026-02-27T18:00:00+01:00 - 2026-03-03T12:00:00+01:00",
        ],
    ),
    "without an end, or with one before its start": (
        [
            "SUMMARY:point\nDTSTART:20260302T080000Z",
            "SUMMARY:swapped\nDTSTART:20260302T090000Z\nDTEND:20260302T080000Z",
            "SUMMARY:mixed\nDTSTART;TZID=Europe/Berlin:20260302T110000\nDTEND;VALUE=DATE:20260303",
        ],
        ("2026-03-02", "2026-03-03"),
        [
            "point 2026-03-02T09:00:00+01:00 - 2026-03-02T09:00:00+01:00",
            "swapped 2026-03-02T10:00:00+01:00 - 2026-03-02T10:00:00+01:00",
            "mixed 2026-03-02T11:00:00+01:00 - 2026-03-03T00:00:00+01:00",
        ],
    ),
    "floating, which is of the reader's zone": (
        [
            "SUMMARY:wake\nDTSTART:20260302T070000\nDURATION:PT5M",
            "SUMMARY:pill\nDTSTART:20260328T080000\nRRULE:FREQ=DAILY;COUNT=2",
        ],
        ("2026-03-01", "2026-04-01"),
        [
            "wake 2026-03-02T07:00:00+01:00 - 2026-03-02T07:05:00+01:00",
            "pill 2026-03-28T08:00:00+01:00 - 2026-03-28T08:00:00+01:00",
            "pill 2026-03-29T08:00:00+02:00 - 2026-03-29T08:00:00+02:00",
        ],
    ),
    "exceptions: left out, moved, renamed and cancelled": (
        [
            (
                "UID:s\nSUMMARY:s\nDTSTART;TZID=Europe/Berlin:20260302T090000\nDURATION:PT1H\n"
                "RRULE:FREQ=DAILY;COUNT=6\nEXDATE;TZID=Europe/Berlin:20260303T090000"
            ),
            (
                "UID:s\nSUMMARY:moved\nRECURRENCE-ID;TZID=Europe/Berlin:20260304T090000\n"
                "DTSTART;TZID=Europe/Berlin:20260304T150000\nDURATION:PT2H"
            ),
            (
                "UID:s\nSUMMARY:s\nSTATUS:CANCELLED\nRECURRENCE-ID:20260305T080000Z\n"
                "DTSTART;TZID=Europe/Berlin:20260305T090000"
            ),
            (
                "UID:s\nSUMMARY:away\nRECURRENCE-ID;TZID=Europe/Berlin:20260306T090000\n"
                "DTSTART;TZID=Europe/Berlin:20260401T090000\nDURATION:PT1H"
            ),
        ],
        ("2026-03-01", "2026-03-20"),
        [
            "s 2026-03-02T09:00:00+01:00 - 2026-03-02T10:00:00+01:00",
            "moved 2026-03-04T15:00:00+01:00 - 2026-03-04T17:00:00+01:00",
            "s 2026-03-07T09:00:00+01:00 - 2026-03-07T10:00:00+01:00",
        ],
    ),
    "a recurrence that was moved into these days from another month": (
        [
            "UID:s\nSUMMARY:s\nDTSTART:20260101T080000Z\nDURATION:PT1H\nRRULE:FREQ=MONTHLY;COUNT=3",
            (
                "UID:s\nSUMMARY:here\nRECURRENCE-ID:20260201T080000Z\nDTSTART:20260310T080000Z\n"
                "DURATION:PT1H"
            ),
        ],
        ("2026-03-10", "2026-03-11"),
        ["here 2026-03-10T09:00:00+01:00 - 2026-03-10T10:00:00+01:00"],
    ),
    "this and all that follow": (
        [
            "UID:s\nSUMMARY:s\nDTSTART:20260302T080000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3",
            (
                "UID:s\nSUMMARY:later\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260303T080000Z\n"
                "DTSTART:20260303T100000Z\nDURATION:PT1H"
            ),
        ],
        ("2026-03-01", "2026-03-20"),
        [
            "s 2026-03-02T09:00:00+01:00 - 2026-03-02T10:00:00+01:00",
            "later 2026-03-03T11:00:00+01:00 - 2026-03-03T12:00:00+01:00",
            "later 2026-03-04T11:00:00+01:00 - 2026-03-04T12:00:00+01:00",
        ],
    ),
    "all-day recurrences with exceptions": (
        [
            (
                "SUMMARY:bins\nDTSTART;VALUE=DATE:20260302\nRRULE:FREQ=WEEKLY\n"
                "EXDATE;VALUE=DATE:20260309\nRDATE;VALUE=DATE:20260311"
            )
        ],
        ("2026-03-01", "2026-03-17"),
        [
            "bins 2026-03-02 - 2026-03-03",
            "bins 2026-03-11 - 2026-03-12",
            "bins 2026-03-16 - 2026-03-17",
        ],
    ),
    "until a day, which counts whole": (
        [
            (
                "SUMMARY:u\nDTSTART;TZID=Europe/Berlin:20260302T090000\nDURATION:PT1H\n"
                "RRULE:FREQ=DAILY;UNTIL=20260303"
            )
        ],
        ("2026-03-01", "2026-03-20"),
        [
            "u 2026-03-02T09:00:00+01:00 - 2026-03-02T10:00:00+01:00",
            "u 2026-03-03T09:00:00+01:00 - 2026-03-03T10:00:00+01:00",
        ],
    ),
    "zones by the names of Windows, of vendors, by offset and by definition": (
        [
            "SUMMARY:a\nDTSTART;TZID=Romance Standard Time:20260302T090000",
            (
                "SUMMARY:b\nDTSTART;TZID=/freeassociation.sourceforge.net/America/New_York:"
                "20260302T090000"
            ),
            'SUMMARY:c\nDTSTART;TZID="(UTC+05:30) Chennai, Kolkata":20260302T090000',
            "SUMMARY:d\nDTSTART;TZID=Customized Time Zone:20260302T090000",
            "SUMMARY:e\nDTSTART;TZID=Customized Time Zone:20260702T090000",
            'SUMMARY:f\nDTSTART;TZID="tzone://Microsoft/Utc":20260302T090000',
        ],
        ("2026-03-01", "2026-08-01"),
        [
            "c 2026-03-02T04:30:00+01:00 - 2026-03-02T04:30:00+01:00",
            "d 2026-03-02T08:00:00+01:00 - 2026-03-02T08:00:00+01:00",
            "a 2026-03-02T09:00:00+01:00 - 2026-03-02T09:00:00+01:00",
            "f 2026-03-02T10:00:00+01:00 - 2026-03-02T10:00:00+01:00",
            "b 2026-03-02T15:00:00+01:00 - 2026-03-02T15:00:00+01:00",
            "e 2026-07-02T08:00:00+02:00 - 2026-07-02T08:00:00+02:00",
        ],
    ),
    "a flight, which ends in another zone": (
        [
            (
                "SUMMARY:flight\nDTSTART;TZID=Europe/Berlin:20260302T100000\n"
                "DTEND;TZID=America/New_York:20260302T130000"
            )
        ],
        ("2026-03-02", "2026-03-03"),
        ["flight 2026-03-02T10:00:00+01:00 - 2026-03-02T19:00:00+01:00"],
    ),
    "in UTC, with a zone beside it": (
        ["SUMMARY:z\nDTSTART;TZID=America/New_York:20260302T080000Z"],
        ("2026-03-02", "2026-03-03"),
        ["z 2026-03-02T09:00:00+01:00 - 2026-03-02T09:00:00+01:00"],
    ),
    "all day, without saying that it is a date": (
        ["SUMMARY:d\nDTSTART:20260302\nDTEND:20260303"],
        ("2026-03-02", "2026-03-03"),
        ["d 2026-03-02 - 2026-03-03"],
    ),
    "over midnight of the reader's zone": (
        ["SUMMARY:late\nDTSTART;TZID=America/Los_Angeles:20260302T160000\nDURATION:PT1H"],
        ("2026-03-03", "2026-03-04"),
        ["late 2026-03-03T01:00:00+01:00 - 2026-03-03T02:00:00+01:00"],
    ),
    "the last Friday of each month, five times a year later": (
        [
            (
                "SUMMARY:pay\nDTSTART;TZID=Europe/Berlin:20250131T120000\n"
                "RRULE:FREQ=MONTHLY;BYDAY=-1FR;COUNT=15"
            )
        ],
        ("2026-03-01", "2026-06-01"),
        ["pay 2026-03-27T12:00:00+01:00 - 2026-03-27T12:00:00+01:00"],
    ),
    "every second week from the week of its start": (
        [
            (
                "SUMMARY:two\nDTSTART;TZID=Europe/Berlin:20260224T090000\n"
                "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;WKST=MO"
            )
        ],
        ("2026-03-01", "2026-03-15"),
        [
            "two 2026-03-10T09:00:00+01:00 - 2026-03-10T09:00:00+01:00",
            "two 2026-03-12T09:00:00+01:00 - 2026-03-12T09:00:00+01:00",
        ],
    ),
    "born in 1604, as Apple writes birthdays": (
        [
            "SUMMARY:Ann\nDTSTART;VALUE=DATE:16040229\nRRULE:FREQ=YEARLY",
            "SUMMARY:Bo\nDTSTART;VALUE=DATE:16040302\nRRULE:FREQ=YEARLY",
        ],
        ("2026-02-01", "2026-04-01"),
        ["Bo 2026-03-02 - 2026-03-03"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_events_have_the_right_times(name):
    events, period, expected = CASES[name]
    found = read(calendar(*events, head=CUSTOM_ZONE), *period)
    assert times(found) == expected
    assert found.unread == ()


def test_all_day_events_are_the_same_days_for_a_reader_elsewhere():
    text = calendar("SUMMARY:x\nDTSTART;VALUE=DATE:20260302")
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        found = read(text, "2026-03-02", "2026-03-03", ZoneInfo(zone))
        assert [(e.start, e.end) for e in found.events] == [(date(2026, 3, 2), date(2026, 3, 3))]
        assert read(text, "2026-03-03", "2026-03-04", ZoneInfo(zone)).events == ()


def test_the_default_zone_of_a_calendar_is_that_of_times_without_one():
    text = calendar(
        "SUMMARY:x\nDTSTART:20260302T090000",
        "SUMMARY:y\nDTSTART:20260302T090000Z",
        head="X-WR-TIMEZONE:America/New_York",
    )
    assert times(read(text, "2026-03-02", "2026-03-03")) == [
        "y 2026-03-02T10:00:00+01:00 - 2026-03-02T10:00:00+01:00",
        "x 2026-03-02T15:00:00+01:00 - 2026-03-02T15:00:00+01:00",
    ]


def test_a_zone_that_nobody_knows_is_noted():
    found = read(
        calendar("SUMMARY:x\nDTSTART;TZID=Mars/Olympus:20260302T090000"), "2026-03-02", "2026-03-03"
    )
    assert times(found) == ["x 2026-03-02T09:00:00+01:00 - 2026-03-02T09:00:00+01:00"]
    assert found.events[0].notes == (
        "Its time zone 'Mars/Olympus' is not known: its times are taken as yours.",
    )


def test_a_calendar_does_not_change_the_zones_of_another():
    mine = CUSTOM_ZONE.replace("Customized", "Home").replace("+0200", "+0900")
    evil = mine.replace("Home Time Zone", "W. Europe Standard Time")
    event = "SUMMARY:x\nDTSTART;TZID={}:20260302T120000"
    home, west = event.format("Home Time Zone"), event.format("W. Europe Standard Time")
    assert times(read(calendar(home, head=mine), "2026-03-01", "2026-03-05")) == [
        "x 2026-03-02T04:00:00+01:00 - 2026-03-02T04:00:00+01:00"
    ]
    other = CUSTOM_ZONE.replace("Customized", "Home")
    assert times(read(calendar(home, head=other), "2026-03-01", "2026-03-05")) == [
        "x 2026-03-02T11:00:00+01:00 - 2026-03-02T11:00:00+01:00"
    ]
    read(calendar(west, head=evil), "2026-03-01", "2026-03-05")
    assert times(read(calendar(west), "2026-03-01", "2026-03-05")) == [
        "x 2026-03-02T12:00:00+01:00 - 2026-03-02T12:00:00+01:00"
    ]


BROKEN = {
    "no start": ("SUMMARY:bad", "The event 'bad' has no start that can be read."),
    "a start that is none": (
        "SUMMARY:bad\nDTSTART:tomorrow",
        "The event 'bad' has no start that can be read.",
    ),
    "an interval of nothing": (
        "SUMMARY:bad\nDTSTART:20260301T080000Z\nRRULE:FREQ=DAILY;INTERVAL=0",
        "The event 'bad' recurs after an interval of nothing.",
    ),
    "each second": (
        "SUMMARY:bad\nDTSTART:20260301T080000Z\nRRULE:FREQ=SECONDLY",
        "The event 'bad' recurs each minute or more often.",
    ),
    "each hour since 1601": (
        "SUMMARY:bad\nDTSTART:16010101T000000Z\nRRULE:FREQ=HOURLY",
        "The event 'bad' recurs too often to be followed.",
    ),
    "each second of each day, by another way": (
        "SUMMARY:bad\nDTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;BYHOUR="
        + ",".join(map(str, range(24)))
        + ";BYMINUTE="
        + ",".join(map(str, range(60)))
        + ";BYSECOND="
        + ",".join(map(str, range(60))),
        "The event 'bad' recurs too often to be followed.",
    ),
    "days that recur each hour": (
        "SUMMARY:bad\nDTSTART;VALUE=DATE:20260301\nRRULE:FREQ=HOURLY",
        "The event 'bad' is of days, and recurs more often.",
    ),
    "a month that there is not": (
        "SUMMARY:bad\nDTSTART:20260301T080000Z\nRRULE:FREQ=DAILY;BYMONTH=77",
        "The event 'bad' recurs on days that there are not.",
    ),
    "30 February": (
        "SUMMARY:bad\nDTSTART:20260301T080000Z\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "The event 'bad' recurs on days that there are not.",
    ),
    "a rule without a frequency": (
        "SUMMARY:bad\nDTSTART:20260301T080000Z\nRRULE:COUNT=3",
        "The event 'bad' cannot be read.",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_event_is_told_and_hides_no_other(name):
    bad, said = BROKEN[name]
    good = "SUMMARY:good\nDTSTART:20260302T080000Z\nRRULE:FREQ=DAILY;COUNT=1"
    found = read(calendar(bad, good, bad), "2026-03-02", "2026-03-03")
    assert times(found) == ["good 2026-03-02T09:00:00+01:00 - 2026-03-02T09:00:00+01:00"]
    assert found.unread == (said, said)


def test_a_broken_part_is_left_out_and_noted():
    found = read(
        calendar("SUMMARY:x\nDTSTART:20260302T080000Z\nDTEND:later\nEXDATE:never"),
        "2026-03-02",
        "2026-03-03",
    )
    assert times(found) == ["x 2026-03-02T09:00:00+01:00 - 2026-03-02T09:00:00+01:00"]
    assert set(found.events[0].notes) == {
        "Its DTEND cannot be read, and was left out.",
        "Its EXDATE cannot be read, and was left out.",
    }


def test_a_text_that_is_cut_off_keeps_what_came_whole():
    whole = calendar("SUMMARY:a\nDTSTART:20260302T080000Z", "SUMMARY:b\nDTSTART:20260302T090000Z")
    found = read(whole[: whole.index("SUMMARY:b") + 9], "2026-03-02", "2026-03-03")
    assert [event.title for event in found.events] == ["a"]
    assert found.unread == ("The event 'b' is cut off.",)


def test_an_event_that_does_not_end_hides_no_other():
    text = calendar("SUMMARY:a\nDTSTART:20260302T080000Z", "SUMMARY:b\nDTSTART:20260302T090000Z")
    found = read(text.replace("END:VEVENT\n", "", 1), "2026-03-02", "2026-03-03")
    assert [event.title for event in found.events] == ["b"]
    assert found.unread == ("The event 'a' is cut off.",)


def test_what_takes_long_comes_last_and_the_reading_ends():
    slow = "SUMMARY:never\nDTSTART:20260301T080000Z\nRRULE:FREQ=YEARLY;BYMONTH=2;BYYEARDAY=300"
    good = "SUMMARY:good\nDTSTART:20260302T080000Z\nRRULE:FREQ=DAILY"
    ticks = count(step=8)
    found = read(
        calendar(slow, slow, slow, good), "2026-03-02", "2026-03-03", clock=lambda: next(ticks)
    )
    assert [event.title for event in found.events] == ["good"]
    assert found.unread == ("The calendar takes too long: 2 events were not read.",)


def test_many_faults_are_counted():
    found = read(calendar(*["SUMMARY:bad"] * 9), "2026-03-02", "2026-03-03")
    assert len(found.unread) == 6
    assert found.unread[-1] == "4 more events could not be read."


def test_events_that_share_a_uid_are_all_read_unless_one_was_changed():
    event = "UID:same\nSUMMARY:{}\nDTSTART:20260302T{}0000Z"
    text = calendar(event.format("a", "08"), event.format("b", "09"))
    assert [e.title for e in read(text, "2026-03-02", "2026-03-03").events] == ["a", "b"]
    text = calendar(event.format("old", "08"), event.format("new", "09") + "\nSEQUENCE:2")
    assert [e.title for e in read(text, "2026-03-02", "2026-03-03").events] == ["new"]


def test_cancelled_events_are_left_out():
    text = calendar(
        "SUMMARY:a\nDTSTART:20260302T080000Z\nSTATUS:CANCELLED",
        "SUMMARY:b\nDTSTART:20260302T080000Z\nSTATUS:cancelled",
        "SUMMARY:c\nDTSTART:20260302T080000Z\nSTATUS:TENTATIVE",
    )
    (found,) = read(text, "2026-03-02", "2026-03-03").events
    assert (found.title, found.is_tentative) == ("c", True)


def test_who_is_free_and_who_declined():
    start = "DTSTART:20260302T080000Z\n"
    text = calendar(
        f"SUMMARY:a\n{start}TRANSP:TRANSPARENT",
        f"SUMMARY:b\n{start}X-MICROSOFT-CDO-BUSYSTATUS:FREE",
        f"SUMMARY:c\n{start}ATTENDEE;PARTSTAT=DECLINED;CN=Me:mailto:Me@Example.com",
        f"SUMMARY:d\n{start}ATTENDEE;PARTSTAT=DECLINED:mailto:you@example.com\n"
        "ATTENDEE;PARTSTAT=ACCEPTED:mailto:me@example.com",
        f"SUMMARY:e\n{start}ATTENDEE:mailto:me@example.com",
        f"SUMMARY:f\n{start}",
    )
    found = read(text, "2026-03-02", "2026-03-03", mine={"me@example.com"})
    assert {e.title: (e.is_busy, e.response) for e in found.events} == {
        "a": (False, ""),
        "b": (False, ""),
        "c": (False, "declined"),
        "d": (True, "accepted"),
        "e": (True, "needs-action"),
        "f": (True, ""),
    }


def test_texts_are_unfolded_unescaped_cleaned_and_bounded():
    text = calendar(
        "SUMMARY:A\\, b\x1b[2J and\n  more\nDTSTART:20260302T080000Z\nLOCATION:Room\\n5\n"
        f"DESCRIPTION:one\\ntwo\u2028three {'x' * 5_000}\n"
        'ORGANIZER;CN="Ann, Head":mailto:ann@example.com\n'
        "BEGIN:VALARM\nDESCRIPTION:alarm\nTRIGGER:-PT5M\nEND:VALARM"
    ).replace("\n", "\r\n")
    (found,) = read(text, "2026-03-02", "2026-03-03").events
    assert found.title == "A, b[2J and more"
    assert found.location == "Room 5"
    assert found.description.startswith("one\ntwo\u2028three xxx")
    assert len(found.description) == 500
    assert found.organizer == "Ann, Head <ann@example.com>"


def test_only_what_is_near_is_read():
    def is_near(text):
        ((event,),) = take_apart(calendar(f"SUMMARY:x\n{text}")).series
        return event.may_be_between(date(2026, 3, 2), date(2026, 3, 3))

    assert not is_near("DTSTART:20200101T080000Z\nDTEND:20200101T090000Z")
    assert not is_near("DTSTART:20200101T080000Z\nDURATION:PT1H")
    assert not is_near("DTSTART:20300101T080000Z\nDTEND:20300101T090000Z")
    assert not is_near("DTSTART:20200101T080000Z\nRRULE:FREQ=DAILY;UNTIL=20200201")
    assert is_near("DTSTART:20200101T080000Z\nDTEND:20260302T000000Z")
    assert is_near("DTSTART:20250601T080000Z\nDURATION:P300D")
    assert is_near("DTSTART:20200101T080000Z\nRRULE:FREQ=DAILY;UNTIL=20260302")
    assert is_near(
        "DTSTART;VALUE=DATE:20200101\nDTEND;VALUE=DATE:20200111\nRRULE:FREQ=YEARLY;UNTIL=20260225"
    )
    assert is_near("DTSTART:20200101T080000Z\nRDATE:20260302T080000Z")
    assert is_near("DTSTART:20300101T080000Z\nRECURRENCE-ID:20260302T080000Z")
    assert is_near("DTSTART:nonsense")


def test_days_after_counts_days_by_the_calendar_and_hours_by_the_clock():
    from datetime import timedelta

    start = datetime(2026, 3, 28, 22, tzinfo=BERLIN)
    assert days_after(start, timedelta(hours=8)) == datetime(2026, 3, 29, 7, tzinfo=BERLIN)
    assert days_after(start, timedelta(days=1)) == datetime(2026, 3, 29, 22, tzinfo=BERLIN)
