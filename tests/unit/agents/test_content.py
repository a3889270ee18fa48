import json
import math
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.agents.message_content import normalize_content, said_in
from rota.domain.text.storable import (
    NOTIFICATION_BODY_LIMIT,
    RESULT_CONTENT_LIMIT,
    cut,
    storable_json,
    storable_text,
)


def text(said, **more):
    return {"type": "text", "text": said, **more}


@pytest.mark.parametrize(
    ("content", "readable"),
    [
        ("  as it is\n", "  as it is\n"),
        (None, ""),
        ([], ""),
        (["one", "two"], "one\n\ntwo"),
        ([text("one"), text("two")], "one\n\ntwo"),
        ([text("one "), text("two"), text("\nthree")], "one two\nthree"),
        (text("a block alone"), "a block alone"),
        ([{"type": "output_text", "text": "responses", "annotations": []}], "responses"),
        ([{"type": "text", "text": {"value": "assistants", "annotations": []}}], "assistants"),
        ([{"type": "text-plain", "text": "plain", "mime_type": "text/plain"}], "plain"),
        ([{"type": "refusal", "refusal": "I cannot."}], "I cannot."),
        ([{"type": "non_standard", "value": {"type": "refusal", "refusal": "No."}}], "No."),
        ({"parts": [{"text": "gemini"}, {"text": "hmm", "thought": True}]}, "gemini"),
        ([{"type": "thinking", "thinking": "hm", "signature": "s"}, text("yes")], "yes"),
        ([{"type": "redacted_thinking", "data": "x"}, text("yes")], "yes"),
        ([{"type": "reasoning", "reasoning": "hm"}, text("yes")], "yes"),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}], ""),
        ([{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "yes"}], "yes"),
    ],
)
def test_text_of_each_provider_is_read_and_reasoning_is_left_out(content, readable):
    assert normalize_content(content) == readable


@pytest.mark.parametrize(
    ("block", "note"),
    [
        ({"type": "tool_use", "id": "1", "name": "mail_search", "input": {}}, "mail_search"),
        ({"type": "tool_call", "id": "1", "name": "mail_search", "args": {}}, "mail_search"),
        ({"type": "server_tool_use", "name": "web_search", "input": {}}, "web_search"),
        ({"type": "function_call", "name": "mail_search", "arguments": "{}"}, "mail_search"),
        ({"type": "function", "function": {"name": "x"}}, None),
        ({"type": "web_search_call", "status": "completed"}, "web_search"),
        ({"functionCall": {"name": "mail_search", "args": {}}}, "mail_search"),
        ({"toolUse": {"name": "mail_search", "toolUseId": "1"}}, "mail_search"),
    ],
)
def test_tool_calls_are_mentioned_only_where_there_is_no_text(block, note):
    if note is None:
        assert normalize_content([block]) == "[function]"
    else:
        assert normalize_content([block]) == f"[tool call: {note}]"
        assert normalize_content([text("Looking."), block]) == "Looking."


def test_results_of_server_tools_stand_in_for_missing_text():
    found = {"type": "web_search_tool_result", "content": [text("rain")]}
    assert normalize_content([found]) == "rain"
    assert normalize_content([found, text("Take an umbrella.")]) == "Take an umbrella."
    assert (
        normalize_content([{"type": "server_tool_result", "status": "success"}]) == "[tool result]"
    )


def test_anthropic_sentences_split_by_citations_are_joined_and_sources_listed():
    source = {
        "type": "web_search_result_location",
        "url": "https://example.org/a",
        "title": "Rainfall\n2026",
        "cited_text": "...",
    }
    page = {"type": "char_location", "document_title": "Report", "document_index": 0}
    content = [
        text("Here is what I found."),
        {"type": "server_tool_use", "name": "web_search", "input": {}},
        text("The grass is "),
        text("green", citations=[source]),
        text(" and "),
        text("the sky is blue", citations=[source, page]),
        text("."),
        text("Have a good day."),
    ]
    assert normalize_content(content) == (
        "Here is what I found.\n\nThe grass is green and the sky is blue.\n\nHave a good day."
        "\n\nSources:\n1. Rainfall 2026 (https://example.org/a)\n2. Report"
    )


def test_openai_and_langchain_annotations_become_sources():
    content = [
        {
            "type": "output_text",
            "text": "It rained.",
            "annotations": [
                {"type": "url_citation", "url": "https://example.org/x", "title": "X"},
                {"type": "url_citation", "url_citation": {"url": "https://example.org/y"}},
                {"type": "citation", "url": "javascript:alert(1)", "title": "Only a title"},
                {"type": "file_citation", "file_id": "f", "filename": "notes.pdf"},
            ],
        }
    ]
    assert normalize_content(content) == (
        "It rained.\n\nSources:\n1. X (https://example.org/x)\n2. https://example.org/y\n"
        "3. Only a title\n4. notes.pdf"
    )


@pytest.mark.parametrize(
    ("block", "note"),
    [
        ({"type": "image", "base64": "aGk=", "mime_type": "image/png"}, "[image]"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}, "[image]"),
        (
            {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
            "[image: https://example.org/cat.png]",
        ),
        (
            {
                "type": "image",
                "source": {"type": "url", "url": "https://example.org/c"},
                "alt": "A cat",
            },
            "[image: A cat, https://example.org/c]",
        ),
        ({"type": "image_generation_call", "result": "aGk="}, "[image]"),
        ({"type": "image", "source": {"type": "base64", "data": "aGk="}}, "[image]"),
        ({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, "[image]"),
        ({"image": {"format": "png", "source": {"bytes": b"hi"}}}, "[image]"),
        (
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.org/f"}},
            "[file: https://example.org/f]",
        ),
        ({"type": "media", "mime_type": "audio/wav", "data": "aGk="}, "[audio]"),
        ({"type": "audio", "id": "1", "transcript": "spoken words"}, "spoken words"),
        ({"type": "audio", "base64": "aGk=", "mime_type": "audio/wav"}, "[audio]"),
        ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}, "[audio]"),
        ({"type": "video", "url": "https://example.org/v"}, "[video: https://example.org/v]"),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": "aGk="}}, "[file: a.pdf]"),
        ({"type": "document", "title": "T", "source": {"type": "base64"}}, "[document: T]"),
        ({"type": "document", "source": {"type": "text", "data": "its text"}}, "its text"),
    ],
)
def test_what_is_not_text_becomes_a_note(block, note):
    assert normalize_content([block]) == note
    assert normalize_content([text("Look:"), block]) == f"Look:\n\n{note}"


@pytest.mark.parametrize(
    ("block", "note"),
    [
        ({"type": "hologram", "payload": {"secret": "bytes"}}, "[hologram]"),
        ({"type": "answer", "text": "its text"}, "its text"),
        ({"type": "message", "content": [text("nested")]}, "nested"),
        ({"payload": 1}, "[unknown content]"),
        ({"type": {"odd": 1}}, "[unknown content]"),
        ({"type": "two\nlines"}, "[two lines]"),
        (object(), "[object]"),
        (b"abc", "[3 bytes]"),
        (3, "3"),
    ],
)
def test_unknown_blocks_are_named_never_dumped_or_dropped(block, note):
    assert normalize_content([block]) == note


def test_search_results_name_their_source():
    block = {
        "type": "search_result",
        "title": "T",
        "source": "https://example.org/s",
        "content": [text("found")],
    }
    assert normalize_content([block]) == "found\n\nSources:\n1. T (https://example.org/s)"


def test_content_that_contains_itself_ends():
    loop: list[object] = []
    loop.append(loop)
    assert normalize_content(loop) == "[nested content]"


no_braces = st.text(alphabet=st.characters(exclude_characters="{"))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | no_braces | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "content", "citations", "source", "url", "name", "value", "image"]
            ),
            inner | st.sampled_from(["text", "tool_use", "image", "document", "non_standard"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything)
def test_no_content_is_too_odd_to_read(content):
    assert "{" not in normalize_content(content)  # nothing is dumped as Python would


@given(st.lists(st.text(min_size=1), max_size=5))
def test_no_character_of_text_blocks_is_lost(said):
    readable = normalize_content([text(piece) for piece in said])
    if any(piece.strip() for piece in said):
        assert readable.replace("\n\n", "") == "".join(said).replace("\n\n", "")


def test_nul_and_lone_surrogates_are_replaced_and_split_pairs_joined():
    assert storable_text("a\0b\ud800c\udfffd") == "a\ufffdb\ufffdc\ufffdd"
    assert storable_text("\ud83d\ude00 \ude00\ud83d") == "\U0001f600 \ufffd\ufffd"
    assert storable_text("plain") == "plain"


any_text = st.text(alphabet=st.characters(codec=None, exclude_categories=()) | st.just("\0"))


@given(any_text)
def test_storable_text_encodes_and_is_stable(value):
    stored = storable_text(value)
    assert b"\0" not in stored.encode("utf-8")
    assert storable_text(stored) == stored
    assert len(stored) <= len(value)


def test_storable_json_replaces_what_jsonb_cannot_hold():
    class Colour(StrEnum):
        RED = "red"

    moment = datetime(2026, 7, 1, tzinfo=UTC)
    value = {
        "a\0": math.nan,
        "inf": [math.inf, -math.inf, 1.5],
        "big": 10**100,
        "huge": 10**5000,
        "bytes": b"abc",
        "at": moment,
        "id": UUID(int=1),
        "colour": Colour.RED,
        "many": ({"x"}, (1, 2)),
        None: 1,
        True: 2,
        7: "number",
        "7": "text",
    }
    stored = storable_json(value)
    assert stored == {
        "a\ufffd": "NaN",
        "inf": ["Infinity", "-Infinity", 1.5],
        "big": 10**100,
        "huge": hex(10**5000),
        "bytes": "[3 bytes]",
        "at": str(moment),
        "id": str(UUID(int=1)),
        "colour": "red",
        "many": [["x"], [1, 2]],
        "null": 1,
        "true": 2,
        "7": "number",
        "7_": "text",
    }
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored


def test_storable_json_of_a_value_that_contains_itself_ends():
    loop: dict[str, object] = {}
    loop["self"] = loop
    assert storable_json(loop) == {"self": "[nested too deeply]"}


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(any_text | st.integers(), inner),
        max_leaves=20,
    )
)
def test_any_value_becomes_strict_json_without_nul(value):
    dumped = json.dumps(storable_json(value), allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in dumped
    dumped.encode("utf-8")


@given(st.text(), st.integers(0, 40))
def test_cut_keeps_exactly_the_first_characters(value, limit):
    result = cut(value, limit)
    assert result.text == value[:limit]
    assert result.original_length == len(value)
    assert result.truncated is (len(value) > limit)


def test_cut_counts_code_points_and_keeps_pairs_whole():
    assert cut("\U0001f600" * 3, 2).text == "\U0001f600" * 2
    assert cut("a\ud83d\ude00", 2).text == "a"
    assert cut("abc", 0).text == ""
    with pytest.raises(ValueError, match="at least 0"):
        cut("abc", -1)


def test_the_limits_of_the_specification():
    assert (RESULT_CONTENT_LIMIT, NOTIFICATION_BODY_LIMIT) == (50_000, 10_000)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Done.", "Done."),
        ([{"type": "tool_use", "id": "1", "name": "look", "input": {}}], ""),
        ([{"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"}], ""),
        ([{"type": "text", "text": "I look."}, {"type": "tool_use", "name": "look"}], "I look."),
        ([{"type": "code_execution_result", "output": "42"}], "42"),
    ],
)
def test_what_a_model_says_itself_has_no_note_of_its_calls(content, said):
    assert said_in(content) == said
