"""docs/reference/http-api.md says what the API has, no more and no less."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from rota.api.app import COMMON, PREFIX, make_api
from rota.api.callers import Scope
from rota.api.description import OPERATORS, SCOPE, operations
from tests import http_api

API = http_api.described()
ALL = list(http_api.each_operation(API))
OPEN: frozenset[str] = frozenset({"sign_in"})
"""Operations that nobody needs to sign in for."""
LOOKS = frozenset({"preview_schedule"})
"""Operations that change nothing, though what they are asked is a body."""


def _named(each):
    return each[2]["operationId"]


def test_the_page_is_as_written_by_the_command():
    written = http_api.PAGE.read_text(encoding="utf-8")
    assert written == http_api.page(API, written), "run `python -m tests.http_api`"


def test_the_page_has_each_operation_with_its_scope_and_no_other():
    written = http_api.PAGE.read_text(encoding="utf-8").partition(http_api.GENERATED)[2]
    rows = re.findall(r"^\| `([A-Z]+) (\S+)` \| (\S+?)(, operator)? \|", written, re.MULTILINE)
    told = {(one.method, one.path): one.need for one in operations(make_api(None, None))}
    assert len(rows) == len(told)
    for method, path, scope, operator in rows:
        need = told[method.lower(), PREFIX + path]
        assert scope == ("-" if need is None else need.called)
        assert bool(operator) == (need is not None and need.operator)


def test_each_operation_has_a_name_of_its_own():
    assert [name for name, count in Counter(map(_named, ALL)).items() if count > 1] == []


@pytest.mark.parametrize("each", ALL, ids=_named)
def test_an_operation_says_what_it_does_who_may_and_what_it_answers(each):
    method, _, operation = each
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])
    assert len(operation["tags"]) == 1
    said = operation.get("description", "")
    assert said.split("\n\n", maxsplit=1)[0].endswith("."), "a docstring in whole sentences"
    assert not re.search(r":param|Args:", said)
    if operation["operationId"] in OPEN:
        assert operation["security"] == []
    else:
        scope = operation[SCOPE]
        by_token = {"any": [{"token": []}], "session": []}
        if scope not in by_token:
            by_token = {scope: [{"token": [Scope(scope)]}]}
        assert operation["security"] == [*by_token[scope], {"session": []}]
        assert isinstance(operation.get(OPERATORS, False), bool)
        assert {str(status) for status in COMMON} <= set(operation["responses"])
    if operation["operationId"] not in LOOKS:
        assert method == "GET" or operation.get(SCOPE) != Scope.READ, "a change needs more"
    answers = {code: one for code, one in operation["responses"].items() if code < "300"}
    assert answers
    for code, one in answers.items():
        if code != "204":
            assert all("schema" in content for content in one["content"].values())
            assert all(content["schema"] for content in one["content"].values()), "a response model"


@pytest.mark.parametrize("each", ALL, ids=_named)
def test_an_operation_has_an_example_and_says_what_its_parameters_mean(each):
    _, _, operation = each
    parameters = operation.get("parameters", [])
    for one in parameters:
        if one["in"] == "query":
            assert one.get("description") or one["schema"].get("description"), one["name"]
    places = [operation.get("requestBody", {}), *operation["responses"].values()]
    contents = [content for place in places for content in place.get("content", {}).values()]
    if not parameters and set(operation["responses"]) & {"200", "201", "204"} == {"204"}:
        return  # neither asks nor answers anything
    described = [*contents, *parameters]
    shown = [*described, *(one.get("schema", {}) for one in described)]
    shown += [API["components"]["schemas"].get(_ref(one.get("schema", {})), {}) for one in contents]
    assert any("example" in one or "examples" in one for one in shown), "an example"


def _ref(schema):
    return str(schema.get("$ref", "")).rpartition("/")[2]
