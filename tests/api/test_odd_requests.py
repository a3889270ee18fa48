"""Requests that nobody should send are refused with a problem that says why, never with a 500."""

from __future__ import annotations

import json
from typing import Annotated

import pytest
from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.app import make_api
from rota.api.callers import Manager, Reader
from rota.api.pages import Page
from rota.api.requests import LARGEST_BODY


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    when: str
    count: int = Field(1, ge=1, le=9)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=20)
    entries: list[Inner] = []


ROUTER = APIRouter(prefix="/things", tags=["things"], route_class=StrictRoute)


@ROUTER.get("", response_model=list[str])
async def list_things(
    me: Reader,
    page: Page,
    status: Annotated[str | None, Query(description="Which.")] = None,
    tag: Annotated[list[str], Query(description="Some.")] = [],  # noqa: B006  FastAPI copies it
) -> Response:
    """Return things."""
    return answer([status, *tag])


@ROUTER.put("/{thing}", response_model=Outer)
async def put_thing(
    me: Manager, thing: Annotated[str, Path(max_length=20)], wanted: Annotated[Outer, Body()]
) -> Response:
    """Make it."""
    return answer({"thing": thing, **wanted.model_dump()})


@ROUTER.delete("/{thing}", status_code=204)
async def delete_thing(me: Manager, thing: str) -> Response:
    """Take it away."""
    return Response(status_code=204)


@ROUTER.post("/{thing}/go", response_model=str)
async def start_thing(me: Manager, thing: str) -> Response:
    """Start it."""
    return answer("gone")


@pytest.fixture
def api(app, api, monkeypatch):
    """The API of those routes alone."""
    monkeypatch.setattr("rota.api.app.ROOMS", (ROUTER,))
    return make_api(app, api.state.authenticate)


def problem(response, status):
    """Return a problem, which is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == status
    assert told["type"].startswith("urn:rota:problem:")
    assert told["title"]
    assert told["detail"].endswith((".", "?")) or told["errors"]
    return told


def fields(response):
    return [each["field"] for each in problem(response, 422)["errors"]]


async def put(client, body, **headers):
    given = {"Content-Type": "application/json", **headers}
    content = body if isinstance(body, bytes) else body.encode()
    return await client.put("/things/x", content=content, headers=given)


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/things/", "/things/a/b/c", "/things//go", "/things/a%2Fb%2Fc", "//things"],
)
async def test_an_unknown_path_is_a_problem(client, alice, path):
    assert problem(await client(alice).get(path), 404)["type"].endswith(":no-such-path")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/things", "GET"),
        ("HEAD", "/things", "GET"),
        ("OPTIONS", "/things", "GET"),
        ("GET", "/things/x", "DELETE, PUT"),
        ("OPTIONS", "/things/x", "DELETE, PUT"),
        ("PATCH", "/things/x", "DELETE, PUT"),
        ("BREW", "/things/x", "DELETE, PUT"),
        ("GET", "/things/x/go", "POST"),
        ("TRACE", "/things/x/go", "POST"),
    ],
)
async def test_another_method_is_told_which_there_are(client, alice, method, path, allowed):
    refused = await client(alice).request(method, path)
    assert refused.status_code == 405
    assert refused.headers["allow"] == allowed
    if method != "HEAD":
        assert allowed in problem(refused, 405)["detail"]


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/jsonx",
        "json",
        "",
        ";",
    ],
)
async def test_another_content_type_is_refused(client, alice, kind):
    refused = await put(client(alice), '{"name": "x"}', **{"Content-Type": kind})
    assert problem(refused, 415)["type"].endswith(":unsupported-media-type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"']
)
async def test_json_is_known_however_it_is_written(client, alice, kind):
    assert (await put(client(alice), '{"name": "x"}', **{"Content-Type": kind})).status_code == 200


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b'{"name": "\xc3\x28"}', "UTF-8"),
        (b'{"name": "\xed\xa0\x80"}', "UTF-8"),
        ('{"name": "x"}'.encode("utf-16"), "UTF-8"),
        (b'{"name": "x", "name": "y"}', "twice"),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"name": NaN}', "NaN"),
        (b'{"name": -Infinity}', "Infinity"),
        (b'{"name": 1e999}', "too large"),
        (b'{"name": ' + b"9" * 400 + b"}", "digits"),
        (b"[" * 51 + b"]" * 51, "deep"),
        (b"[" * 100_000, "deep"),
        (b'{"a":' * 100_000, "deep"),
        (b'{"name": "x"', "line 1"),
        (b'{"name": "x"} {}', "line 1"),
        (b"name: x", "line 1"),
        (b"   ", "line 1"),
        (b'{"name": "a\x00b"}', "line 1"),
    ],
)
async def test_a_body_that_is_no_json_is_refused_with_its_place(client, alice, body, why):
    refused = await put(client(alice), body)
    assert why in problem(refused, 400)["detail"]


async def test_a_body_is_a_megabyte_at_most(client, alice):
    def of(size):
        return json.dumps({"name": "x"}).ljust(size)

    assert (await put(client(alice), of(LARGEST_BODY))).status_code == 200
    refused = await put(client(alice), of(LARGEST_BODY + 1))
    assert problem(refused, 413)["type"].endswith(":body-too-large")


async def test_a_body_of_unknown_length_is_a_megabyte_at_most(client, alice):
    async def parts():
        for _ in range(11):
            yield b" " * 100_000

    given = {"Content-Type": "application/json"}
    problem(await client(alice).put("/things/x", content=parts(), headers=given), 413)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("{}", ["body.name"]),
        ("null", ["body"]),
        ("[]", ["body"]),
        ('"x"', ["body"]),
        ('{"name": 1}', ["body.name"]),
        ('{"name": null}', ["body.name"]),
        ('{"name": "x", "nmae": "y"}', ["body.nmae"]),
        ('{"name": "a\\u0000b"}', ["body.name"]),
        ('{"name": "x", "entries": [{}, {"a\\u0000": 1}]}', ["body.entries.1.a\\u0000"]),
        ('{"name": "' + "x" * 21 + '"}', ["body.name"]),
        ('{"name": "x", "entries": [{"when": "a"}, {"count": 0}]}',
         ["body.entries.1.when", "body.entries.1.count"]),
        ('{"name": "x", "entries": [{"when": "a", "count": 1e308}]}', ["body.entries.0.count"]),
        ('{"name": "x", "entries": [{"when": "a", "count": 99999999999999999999999}]}',
         ["body.entries.0.count"]),
    ],
)  # fmt: skip
async def test_a_field_that_is_wrong_is_named(client, alice, body, wrong):
    assert fields(await put(client(alice), body)) == wrong


async def test_no_body_where_one_is_wanted_names_it(client, alice):
    assert fields(await client(alice).put("/things/x")) == ["body"]


@pytest.mark.parametrize("body", [b"{}", b"x", b" "])
async def test_a_body_where_none_is_wanted_is_refused(client, alice, body):
    given = {"Content-Type": "application/json"}
    for method, path in (("POST", "/things/x/go"), ("DELETE", "/things/x")):
        refused = await client(alice).request(method, path, content=body, headers=given)
        assert problem(refused, 422)["type"].endswith(":no-body-expected")


async def test_an_empty_body_where_none_is_wanted_is_none(client, alice):
    assert (await client(alice).post("/things/x/go", content=b"")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "wrong", "why"),
    [
        ("staus=failed", "query.staus", "did you mean 'status'?"),
        ("limit=1&limit=2", "query.limit", "more than once"),
        ("status=a&status=b", "query.status", "more than once"),
        ("zzz", "query.zzz", "no such parameter"),
        ("limit=0", "query.limit", "1 or more"),
        ("limit=201", "query.limit", "200 or less"),
        ("limit=9" + "9" * 5_000, "query.limit", "whole number"),
        ("limit=", "query.limit", "whole number"),
        ("limit=1.5", "query.limit", "whole number"),
        ("limit=NaN", "query.limit", "whole number"),
        ("count=perhaps", "query.count", "true or false"),
        ("after=x", "query.after", "not from a page"),
        ("x" * 3_000 + "=1", "query." + "x" * 100, "no such parameter"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named(client, alice, asked, wrong, why):
    told = problem(await client(alice).get(f"/things?{asked}"), 422)
    assert [each["field"] for each in told["errors"]] == [
        wrong.replace("body.after", "query.after")
    ]
    assert why in told["errors"][0]["detail"]


async def test_a_parameter_that_is_a_list_may_be_given_twice(client, alice):
    assert (await client(alice).get("/things?tag=a&tag=b")).json() == [None, "a", "b"]


@pytest.mark.parametrize("asked", ["status=%00", "status=a%00b"])
async def test_a_nul_in_a_parameter_is_refused(client, alice, asked):
    assert fields(await client(alice).get(f"/things?{asked}")) == ["query.status"]


async def test_a_nul_in_a_name_finds_nothing(client, alice):
    problem(await client(alice).post("/things/a%00b/go"), 404)


async def test_a_name_that_is_too_long_is_refused(client, alice):
    refused = await client(alice).put("/things/" + "x" * 21, json={"name": "x"})
    assert fields(refused) == ["path.thing"]


@pytest.mark.parametrize("accept", ["text/html", "image/png", "*/*;q=0", "garbage", ""])
async def test_what_a_client_accepts_is_not_asked(client, alice, accept):
    shown = await client(alice).get("/things", headers={"Accept": accept})
    assert (shown.status_code, shown.headers["content-type"]) == (200, "application/json")


async def test_who_nobody_is_asked_to_sign_in_before_fields_are_told(client):
    assert (await client().put("/things/x", json={})).status_code == 401
