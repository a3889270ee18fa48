"""Requests to make an event, as people see them: an event, and nothing of it left out."""

import pytest

from rota.domain.approvals.call_texts import call_in_brief, readable_call

CALL = {
    "title": "Dentist",
    "start": "2026-03-03T14:00+01:00",
    "end": "2026-03-03T15:00+01:00",
    "minutes": None,
    "location": "Main Street 5",
    "description": "Bring\nthe card",
    "attendees": ["ann@example.com", "bob@example.com"],
    "calendar": "dav/Home",
}


def seen(**changes):
    return readable_call("calendar_create_event", CALL | changes)


def test_an_event_is_shown_with_all_that_it_has():
    found = seen()
    assert found.headers == (
        ("Event", "Dentist"),
        ("When", "Tuesday 2026-03-03 14:00+01:00 to 15:00+01:00"),
        ("Where", "Main Street 5"),
        ("Invites", "ann@example.com, bob@example.com"),
        ("Calendar", "dav/Home"),
    )
    assert found.text == "Bring\nthe card"
    assert found.in_a_list().split("; ") == [
        "Event: Dentist",
        "When: Tuesday 2026-03-03 14:00+01:00 to 15:00+01:00",
        "Where: Main Street 5",
        "Invites: ann@example.com, bob@example.com",
        "Calendar: dav/Home",
        "“Bring the card”",
    ]
    assert call_in_brief("calendar_create_event", CALL) == (
        "calendar_create_event “Dentist”, Tuesday 2026-03-03 14:00+01:00 to 15:00+01:00, "
        "inviting ann@example.com, bob@example.com"
    )


@pytest.mark.parametrize(
    ("start", "end", "minutes", "said"),
    [
        ("2026-03-03", "2026-03-03", None, "Tuesday 2026-03-03"),
        ("2026-03-03", "2026-03-05", None, "Tuesday 2026-03-03 to Thursday 2026-03-05"),
        (
            "2026-03-03T23:00",
            "2026-03-04T01:00",
            None,
            "Tuesday 2026-03-03 23:00 to Wednesday 2026-03-04 01:00",
        ),
        ("2026-03-03T23:00", "", 30, "Tuesday 2026-03-03 23:00 for 30 minutes"),
        ("soon", "later", None, "soon to later"),
        ("tomorrow", "", None, "tomorrow"),
    ],
)
def test_when_an_event_is(start, end, minutes, said):
    assert seen(start=start, end=end, minutes=minutes).when() == said


@pytest.mark.parametrize(
    "changes",
    [{"color": "red"}, {"title": 1}, {"attendees": "ann@example.com"}, {"minutes": "30"}],
)
def test_a_call_that_says_more_is_shown_as_it_is(changes):
    assert seen(**changes) is None
    assert readable_call("mine", CALL) is None


def test_a_line_break_begins_no_other_line():
    found = seen(title="Lunch\nInvites: nobody", attendees=["a@x.de\nWhere: here"])
    assert dict(found.headers)["Event"] == "Lunch\\nInvites: nobody"
    assert all("\n" not in value for _, value in found.headers)
