"""What a person means who edits: secrets stay where they were, nothing is left to chance."""

from __future__ import annotations

import pytest

from rota.domain.approvals.argument_edits import with_defaults, with_secrets
from rota.domain.errors import InvalidInputError
from rota.security.secrets.redaction import redact

A, B = "bearer aaaaaaaaaaaa", "bearer bbbbbbbbbbbb"
ORIGINAL = {
    "n": 1,
    "deep": {"password": "hunter2", "host": "a.example"},
    "rows": [{"user": "ann", "token": "one"}, {"user": "bob", "token": "two"}],
    "same": [A, B],
}
SHOWN = redact(ORIGINAL)


def test_secrets_are_put_back_where_they_were():
    edited = {**SHOWN, "n": 2, "deep": {**SHOWN["deep"], "host": "b.example"}}

    meant = with_secrets(edited, SHOWN, ORIGINAL)

    assert meant == {**ORIGINAL, "n": 2, "deep": {"password": "hunter2", "host": "b.example"}}


def test_a_list_grows_at_its_end_and_its_other_entries_change():
    edited = {**SHOWN, "rows": [SHOWN["rows"][0], {"user": "bob", "token": "new"}, {"x": 1}]}

    meant = with_secrets(edited, SHOWN, ORIGINAL)

    assert meant["rows"] == [ORIGINAL["rows"][0], {"user": "bob", "token": "new"}, {"x": 1}]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"n": "[redacted]"}, "n"),
        ({"new": "[redacted]"}, "new"),
        ({"deep": "[redacted]"}, "deep"),
        ({"deep": {"host": "[redacted]"}}, "deep.host"),
        ({"rows": SHOWN["rows"][::-1]}, "rows[0]"),
        ({"rows": SHOWN["rows"][1:]}, "rows"),
        ({"rows": [{"user": "eve", "token": "[redacted]"}, {}]}, "rows[0]"),
        ({"same": ["[redacted]"]}, "same"),
        ({"same": ["x", "[redacted]", "[redacted]"]}, "same[2]"),
    ],
)
def test_mark_that_may_stand_for_another_secret_is_refused(change, place):
    with pytest.raises(InvalidInputError) as refused:
        with_secrets({**SHOWN, **change}, SHOWN, ORIGINAL)
    assert refused.value.message.startswith(f"{place}: ")


def test_what_was_hidden_need_not_be_a_text_nor_its_name_be_shown():
    original = {"pin": 1234, "deep": {"bearer abcdefgh": {"x": 1}}, "codes": [1, 2]}
    shown = {"pin": "[redacted]", "deep": {"[redacted]": {"x": 1}}, "codes": "[redacted]"}

    assert with_secrets({**shown, "n": 2}, shown, original) == {**original, "n": 2}
    with pytest.raises(InvalidInputError, match=r"^deep: "):
        with_secrets({**shown, "deep": {"[redacted]": {"x": 2}}}, shown, original)


def test_what_the_agent_wrote_like_a_mark_is_what_was_shown():
    said = {"text": "write [redacted] here"}
    assert with_secrets(said, said, said) == said


SCHEMA = {
    "properties": {
        "to": {"type": "string"},
        "copy": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "loud": {"type": "boolean", "default": False},
        "options": {"anyOf": [{"$ref": "#/$defs/Options"}, {"type": "null"}], "default": None},
        "headers": {"type": "object"},
    },
    "$defs": {"Options": {"properties": {"dry": {"type": "boolean", "default": False}}}},
}


@pytest.mark.parametrize(
    ("shown", "given", "meant"),
    [
        ({"to": "a", "loud": False}, {"to": "b"}, {"to": "b", "loud": False}),
        ({"to": "a"}, {"to": "b", "loud": True}, {"to": "b", "loud": True}),
        ({"options": {"dry": False}}, {"options": {}}, {"options": {"dry": False}}),
        ({"options": {"dry": True}}, {"options": None}, {"options": None}),
        ({"headers": {"a": 1, "b": 2}}, {"headers": {"a": 1}}, {"headers": {"a": 1}}),
    ],
)
def test_what_is_left_out_is_the_default_that_was_shown(shown, given, meant):
    assert with_defaults(given, shown, SCHEMA) == meant


@pytest.mark.parametrize(
    ("shown", "given", "said"),
    [
        ({"to": "a"}, {}, "to was in the request, but is missing now. Give a value for it."),
        (
            {"copy": "a"},
            {},
            "copy was in the request, but is missing now. Give a value, or null, for",
        ),
        ({"loud": True}, {}, "loud was in the request, but is missing now. Give a value for it."),
        ({"loud": 0}, {}, "loud was in the request"),
        ({"options": {"dry": True}}, {"options": {}}, "options.dry was in the request"),
        ({"headers": {}}, {}, "headers was in the request"),
        (
            {"other": 1},
            {},
            "other was in the request, but is missing now. Give a value, or null, for",
        ),
    ],
)
def test_what_is_left_out_and_was_something_else_is_asked_about(shown, given, said):
    with pytest.raises(InvalidInputError) as refused:
        with_defaults(given, shown, SCHEMA)
    assert refused.value.message.startswith(said)
