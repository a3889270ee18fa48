"""Heartbeats: what is asked, which answers are quiet, and what of a pre-check is nothing."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rota.domain.runs.heartbeats import is_nothing, is_quiet, with_checklist

WORDS = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyzäößABCXYZ0123456789", min_size=1), min_size=1, max_size=4
)
WRAPS = (
    "**{}**",
    "*{}*",
    "__{}__",
    "_{}_",
    "~~{}~~",
    "`{}`",
    '"{}"',
    "'{}'",
    "\u201c{}\u201d",
    "\u201e{}\u201c",
    "\u00ab{}\u00bb",
    "> {}",
    "```\n{}\n```",
    "```text\n{}\n```",
    "  {}\n",
    "\ufeff{}\u200b",
)


@pytest.mark.parametrize(
    "answer",
    [
        "OK",
        "ok",
        "Ok.",
        " **OK** \n",
        "**OK**.",
        "**OK.**",
        "`ok`",
        "> OK.",
        '"OK"',
        "```\nOK\n```",
    ],
)
def test_the_quiet_answer_is_quiet_however_it_is_dressed(answer):
    assert is_quiet(answer, "OK")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "OK, but the disk is full",
        "OK. The disk is full.",
        "**OK** but",
        "Not OK",
        "OKAY",
        "OK!",
        "OK?",
        "OK..",
        "OK...",
        "O K",
        "*OK",
        "OK\nOK",
        "# OK",
        "- OK",
        '{"status": "OK"}',
        "OK" + " " * 10 + "x" * 60_000,
    ],
)
def test_anything_else_is_not(answer):
    assert not is_quiet(answer, "OK")


def test_the_quiet_answer_may_be_a_sentence_or_a_token():
    assert is_quiet("nothing to report", "Nothing to report.")
    assert is_quiet("**HEARTBEAT_OK**.", "HEARTBEAT_OK")
    assert not is_quiet("HEARTBEAT_OK, but the disk is full", "HEARTBEAT_OK")
    assert is_quiet("OK" + "\n" * 60_000, "OK")


@pytest.mark.parametrize("nothing", ["", " ", "\n"])
def test_without_a_quiet_answer_none_is_quiet(nothing):
    assert not is_quiet("", nothing)
    assert not is_quiet("OK", nothing)


@given(WORDS, st.lists(st.sampled_from(WRAPS), max_size=3), st.booleans(), st.booleans())
def test_dress_case_and_a_full_stop_do_not_matter(words, wraps, shout, stop):
    quiet = " ".join(words)
    answer = quiet.upper() if shout else quiet
    answer += "." if stop else ""
    for wrap in wraps:
        answer = wrap.format(answer)

    assert is_quiet(answer, quiet)


@given(WORDS, WORDS, st.sampled_from(WRAPS), st.booleans())
def test_a_word_more_is_heard(words, more, wrap, before):
    quiet = " ".join(words)
    answer = " ".join([*more, quiet] if before else [quiet, *more])
    assume(answer.casefold() != quiet.casefold())

    assert not is_quiet(wrap.format(answer), quiet)


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_two_texts_have_an_answer(answer, quiet):
    if is_quiet(answer, quiet):
        assert quiet.strip()
        assert is_quiet(quiet, answer) or len(quiet) > len(answer) + 100


@pytest.mark.parametrize(
    "value",
    [
        *(None, False, 0, 0.0, Decimal(0), "", " \n", [], {}, (), set(), b""),
        *({"run": False}, {"run": False, "reason": "no new mail"}),
    ],
)
def test_nothing_is_nothing_as_a_value(value):
    assert is_nothing(value)


@pytest.mark.parametrize(
    "text",
    [
        *("null", "false", "0", "-0.0", '""', '" "', "[]", "{}", " [ ]\n"),
        *('{"run": false}', '{"run": false, "reason": "no new mail"}'),
    ],
)
def test_nothing_is_nothing_as_json(text):
    assert is_nothing(text)


@pytest.mark.parametrize(
    "value",
    [
        *(True, 1, -1, 0.5, "no", "none", "None", "False", [0], [[]], {"a": None}, object()),
        *({"run": True}, {"run": None}, {"run": 0}, '{"run": true}', '{"run": null}'),
        *("true", "[0]", '"[]"', "NaN", float("nan"), "{", "0 new messages"),
        *("[" * 100_000, "9" * 9_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_all_else_is_something(value):
    assert not is_nothing(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    )
)
def test_json_of_a_value_is_nothing_if_the_value_is(value):
    assume(not isinstance(value, str))  # text within text is not unpacked a second time

    assert is_nothing(json.dumps(value)) == is_nothing(value)


def test_checklist_is_numbered_after_the_prompt_and_says_when_to_be_quiet():
    assert with_checklist("Look around.\n", ["disk\nand swap", " mail "], "OK") == (
        "Look around.\n\n"
        "Go through this checklist, every item of it:\n\n"
        "1. disk\n   and swap\n"
        "2. mail\n\n"
        "If no item needs attention, answer with exactly this and nothing else: OK\n"
        "Otherwise report what needs attention, and leave that answer out. What could not be "
        "checked needs attention."
    )
    assert with_checklist("Look.", [], None) == "Look."
    assert "nothing needs attention" in with_checklist("Look.", [], "OK")
    assert with_checklist("", ["disk"], None).startswith("Go through")


@given(
    st.text(max_size=50),
    st.lists(st.text("abc xyz", min_size=1).filter(str.strip), max_size=12),
    st.none() | st.text("OKabc", min_size=1, max_size=10),
)
def test_prompt_items_and_quiet_answer_are_all_in_what_is_asked(prompt, items, quiet):
    asked = with_checklist(prompt, items, quiet)

    assert asked.startswith(prompt.strip())
    assert all(f"{n}. {item.strip()}" in asked for n, item in enumerate(items, start=1))
    assert (f"nothing else: {quiet}" in asked) == (quiet is not None)
