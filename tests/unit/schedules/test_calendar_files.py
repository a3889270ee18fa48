"""iCalendar files as others write them become days off."""

from __future__ import annotations

from datetime import date

import pytest
import recurring_ical_events
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.calendars import CalendarDay, parse_days
from rota.services.schedules.calendar_files import LARGEST_FILE, read_icalendar

FIRST, LAST = date(2026, 1, 1), date(2028, 12, 31)


def calendar(*events: str, head: str = "") -> bytes:
    blocks = "".join(f"BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n" for event in events)
    text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\n{head}{blocks}END:VCALENDAR\r\n"
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def days(data: bytes) -> list[tuple[str, str, str]]:
    read = read_icalendar(data, first=FIRST, last=LAST)
    return [(str(day.first), str(day.last), day.summary) for day in read.days]


def test_single_days_as_google_exports_holidays():
    data = calendar(
        "DTSTART;VALUE=DATE:20260406\nDTEND;VALUE=DATE:20260407\nDTSTAMP:20260101T000000Z\n"
        "UID:20260406_abc@google.com\nCLASS:PUBLIC\nSUMMARY:Ostermontag\\, gesetzlich\n"
        "STATUS:CONFIRMED\nTRANSP:TRANSPARENT",
        head="CALSCALE:GREGORIAN\nX-WR-CALNAME:Feiertage in Deutschland\nX-WR-TIMEZONE:UTC\n",
    )
    assert days(data) == [("2026-04-06", "2026-04-06", "Ostermontag, gesetzlich")]


def test_days_in_a_row_end_the_day_before_their_end():
    data = calendar("UID:1\nDTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20270102\nSUMMARY:Closed")
    assert days(data) == [("2026-12-24", "2027-01-01", "Closed")]


def test_event_without_an_end_is_one_day():
    assert days(calendar("UID:1\nDTSTART;VALUE=DATE:20260501")) == [
        ("2026-05-01", "2026-05-01", "")
    ]


def test_yearly_event_is_expanded_with_its_exceptions_and_changes():
    data = calendar(
        "UID:1\nDTSTART;VALUE=DATE:20200501\nDTEND;VALUE=DATE:20200502\nRRULE:FREQ=YEARLY\n"
        "EXDATE;VALUE=DATE:20270501\nSUMMARY:Labour Day",
        "UID:1\nRECURRENCE-ID;VALUE=DATE:20280501\nDTSTART;VALUE=DATE:20280502\n"
        "DTEND;VALUE=DATE:20280503\nSUMMARY:Moved",
    )
    assert days(data) == [
        ("2026-05-01", "2026-05-01", "Labour Day"),
        ("2028-05-02", "2028-05-02", "Moved"),
    ]
    assert read_icalendar(data, first=FIRST, last=LAST).recurs


def test_meetings_and_cancelled_events_are_no_days_off():
    data = calendar(
        "UID:1\nDTSTART:20260501T090000Z\nDTEND:20260501T100000Z\nSUMMARY:Meeting",
        "UID:2\nDTSTART;VALUE=DATE:20260502\nSTATUS:CANCELLED",
        "UID:3\nDTSTART;VALUE=DATE:20260503",
    )
    assert days(data) == [("2026-05-03", "2026-05-03", "")]
    assert read_icalendar(data, first=FIRST, last=LAST).skipped == 1


def test_outlook_file_with_a_time_zone_folded_lines_and_a_byte_order_mark():
    zone = (
        "BEGIN:VTIMEZONE\nTZID:W. Europe Standard Time\nBEGIN:STANDARD\n"
        "DTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n"
        "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\nEND:VTIMEZONE\n"
    )
    event = (
        "UID:1\nDTSTART;VALUE=DATE:20260603\nDTEND;VALUE=DATE:20260605\n"
        "SUMMARY:Betriebs\n ausflug f\u00fcr alle\nX-MICROSOFT-CDO-ALLDAYEVENT:TRUE"
    )
    data = b"\xef\xbb\xbf" + calendar(event, head=zone)
    assert days(data) == [("2026-06-03", "2026-06-04", "Betriebsausflug f\u00fcr alle")]


def test_windows_characters_and_control_characters_are_readable():
    data = calendar("UID:1\nDTSTART;VALUE=DATE:20260603\nSUMMARY:F\u00eate\x07 du Roi")
    assert days(data.decode().encode("cp1252"))[0][2] == "F\u00eate du Roi"


def test_several_calendars_in_one_file_are_read():
    data = calendar("UID:1\nDTSTART;VALUE=DATE:20260501") + calendar(
        "UID:2\nDTSTART;VALUE=DATE:20260601"
    )
    assert [first for first, *_ in days(data)] == ["2026-05-01", "2026-06-01"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not an iCalendar file"),
        (b"<html></html>", "not an iCalendar file"),
        (b"\xff\xfe\x00", "not an iCalendar file"),
        (b" " * (LARGEST_FILE + 1), "larger than 5 MiB"),
        (calendar(), "no all-day event"),
        (calendar("UID:1\nDTSTART:20260501T090000Z"), "(1 shorter ones)"),
        (calendar("UID:1\nDTSTART;VALUE=DATE:2026"), "no all-day event"),
        (calendar("UID:1\nDTSTART;VALUE=DATE:19990101"), "no all-day event"),
        (
            calendar(
                *(f"UID:{n}\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY" for n in range(8))
            ),
            "more than 5000",
        ),
    ],
)
def test_file_that_makes_no_calendar_is_one_sentence(data, sentence):
    with pytest.raises(InvalidInputError) as caught:
        read_icalendar(data, first=FIRST, last=LAST)
    assert sentence in caught.value.message


def test_rule_for_every_second_is_not_expanded(monkeypatch):
    data = calendar(
        "UID:1\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=SECONDLY",
        "UID:2\nDTSTART;VALUE=DATE:20260501",
    )
    expanded = []
    of = recurring_ical_events.of

    def counted(events):
        expanded.extend(str(event["UID"]) for event in events.walk("VEVENT"))
        assert "1" not in expanded  # it would take for ever, and all the memory there is
        return of(events)

    monkeypatch.setattr(recurring_ical_events, "of", counted)

    assert len(days(data)) == 1
    assert expanded == ["2"]


@pytest.mark.parametrize(
    "change", ["DTSTART;VALUE=DATE:20270501\nSTATUS:CANCELLED", "DTSTART:20270501T090000Z"]
)
def test_recurrence_that_was_cancelled_or_became_a_meeting_is_no_day_off(change):
    data = calendar(
        "UID:1\nDTSTART;VALUE=DATE:20260501\nRRULE:FREQ=YEARLY\nSUMMARY:Labour Day",
        f"UID:1\nRECURRENCE-ID;VALUE=DATE:20270501\n{change}",
    )
    assert [first for first, *_ in days(data)] == ["2026-05-01", "2028-05-01"]


def test_event_from_midnight_to_midnight_is_of_whole_days_as_exchange_writes_it():
    data = calendar(
        "UID:1\nDTSTART;TZID=Europe/Berlin:20261224T000000\n"
        "DTEND;TZID=Europe/Berlin:20261227T000000\nX-MICROSOFT-CDO-ALLDAYEVENT:TRUE",
        "UID:2\nDTSTART:20260501T000000\nDTEND:20260501T120000",
        "UID:3\nDTSTART:20260504T120000\nDTEND:20260506T120000",
    )
    assert days(data) == [("2026-12-24", "2026-12-26", "")]
    assert read_icalendar(data, first=FIRST, last=LAST).skipped == 2


def test_times_in_a_rule_for_days_are_ignored():
    times = "BYHOUR=" + ",".join(map(str, range(24))) + ";BYMINUTE=" + ",".join(map(str, range(60)))
    data = calendar(f"UID:1\nDTSTART;VALUE=DATE:20260501\nRRULE:FREQ=DAILY;COUNT=3;{times}")
    assert len(days(data)) == 3


@pytest.mark.parametrize("mark", ["utf-16", "utf-16-le", "utf-16-be"])
def test_file_in_utf_16_is_readable(mark):
    text = calendar("UID:1\nDTSTART;VALUE=DATE:20260501\nSUMMARY:F\u00eate").decode()
    data = (text if mark == "utf-16" else "\ufeff" + text).encode(mark)
    assert days(data)[0][2] == "F\u00eate"


def test_second_summary_in_another_language_is_left_out():
    data = calendar("UID:1\nDTSTART;VALUE=DATE:20260501\nSUMMARY:a\nSUMMARY;LANGUAGE=de:b")
    assert days(data)[0][2] == "a"


@pytest.mark.parametrize(
    "rule",
    [
        "RRULE:FREQ=DAILY;INTERVAL=0",
        "RRULE:FREQ=YEARLY;INTERVAL=-1",
        "RRULE:FREQ=DAILY\nRRULE:FREQ=YEARLY",
    ],
)
def test_rule_that_nobody_can_follow_is_refused_at_once(rule):
    with pytest.raises(InvalidInputError, match="'Odd' of the file cannot be read"):
        days(calendar(f"UID:1\nDTSTART;VALUE=DATE:20260101\nSUMMARY:Odd\n{rule}"))


def test_rules_that_never_come_true_are_given_up(monkeypatch):
    monkeypatch.setattr("rota.services.schedules.calendar_files.LONGEST_READING", 0.0)
    never = "DTSTART;VALUE=DATE:99900101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"
    with pytest.raises(InvalidInputError, match="never come true"):
        days(calendar(*(f"UID:{n}\n{never}" for n in range(3))))


@pytest.mark.parametrize(
    "inside",
    [
        "TZID:Q\nEND:VTIMEZONE",
        "DTSTART;VALUE=DATE:20260501\nRECURRENCE-ID:zz\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260501",
    ],
)
def test_what_a_library_trips_over_is_a_clear_error(inside):
    with pytest.raises(InvalidInputError):
        days(calendar(inside))


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 20))
def test_any_bytes_are_days_or_a_clear_error(noise, at, overwritten):
    whole = calendar("UID:1\nDTSTART;VALUE=DATE:20260501\nRRULE:FREQ=YEARLY;COUNT=2\nSUMMARY:x")
    for data in (noise, whole[:at] + noise + whole[at + overwritten :]):
        try:
            assert read_icalendar(data, first=FIRST, last=LAST).days
        except InvalidInputError:
            continue


LINES = st.sampled_from(
    [
        *("BEGIN:VEVENT", "END:VEVENT", "BEGIN:VCALENDAR", "END:VCALENDAR", "UID:1", "SUMMARY:x"),
        *("DTSTART;VALUE=DATE:20260501", "DTEND;VALUE=DATE:20250101", "DTSTART:20260501T000000"),
        *("RRULE:FREQ=YEARLY;COUNT=3", "RRULE:FREQ=MONTHLY;UNTIL=20260901", "EXDATE:20260501"),
        *("DTEND:20260502T000000Z", "RDATE;VALUE=DATE:20260601", "RRULE:nonsense", ":"),
        *(
            "RECURRENCE-ID;VALUE=DATE:20260501",
            "RECURRENCE-ID:zz",
            "DURATION:P3D",
            "DURATION:-P1D",
            "DTSTART:",
        ),
    ]
)


@given(st.lists(LINES, max_size=14))
def test_any_lines_are_days_or_a_clear_error(lines):
    text = "\r\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR"])
    try:
        found = read_icalendar(text.encode(), first=FIRST, last=LAST).days
    except InvalidInputError:
        return
    assert found
    assert all(day.first <= day.last for day in found)


def test_typed_days_are_read():
    assert parse_days("2026-12-24..2027-01-01, 2027-05-01,") == (
        CalendarDay(date(2026, 12, 24), date(2027, 1, 1)),
        CalendarDay(date(2027, 5, 1), date(2027, 5, 1)),
    )
    assert parse_days("") == ()


@pytest.mark.parametrize(
    "text",
    [
        *("christmas", "2026-12", "2026-02-30", "2027-01-01..2026-12-24"),
        *("2026-01-01..2099-01-01", "2026-12-24..", "x" * 3_000, "20261224"),
    ],
)
def test_typed_days_that_cannot_be_meant_are_refused(text):
    with pytest.raises(InvalidInputError) as caught:
        parse_days(text)
    assert caught.value.field == "excluded_days"
