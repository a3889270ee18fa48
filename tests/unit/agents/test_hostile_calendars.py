"""Whatever is done to an iCalendar text: it is read to its end, and what is wrong is a sentence."""

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from rota.agents.tools.calendar.icalendar_events import read_events
from rota.agents.tools.calendar.icalendar_text import take_apart

BERLIN = ZoneInfo("Europe/Berlin")
TEXT = """BEGIN:VCALENDAR
X-WR-TIMEZONE:Europe/Berlin
BEGIN:VTIMEZONE
TZID:Custom
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0300
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:s
SUMMARY:s
DTSTART;TZID=Custom:20260302T090000
DURATION:PT1H
RRULE:FREQ=WEEKLY;COUNT=6;BYDAY=MO,WE
EXDATE;TZID=Custom:20260304T090000
RDATE;VALUE=PERIOD:20260306T090000Z/PT2H
ATTENDEE;PARTSTAT=DECLINED;CN="A, b":mailto:me@x.de
END:VEVENT
BEGIN:VEVENT
UID:s
SUMMARY:moved
RECURRENCE-ID;TZID=Custom:20260309T090000
DTSTART;VALUE=DATE:20260310
END:VEVENT
BEGIN:VEVENT
UID:t
SUMMARY:t
DTSTART;VALUE=DATE:20260303
DTEND;VALUE=DATE:20260305
RRULE:FREQ=MONTHLY;BYMONTHDAY=3;UNTIL=20270101
END:VEVENT
END:VCALENDAR
"""
PIECES = [*'0123456789:;=,TZ-+\n\\"\x00é', "UNTIL=", "COUNT=", "BEGIN:", "END:", "\nDTSTART"]


def damaged(seed):
    chance = random.Random(seed)
    text = list(TEXT)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(text))
        match chance.randrange(4):
            case 0:
                text[place] = chance.choice(PIECES)
            case 1:
                del text[place : place + chance.randint(1, 12)]
            case 2:
                text.insert(place, "".join(chance.choices(PIECES, k=3)))
            case _:
                other = chance.randrange(len(text))
                text[place:place] = text[other : other + 60]
    return "".join(text)


def read(text):
    start, end = datetime(2026, 3, 1, tzinfo=BERLIN), datetime(2026, 4, 1, tzinfo=BERLIN)
    return read_events(take_apart(text), start, end, mine={"me@x.de"})


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_text_is_read_to_its_end(seed):
    for number in range(60):
        found = read(damaged(seed * 1_000 + number))
        for event in found.events:
            assert type(event.start) is type(event.end)
            assert event.start <= event.end
        assert all(said.endswith(".") for said in found.unread)


def test_the_text_itself_has_nothing_wrong():
    found = read(TEXT)
    assert found.unread == ()
    assert sorted((event.title, str(event.start)) for event in found.events) == [
        ("moved", "2026-03-10"),
        ("s", "2026-03-02 08:00:00+01:00"),
        ("s", "2026-03-06 10:00:00+01:00"),
        ("s", "2026-03-11 08:00:00+01:00"),
        ("s", "2026-03-16 08:00:00+01:00"),
        ("s", "2026-03-18 08:00:00+01:00"),
        ("t", "2026-03-03"),
    ]
