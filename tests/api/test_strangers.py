"""What is Bob's is not there for Alice: on no path, by no method, and without filters of ours."""

from __future__ import annotations

import re

import pytest

from rota.api.app import PREFIX
from rota.api.callers import ALL_SCOPES
from rota.api.description import OPERATORS
from rota.store import statements
from tests import http_api
from tests.api.world import MARK, ask, populate, rows_of
from tests.services.harness import Workshop

API = http_api.described()
ABSENT = "0f0e7f5c-8a53-4f0e-9d8f-0d1a2b3c4d5e"
SHARED = {"tool", "model"}
"""What is the same for everybody."""

MAKES_ONES_OWN = {f"POST {PREFIX}/calendars/{{calendar}}/days"}
"""Makes what is not there, under that name, for whoever asks."""

OF_THE_BACKEND = {f"{PREFIX}/tokens", f"{PREFIX}/sessions"}
"""Rows with hashes of secrets: people may not read them at all, so the backend reads them."""


@pytest.fixture
async def world(client, database, owner, bob):
    return await populate(client(bob), Workshop(database, owner, bob), "bob@example.com")


def with_ids():
    for method, path, operation in http_api.each_operation(API):
        names = re.findall(r"{(\w+)}", path)
        if f"{method} {path}" in MAKES_ONES_OWN or "events" in path:
            continue
        if names and not set(names) <= SHARED:
            yield method, path, operation, names


def refusal(method, operation, names):
    if operation.get(OPERATORS) or "person" in names:
        return 403
    return 412 if method == "PUT" else 404  # her own of that name is not there


async def test_no_path_leads_to_what_is_somebody_elses(client, owner, world, alice, bob):
    before = await rows_of(owner, bob)
    faults = []
    for operator in (False, True):
        me = client(alice, operator=operator)
        for method, path, operation, names in with_ids():
            if operator and (operation.get(OPERATORS) or "person" in names):
                continue  # operators manage people
            if unknown := set(names) - set(world.names) - SHARED:
                faults.append(
                    f"{method} {path}: make one of Bob's in tests/api/world.py: {unknown}"
                )
                continue
            theirs = await ask(me, method, path, operation, world.names)
            nobodys = await ask(me, method, path, operation, dict.fromkeys(world.names, ABSENT))
            told = f"{method} {path}: {theirs.status_code} {theirs.text[:200]}"
            if theirs.status_code != refusal(method, operation, names) or MARK in theirs.text:
                faults.append(told)
            if "day" not in names and theirs.status_code != nobodys.status_code:
                faults.append(f"{told}, but of nobody's {nobodys.status_code}")
            changed = {t for t, rows in (await rows_of(owner, bob)).items() if rows != before[t]}
            if changed:
                faults.append(f"{method} {path} changed {changed}")
                before = await rows_of(owner, bob)
    assert not faults, "\n".join(map(str, faults))


async def test_bobs_own_are_found_by_him(client, world, bob):
    """So that the test above asks for what is there."""
    faults = []
    for method, path, operation, _ in with_ids():
        if method == "GET" and not operation.get(OPERATORS):
            shown = await ask(client(bob), method, path, operation, world.names)
            if shown.status_code != 200:
                faults.append((path, shown.status_code, shown.text[:100]))
    assert not faults, "\n".join(map(str, faults))


def lists():
    for method, path, operation in http_api.each_operation(API):
        if method == "GET" and "{" not in path and "events" not in path:
            required = [p for p in operation.get("parameters", []) if p.get("required")]
            if not required and not operation.get(OPERATORS):
                yield path


@pytest.fixture
def unfiltered(monkeypatch):
    """Statements that read any person's rows, as far as the database lets them."""
    read = statements.statement
    pattern = re.compile(rb"(\w+\.)?user_id = %\(\w+\)s(::\w+)?")
    stripped = set()

    def without(name):
        text = read(name)
        if re.match(rb"(\s*--.*\n)*\s*(SELECT|WITH)", text) and b"auth.users" not in text:
            text, count = pattern.subn(b"true", text)
            if count:
                stripped.add(name)
        return text

    monkeypatch.setattr(statements, "statement", without)
    return stripped


async def test_lists_of_a_stranger_are_empty_without_filters_of_ours(
    client, world, alice, unfiltered
):
    faults = []
    me = client(alice)
    assert (await me.get("/session")).status_code == 200
    for path in sorted(set(lists()) - OF_THE_BACKEND):
        shown = await me.get(path.removeprefix(PREFIX))
        if shown.status_code != 200 or MARK in shown.text or "bob@example.com" in shown.text:
            faults.append((path, shown.status_code, shown.text[:300]))
        elif shown.headers["content-type"] == "application/json" and "items" in shown.json():
            items = shown.json()["items"]
            if items and any("watcher" in str(item) or "bob" in str(item) for item in items):
                faults.append((path, items))
    assert not faults, "\n".join(map(str, faults))
    assert unfiltered, "no statement has a filter any more"


async def test_nobody_is_told_anything(client, world):
    faults = []
    for method, path, operation in http_api.each_operation(API):
        if operation["security"]:
            told = await ask(client(), method, path, operation, world.names)
            if told.status_code not in {400, 401} or MARK in told.text:
                faults.append((method, path, told.status_code, told.text[:100]))
    assert not faults, "\n".join(map(str, faults))


async def test_a_token_does_what_its_scope_says_and_no_more(client, world, bob):
    faults = []
    for scope in ALL_SCOPES:
        token = client(bob, scopes=frozenset({scope}))
        for method, path, operation in http_api.each_operation(API):
            needed = operation.get("x-rota-scope")
            if needed in {None, "any", scope} or "events" in path:
                continue
            told = await ask(token, method, path, operation, world.names)
            if told.status_code != 403 or MARK in told.text:
                faults.append((scope, method, path, told.status_code, told.text[:100]))
    assert not faults, "\n".join(map(str, faults))
