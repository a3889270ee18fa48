"""A text that was cut says so, wherever people or models read it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rota
from rota.agents.models.failures import classify_model_error
from rota.agents.tools.mail.mime import SNIPPET_LIMIT, read_message
from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.schedules.written_time import parse_duration
from rota.domain.text.shortening import quoted, shorten
from rota.security.secrets.redaction import redact_beginning
from rota.services.notifications.service import draft
from rota.services.schedules.calendar_files import day_summary

SOURCE = Path(rota.__file__).parent


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("", 3, ""),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("ab  efgh", 5, "ab  …"),
        ("a\ud83d\ude00bc", 3, "a…"),
        ("abc", 1, "…"),
    ],
)
def test_shortened_text_ends_with_a_mark_and_is_no_longer_than_it_may_be(text, limit, short):
    assert shorten(text, limit) == short
    assert quoted(text, limit) == repr(short)


def test_snippet_of_a_long_message_says_that_it_goes_on():
    words = "The quarterly figures are due. " * 40
    message = read_message(f"Subject: Figures\n\n{words}".encode(), message_id="1")

    assert len(message.snippet) <= SNIPPET_LIMIT
    assert message.snippet.endswith("…")
    assert read_message(b"Subject: Hi\n\nShort.", message_id="1").snippet == "Short."


@pytest.mark.parametrize("length", [101, 500, 1_000_000])
def test_error_that_is_cut_says_so(length):
    kept = redact_beginning("x" * length, 100)

    assert len(kept) <= 100
    assert kept.endswith("…")
    assert redact_beginning("x" * 100, 100) == "x" * 100


def test_what_a_provider_said_is_cut_with_a_mark():
    message = classify_model_error(RuntimeError("no " * 1_000)).message
    assert message.endswith("….")


def test_long_titles_and_summaries_say_that_they_were_cut():
    title = draft(UserId("00000000-0000-0000-0000-000000000001"), "t " * 400, "body").title
    assert title.endswith("…")
    assert day_summary("holiday " * 100).endswith("…")


def test_value_quoted_in_a_message_says_that_it_was_cut():
    with pytest.raises(InvalidInputError, match="…"):
        parse_duration("soon" * 100, field="window")


def test_no_message_cuts_what_it_quotes_without_saying_so():
    """Within an f-string, `{text[:60]!r}` is what `quoted` and `shorten` are for."""
    silent = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FormattedValue)
        and node.conversion == ord("r")
        and isinstance(node.value, ast.Subscript)
        and isinstance(node.value.slice, ast.Slice)
    ]
    assert silent == []
