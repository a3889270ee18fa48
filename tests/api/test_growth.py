"""docs/reference/openapi.json is what the API is, and grew out of the baseline without a break.

The baseline is `tests/api/baseline.json`: the description of the last release.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from tests import http_api
from tests.api.growth import breaks

BASELINE = Path(__file__).parent / "baseline.json"


def test_the_published_description_is_current():
    written = http_api.PUBLISHED.read_text(encoding="utf-8")
    assert written == http_api.published(http_api.described()), "run `python -m tests.http_api`"


def test_the_api_only_grows():
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    assert breaks(baseline, http_api.described()) == []


OLD = {
    "paths": {
        "/things": {
            "get": {
                "x-rota-scope": "read",
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 9}}
                ],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}
                        }
                    }
                },
            },
            "post": {
                "x-rota-scope": "manage",
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string", "maxLength": 9},
                                    "kind": {"enum": ["a", "b"]},
                                    "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                                },
                            }
                        }
                    }
                },
                "responses": {"201": {}, "409": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "kind": {"enum": ["a", "b"]}},
            }
        }
    },
}
GET = ("paths", "/things", "get")
POST = ("paths", "/things", "post")
BODY = (*POST, "requestBody", "content", "application/json", "schema")
THING = ("components", "schemas", "Thing")
GONE = object()


def changed(*path, to):
    new = copy.deepcopy(OLD)
    place = new
    for key in path[:-1]:
        place = place[key]
    if to is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return new


@pytest.mark.parametrize(
    ("path", "to", "why"),
    [
        (("paths", "/things"), GONE, "is gone"),
        (POST, GONE, "is gone"),
        ((*POST, "responses", "409"), GONE, "409"),
        ((*GET, "x-rota-scope"), "manage", "scope"),
        ((*GET, "parameters"), [], "limit"),
        ((*GET, "parameters", 0, "required"), True, "limit"),
        ((*GET, "parameters", 0, "schema", "maximum"), 8, "maximum"),
        ((*GET, "parameters", 0, "schema", "minimum"), 1, "minimum"),
        ((*GET, "parameters", 0, "schema", "type"), "string", "type"),
        ((*BODY, "required"), ["name", "kind"], "kind"),
        ((*BODY, "properties", "kind", "enum"), ["a"], "'b'"),
        ((*BODY, "properties", "name", "maxLength"), 8, "maxLength"),
        ((*BODY, "properties", "name", "pattern"), "x", "pattern"),
        ((*BODY, "properties", "size"), {"type": "integer"}, "null"),
        ((*BODY, "properties", "kind"), GONE, "kind"),
        ((*POST, "requestBody", "required"), True, "required"),
        ((*THING, "properties", "kind"), GONE, "kind"),
        ((*THING, "required"), [], "id"),
        ((*THING, "properties", "id", "type"), "integer", "type"),
        ((*THING, "properties", "id"), {"anyOf": [{"type": "string"}, {"type": "null"}]}, "null"),
        ((*GET, "responses", "200", "content"), {"text/plain": {}}, "application/json"),
    ],
)
def test_a_break_is_found(path, to, why):
    (found, *_) = breaks(OLD, changed(*path, to=to))
    assert why in found


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("paths", "/more"), {"get": {"responses": {}}}),
        ((*POST, "responses", "412"), {}),
        ((*GET, "parameters", 0, "schema", "maximum"), 10),
        ((*GET, "parameters", 0, "description"), "The most."),
        ((*BODY, "required"), []),
        ((*BODY, "properties", "more"), {"type": "string"}),
        ((*BODY, "properties", "kind", "enum"), ["a", "b", "c"]),
        ((*THING, "properties", "more"), {"type": "string"}),
        ((*THING, "properties", "kind", "enum"), ["a", "b", "c"]),
        ((*THING, "required"), ["id", "kind"]),
    ],
)
def test_growth_is_no_break(path, to):
    assert breaks(OLD, changed(*path, to=to)) == []


def test_a_schema_that_holds_itself_is_compared_once():
    inner = {"$ref": "#/components/schemas/Thing"}
    new = changed(*THING, "properties", "inner", to=inner)
    assert breaks(new, new) == []
