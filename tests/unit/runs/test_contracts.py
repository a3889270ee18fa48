"""Output contracts: what delivers, what does not and why, and schemas that mean harm."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.errors import InvalidInputError
from rota.domain.runs.contracts import OutputContract, parse_contract
from rota.domain.schemas.schema import JsonSchema, _compiled
from rota.domain.text.json_values import DEEPEST, NotJsonError, read_json

TICKETS = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "day": {"format": "date"},
        "tags": {"type": "array", "items": {"enum": ["low", "high"]}},
        "owner": {
            "anyOf": [
                {"type": "null"},
                {"type": "object", "properties": {"name": {"type": "string"}}},
            ]
        },
    },
    "required": ["count"],
    "additionalProperties": False,
}
TREE = {"properties": {"name": {"type": "string"}, "children": {"items": {"$ref": "#"}}}}


def contract(schema=None, sections=None):
    value = {"schema": schema, "sections": sections}
    return parse_contract({key: part for key, part in value.items() if part is not None})


def refusal(schema):
    with pytest.raises(InvalidInputError) as caught:
        contract(schema)
    return caught.value


def fenced(text, info="json"):
    return f"```{info}\n{text}\n```"


def nested(depth, leaf=1):
    value = leaf
    for _ in range(depth):
        value = {"a": value}
    return value


# -- JSON in answers


@pytest.mark.parametrize(
    "answer",
    [
        '{"count": 3}',
        ' \n{"count": 3}\n',
        '\ufeff{"count": 3}',
        fenced('{"count": 3}'),
        fenced('{"count": 3}', ""),
        fenced('{"count": 3}', "JSON"),
        "Here it is:\n\n" + fenced('{"count": 3}') + "\n\nAnything else?",
        "~~~json\n" + '{"count": 3}' + "\n~~~",
        "````json\n" + '{"count": 3}' + "\n````\n",
        "```json\r\n" + '{"count": 3}' + "\r\n```\r\n",
        "```python\nprint(3)\n```\n" + fenced('{"count": 3}'),
        fenced("not this", "") + "\n" + fenced('{"count": 3}'),
        "[Note] as asked:\n" + fenced('{"count": 3}'),
        "```json\n" + '{"count": 3}',  # never closed: it runs to the end
    ],
)
def test_json_is_found_alone_or_in_its_one_block(answer):
    made = contract(TICKETS)

    assert made.check(answer) == ()
    assert made.value(answer) == {"count": 3}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", "is empty"),
        (" \n\ufeff", "is empty"),
        ("Three tickets.", "not JSON"),
        ('Sure! {"count": 3}', "not JSON"),
        ('{"count": 3} Done.', "column 14: Extra data"),
        ('{"count": 3}{"count": 3}', "Extra data"),
        (fenced('{"count": 3}') + "\n" + fenced('{"count": 4}'), "2 blocks"),
        (fenced("3", "python"), "not JSON"),
        ('{"count": 3,}', "line 1, column 13"),
        ("{'count': 3}", "fault"),
        ('{"count": NaN}', "NaN, which is not JSON"),
        ("[Infinity]", "Infinity, which is not JSON"),
        ('{"count": 3, "count": 4}', "'count' twice"),
        ('{"count": 1e999}', "too large: 1e999"),
        ('{"count": ' + "9" * 400 + "}", "more than 308 digits"),
        ('{"count": ' + "9" * 40_000 + "}", "more than 308 digits"),
        ('{"count": "\\ud800"}', "half a surrogate pair"),
        ('{"\\udfff": 1}', "half a surrogate pair"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested more than 50"),
        ("[" * 10_000 + "]" * 10_000, "nested more than 50"),
        ('{"":' * 9_000 + "1" + "}" * 9_000, "nested more than 50"),
        ('{"code": "\n```\n{\\"count\\": 3}\n```\n"}', "fault"),  # the fence is part of a string
    ],
)
def test_anything_else_is_refused_with_a_reason(answer, said):
    made = contract(TICKETS)
    problems = made.check(answer)

    assert len(problems) == 1
    assert said in problems[0]
    with pytest.raises(InvalidInputError) as caught:
        made.value(answer)
    assert caught.value.message == problems[0]


def test_numbers_that_all_can_read_are_kept_as_they_are():
    assert read_json("9" * 308) == int("9" * 308)
    assert read_json("-0.0") == 0
    assert read_json("1e308") == 1e308
    assert read_json("[" * DEEPEST + "]" * DEEPEST)


def test_json_longer_than_what_is_stored_is_refused_for_half_of_it_would_be_none():
    fits = json.dumps("x" * 49_998)
    assert len(fits) == 50_000

    assert contract({"type": "string"}).check(fits) == ()
    (problem,) = contract({"type": "string"}).check(fits + " ")
    assert "50001 characters; only 50000 are kept" in problem


def test_problems_have_their_places_and_are_at_most_five_and_short():
    answer = {"count": "x", "day": "2026-13-01", "tags": ["low", 1], "owner": {"name": 5}}
    said = contract(TICKETS).check(json.dumps(answer))

    assert set(said) == {
        'count: it is not of type "integer".',
        'day: it is not a "date".',
        'tags[1]: it is not one of "low" or "high".',
        'owner.name: it is not of type "string".',
    }
    many = {"count": 1, **{f"odd key {n}": "y" * 1_000 for n in range(500)}}
    assert all(len(problem) <= 300 for problem in contract(TICKETS).check(json.dumps(many)))
    many = contract({"items": {"type": "string"}}).check(json.dumps(list(range(1_000))))
    assert many == tuple(f'[{n}]: it is not of type "string".' for n in range(5))
    odd = contract({"properties": {"a b": {"minimum": 3}}}).check('{"a b": 1}')
    assert odd == ("['a b']: it is less than the minimum of 3.",)


def test_missing_json_and_sections_are_told_together():
    made = contract({"type": "object"}, ["Summary"])

    assert len(made.check("nothing")) == 2
    assert made.check("## Summary\n\nAll well.\n\n" + fenced("{}")) == ()
    assert made.value("## Summary\n\nAll well.\n\n" + fenced('{"a": 1}')) == {"a": 1}


def test_contract_without_a_schema_has_no_value():
    assert contract(sections=["Summary"]).value("# Summary\nx") is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(json_values, st.booleans(), st.sampled_from(["", "json", "JSON"]))
def test_every_json_value_is_read_back_bare_and_fenced(value, ascii_only, info):
    text = json.dumps(value, ensure_ascii=ascii_only)
    made = contract({})

    for answer in (text, f"\n{text}\n", f"Here:\n\n{fenced(text, info)}\n"):
        assert made.check(answer) == ()
        assert made.value(answer) == value


@given(st.text(max_size=300))
def test_no_text_is_more_than_refused(text):
    problems = contract(TICKETS, ["Summary"]).check(text)

    assert all(problem.endswith(".") for problem in problems)
    assert (not problems) or len(problems) <= 5


# -- Sections


@pytest.mark.parametrize(
    "answer",
    [
        "# Summary\nx\n## Next steps\ny",
        "###### NEXT STEPS\ny\n# summary #\nx",
        "Summary\n=======\nx\n\nNext steps\n----------\ny",
        "**Summary**\nx\n\n__Next steps__\ny",
        "Summary: x\nNext steps: y",
        "**Summary:** x\n**Next steps**: y",
        "- Summary: x\n- **Next steps:** y",
        "## 1. Summary\nx\n## 2) Next   steps:\ny",
        "## 📋 Summary\nx\n## **Next steps**\ny",
        "##Summary\nx\n##Next steps\ny",
        "# Report\n## Summary\n### Details\nx\n## Next steps\n```\ny\n```",
        "# Summary\n\n# Next steps\ny\n\n# Summary\nx",
        "# Summary\n✅\n# Next steps\nx\n---\n",
        "## Summary\r\nx\r\n## Next steps\r\ny\r\n",
    ],
)
def test_sections_are_found_however_they_are_marked(answer):
    assert contract(sections=["Summary", "Next steps"]).check(answer) == ()


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("", "no section 'Summary'"),
        ("The summary is short.", "no section 'Summary'"),
        ("**Summary** of the day", "no section 'Summary'"),
        ("#summary", "empty"),
        ("```\n# Summary\nx\n```", "no section 'Summary'"),
        ("# Summary", "empty"),
        ("# Summary\n\n---\n- \n> \n***", "empty"),
        ("# Summary\n# Other\nx", "empty"),
        ("## Summary\n# Other\nx", "empty"),
        ("Summary\n===\n\nOther\n===\nx", "empty"),
        ("# Summary\n## Other", "empty"),
        ("**Summary**\n\n## Other\nx", "empty"),
        ("Summary:", "empty"),
        ("| Summary: | x |", "no section 'Summary'"),
    ],
)
def test_a_section_that_is_not_there_or_empty_is_told(answer, missing):
    (problem,) = contract(sections=["Summary"]).check(answer)

    assert missing in problem


def test_a_section_ends_where_the_next_required_one_begins_at_whatever_level():
    made = contract(sections=["Summary", "Risks"])

    assert made.check("# Summary\n## Risks\nx") == (
        "The section 'Summary' is empty: put text under it.",
    )


def test_sections_count_only_where_they_are_stored():
    filler = "x" * 50_000
    made = contract(sections=["Summary"])

    assert made.check(f"# Summary\n{filler}") == ()
    (problem,) = made.check(f"{filler}\n# Summary\nx")
    assert "in the first 50000 characters, which are kept" in problem


STYLES = (
    lambda name: f"# {name}\n",
    lambda name: f"\n## {name.upper()} ##\n",
    lambda name: f"\n**{name}**\n",
    lambda name: f"\n{name}\n===\n",
    lambda name: f"\n{name.lower()}: ",
)
NAMES = st.lists(
    st.sampled_from(["Summary", "Next steps", "Risks", "24 hours", "Offen: Fragen"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@given(NAMES, st.data())
def test_exactly_the_emptied_sections_are_told(names, data):
    emptied = data.draw(st.sets(st.sampled_from(names)))
    styles = STYLES[:-1] if any(":" in name for name in names) else STYLES
    answer = "".join(
        data.draw(st.sampled_from(styles))(name) + ("\n" if name in emptied else "Some text.\n")
        for name in data.draw(st.permutations(names))
    )

    problems = contract(sections=names).check(answer)

    assert [name for name in names if any(repr(name) in said for said in problems)] == [
        name for name in names if name in emptied
    ]


# -- What the model is told


def test_instructions_and_corrections_say_what_is_asked_and_what_was_wrong():
    made = contract(TICKETS, ["Summary"])
    asked = made.instructions()

    assert json.dumps(TICKETS, separators=(",", ":")) in asked
    assert "## Summary" in asked
    assert "```json" in asked
    problems = made.check("")
    told = made.correction(problems)
    assert all(problem in told for problem in problems)
    assert asked in told
    assert "nothing else" in contract(TICKETS).instructions()
    # What follows the instructions delivers.
    assert contract(sections=["Summary"]).check("## Summary\n\nx") == ()


def test_contract_has_its_schema_and_its_sections():
    made = contract(TICKETS, ["Summary", " Next steps "])

    assert made == OutputContract(TICKETS, ("Summary", "Next steps"))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (None, "output"),
        ({}, "output"),
        ([], "output"),
        ({"scheme": {}}, "output.scheme"),
        ({"schema": None}, "output.schema"),
        ({"schema": []}, "output.schema"),
        ({"schema": True}, "output.schema"),
        ({"schema": {"type": "text"}}, "output.schema.type"),
        ({"schema": {"properties": {"a": {"minLength": -1}}}}, "output.schema.properties.a.min"),
        ({"schema": {"required": "a"}}, "output.schema.required"),
        ({"schema": {1: {}, "x": float("nan")}}, "output.schema"),
        ({"schema": {"const": object()}}, "output.schema"),
        ({"schema": {"const": "\ud800"}}, "output.schema"),
        ({"schema": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "output.schema.$sch"),
        ({"sections": []}, "output.sections"),
        ({"sections": "Summary"}, "output.sections"),
        ({"sections": ["x"] * 21}, "output.sections"),
        ({"sections": ["Summary", ""]}, "output.sections[1]"),
        ({"sections": ["## Summary"]}, "output.sections[0]"),
        ({"sections": ["a\nb"]}, "output.sections[0]"),
        ({"sections": ["---"]}, "output.sections[0]"),
        ({"sections": ["x" * 101]}, "output.sections[0]"),
        ({"sections": [1]}, "output.sections[0]"),
        ({"sections": ["Summary", "**summary:**"]}, "output.sections[1]"),
    ],
)
def test_faults_of_contracts_name_their_place(value, place):
    with pytest.raises(InvalidInputError) as caught:
        parse_contract(value)

    assert (caught.value.field or "").startswith(place)
    assert place in caught.value.message
    assert len(caught.value.message) < 500


# -- Schemas that mean harm


class _Counting(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"type": "integer"}')

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    _Counting.asked = []
    server = HTTPServer(("127.0.0.1", 0), _Counting)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/schema.json"
    server.shutdown()
    thread.join()
    server.server_close()


REMOTE = [
    lambda url: {"$ref": url},
    lambda url: {"$dynamicRef": f"{url}#x"},
    lambda url: {"properties": {"a": {"items": {"$ref": f"{url}#/$defs/a"}}}},
    lambda url: {"$schema": url},
    lambda url: {"$defs": {"a": {"$id": url}}},
    lambda url: {"$defs": {"a": {"$id": url, "$ref": "other.json"}}, "$ref": "#/$defs/a"},
    lambda url: {"const": {"$ref": url}, "$ref": "#/const"},
]


@pytest.mark.parametrize("make", REMOTE)
def test_no_reference_leaves_the_schema(make, address, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer"}', encoding="utf-8")
    for place in (address, file.as_uri(), str(file), "//127.0.0.1/x", "other.json"):
        assert "schema" in refusal(make(place)).message
    assert _Counting.asked == []


def test_an_id_of_the_whole_schema_moves_no_reference(address):
    made = contract({"$id": address, "$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}})

    assert made.check("1") == ()
    assert made.check('"x"')
    refusal({"$id": address, "$ref": "other.json"})
    assert _Counting.asked == []


def test_the_validator_fetches_nothing_even_by_itself(address, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer"}', encoding="utf-8")
    for place in (address, file.as_uri()):
        with pytest.raises(InvalidInputError, match="Retrieval is disabled"):
            _compiled({"$ref": place}, "schema")
    assert _Counting.asked == []


def test_data_that_looks_like_a_reference_is_data(address):
    made = contract({"enum": [{"$ref": address}], "default": {"$id": "x"}})

    assert made.check(json.dumps({"$ref": address})) == ()
    assert contract({"properties": {"$ref": {"type": "string"}}}).check('{"$ref": "x"}') == ()
    assert _Counting.asked == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": ""},
        {"allOf": [{"$ref": "#"}]},
        {"not": {"$ref": "#"}},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$dynamicAnchor": "x", "anyOf": [{"$dynamicRef": "#x"}]},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"oneOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#"}]}},
        },
    ],
)
def test_loops_that_go_no_deeper_are_refused(schema):
    assert "refers to itself" in refusal(schema).message


@pytest.mark.parametrize(
    ("reference", "said"),
    [("#/$defs/b", "no schema"), ("#/type", "no schema"), ("#b", "no anchor"), ("#/x/7", "no sch")],
)
def test_references_that_lead_nowhere_are_refused(reference, said):
    schema = {"$defs": {"a": {}}, "type": "object", "x": [1], "items": {"$ref": reference}}

    assert said in refusal(schema).message


def test_recursion_into_the_value_is_fine():
    made = contract(TREE)
    tree = {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}

    assert made.check(json.dumps(tree)) == ()
    tree["children"][0]["children"][0]["name"] = 5
    assert made.check(json.dumps(tree)) == (
        'children[0].children[0].name: it is not of type "string".',
    )


def test_references_find_escaped_names_lists_and_anchors():
    made = contract(
        {
            "$defs": {"a/b c": {"type": "integer"}, "n": {"$anchor": "number", "minimum": 3}},
            "prefixItems": [
                {"$ref": "#/$defs/a~1b%20c"},
                {"$ref": "#number"},
                {"$ref": "#/prefixItems/0"},
            ],
        }
    )

    assert made.check("[1, 3, 1]") == ()
    assert len(made.check('["x", 2, "x"]')) == 3


def doubling(levels, keyword):
    steps = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**steps, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_exponentially_many_ways_to_one_value_are_refused(keyword):
    assert "too many schemas for one value" in refusal(doubling(64, keyword)).message
    assert JsonSchema(doubling(5, "allOf")).problems(1) == ()


def test_ways_that_multiply_with_the_depth_of_the_value_are_counted_before_they_are_gone():
    inner = {"properties": {"a": {"$ref": "#"}}}
    made = contract({"anyOf": [inner, inner], "maxProperties": 1})

    assert made.check(json.dumps(nested(5))) == ()
    (problem,) = made.check(json.dumps(nested(48)))
    assert "too large or too deep for its schema" in problem


def test_unevaluated_properties_multiply_too():
    steps = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}], "unevaluatedProperties": False}
        for n in range(13)
    }
    schema = {"$defs": {**steps, "d13": {"properties": {"a": {"$ref": "#/$defs/d0"}}}}}

    assert "too many" in refusal({**schema, "$ref": "#/$defs/d0"}).message
    closed = {"allOf": [{"properties": {"a": {"$ref": "#"}}}], "unevaluatedProperties": False}
    assert contract(closed).check(json.dumps(nested(40, {}))) == ()
    assert "'b' was unexpected" in contract(closed).check('{"a": {"b": 1}}')[0]


def test_more_errors_than_memory_holds_are_not_collected():
    numbers = json.dumps([1] * 15_000)

    (problem,) = contract({"items": {"allOf": [{"type": "string"}] * 6}}).check(numbers)
    assert problem == "The JSON does not match its schema, and is too large to say where."
    (problem,) = contract({"allOf": [{"type": "string"}] * 900}).check(numbers)
    assert "too large" in problem


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+$",
        "^(a|a)*$",
        "^(a|aa)+$",
        "(.*a){20}$",
        r"^(\w+\s?)*$",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
    ],
)
def test_patterns_that_ruin_other_engines_are_answered(pattern):
    text = json.dumps("a" * 49_000 + "!")
    names = {"patternProperties": {pattern: True}, "additionalProperties": False}

    assert len(contract({"pattern": pattern}).check(text)) == 1
    assert len(contract(names).check(f"{{{text}: 1}}")) == 1


@pytest.mark.parametrize(
    "pattern", ["(?=a)b", r"(a)\1", "(?<!a)b", "(", "((a{1000}){1000}){1000}", "[ab]*a[ab]{3000}"]
)
def test_patterns_that_cannot_be_bounded_are_refused(pattern):
    error = refusal({"properties": {"a": {"pattern": pattern}}})

    assert error.field == "output.schema.properties.a.pattern"
    assert "regular expression" in error.message


def test_patterns_are_few_short_and_read_only_so_much():
    assert (
        "more than 50"
        in refusal({"properties": {f"p{n}": {"pattern": "a"} for n in range(51)}}).message
    )
    assert "longer than 500" in refusal({"pattern": "a" * 501}).message
    hard = {"allOf": [{"pattern": f"[ab]*a[ab]{{{300 + n}}}c"} for n in range(5)]}
    (problem,) = contract(hard).check(json.dumps("ab" * 24_000))
    assert "too large" in problem


def test_schema_of_a_megabyte_is_refused():
    error = refusal({"properties": {f"p{n}": {"type": "string"} for n in range(40_000)}})

    assert "at most 20000" in error.message


def test_schema_nested_ten_thousand_deep_is_refused():
    schema = {"type": "integer"}
    for _ in range(10_000):
        schema = {"items": schema}

    assert "nested" in refusal(schema).message
    looped = {}
    looped["items"] = looped
    assert "not JSON" in refusal(looped).message


def test_answer_of_fifty_thousand_characters_is_checked_all_the_same():
    rows = [{"count": n, "tags": ["low", "high"]} for n in range(1_150)]
    answer = json.dumps(rows)
    assert 40_000 < len(answer) <= 50_000
    made = contract({"type": "array", "items": TICKETS})

    assert made.check(answer) == ()
    rows[1_000]["tags"][0] = "odd"
    assert made.check(json.dumps(rows)) == ('[1000].tags[0]: it is not one of "low" or "high".',)


def test_the_deepest_check_that_is_allowed_fits_the_stack_of_a_small_thread():
    # A stack that overflows takes the whole process: hence another one.
    code = """
import threading
from rota.domain.schemas.schema import JsonSchema
def main():
    for keyword in ("allOf", "anyOf", "oneOf"):
        steps = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}]} for n in range(13)}
        steps["d13"] = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}}
        schema = JsonSchema({"$defs": steps, "$ref": "#/$defs/d0"})
        for leaf, fits in (({}, True), (1, False)):
            value = leaf
            for _ in range(48):
                value = {"a": value}
            print((schema.problems(value) == ()) is fits)
threading.stack_size(1 << 20)
thread = threading.Thread(target=main)
thread.start()
thread.join()
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ["True"] * 6


@pytest.mark.slow
def test_nobody_waits_for_the_validator_who_has_no_contract():
    code = (
        "import sys, rota.cli.main, rota.bootstrap.app, rota.domain.runs.contracts;"
        "sys.exit('jsonschema_rs' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], timeout=100, check=False).returncode == 0


def test_not_json_is_a_value_error_with_a_sentence():
    with pytest.raises(NotJsonError) as caught:
        read_json("x")
    assert caught.value.sentence == "The JSON has a fault at line 1, column 1: Expecting value."
