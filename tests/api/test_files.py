"""What a person set up as files over HTTP: exported, applied, and refused."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import pytest

from rota.api.callers import Scope
from rota.shown.files import FilesAppliedShown, FileSetShown

SMALL = "name: small\nmodel: openai:x\nschedules:\n- name: morning\n  cron: '@daily'\n"
FILES = {"agents/small.yaml": SMALL, "rules.yaml": "- require: send\n"}


@pytest.fixture(autouse=True)
def _tools(workshop):
    """The tools of the workshop are declared."""


async def apply(client, files=FILES, **options):
    return await client.post("/files/apply", json={"files": files, **options})


async def test_files_are_applied_exported_and_applied_again_without_a_change(client, alice):
    me = client(alice)
    applied = await apply(me)
    assert FilesAppliedShown.model_validate(applied.json())
    assert {one["change"] for one in applied.json()["changes"]} == {"created"}

    exported = (await me.get("/files")).json()
    again = (await apply(me, exported["files"], diff=True, prune=True)).json()

    assert FileSetShown.model_validate(exported).files["agents/small.yaml"] == SMALL
    assert {one["change"] for one in again["changes"]} == {"unchanged"}
    assert again["diffs"] == []


async def test_the_export_as_a_zip_is_the_same_each_time(client, alice):
    me = client(alice)
    await apply(me)
    first = await me.get("/files", headers={"Accept": "application/zip"})
    second = await me.get("/files", headers={"Accept": "application/zip"})

    assert first.headers["content-type"] == "application/zip"
    assert first.content == second.content
    with ZipFile(BytesIO(first.content)) as archive:
        assert archive.read("agents/small.yaml").decode() == SMALL


async def test_a_dry_run_with_a_diff_changes_nothing(client, alice):
    me = client(alice)
    shown = (await apply(me, dry_run=True, diff=True)).json()

    assert shown["is_rehearsal"] is True
    assert "+name: small\n" in shown["diffs"][0]["diff"]
    assert (await me.get("/agents/small")).status_code == 404


async def test_what_changed_on_both_sides_is_409(client, alice, app):
    me = client(alice)
    await apply(me)
    files = (await me.get("/files")).json()["files"]
    await app.schedules.pause(alice, "morning", "")
    etag = (await me.get("/agents/small")).headers["etag"]
    await me.put("/agents/small", json={"model": "openai:here"}, headers={"If-Match": etag})
    mine = files | {"agents/small.yaml": SMALL.replace("openai:x", "openai:git")}

    refused = await apply(me, mine)
    forced = await apply(me, mine, force=True)

    assert refused.status_code == 409
    assert "agents/small.yaml changed too" in refused.json()["detail"]
    assert forced.status_code == 200
    assert (await me.get("/agents/small")).json()["model"] == "openai:git"


async def test_a_token_without_decide_writes_no_rule(client, alice, app):
    manages = client(alice, scopes=frozenset({Scope.READ, Scope.MANAGE}))

    refused = await apply(manages)
    agents = await apply(manages, {"agents/small.yaml": SMALL}, prune=True)

    assert (refused.status_code, refused.json()["scope"]) == (403, "decide")
    assert agents.status_code == 200
    assert await app.rules.list_rules(alice) == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "body.files"),
        ({"files": {}}, "body.files"),
        ({"files": {"a.yaml": 1}}, "body.files.a.yaml"),
        ({"files": {"../a.yaml": SMALL}}, "is no name of a file"),
        ({"files": {"a.yaml": "name: small\nmodel: x\n"}}, "a.yaml:2: model"),
        ({"files": FILES, "prun": True}, "body.prun"),
        ({"files": FILES, "dry_run": "yes"}, "body.dry_run"),
        ({"files": FILES | {"agents/b.yaml": SMALL}}, "has an agent 'small' too"),
    ],
)
async def test_bad_input_is_422_and_changes_nothing(client, alice, body, said):
    me = client(alice)
    refused = await me.post("/files/apply", json=body)

    assert refused.status_code == 422
    assert said in refused.text
    assert (await me.get("/agents/small")).status_code == 404


async def test_scripts_are_refused_to_people_and_kept(client, alice, bob):
    files = {"p.yaml": "name: plan\nmodel: scripted:x\nscript: {steps: [], answer: Fine.}\n"}

    assert (await apply(client(alice), files)).status_code == 422
    assert (await apply(client(bob, operator=True), files)).status_code == 200


async def test_a_stranger_gets_and_changes_nothing(client, alice, bob):
    me, other = client(alice), client(bob)
    await apply(me)
    before = (await me.get("/files")).json()

    assert "small" not in (await other.get("/files")).text
    took = await apply(other, before["files"], prune=True, force=True)

    assert took.status_code == 200
    assert (await me.get("/files")).json() == before


async def test_nobody_is_401_and_too_little_is_403(client, alice):
    assert (await client().get("/files")).status_code == 401
    assert (await apply(client())).status_code == 401
    others = frozenset({Scope.TRIGGER, Scope.DECIDE})
    assert (await client(alice, scopes=others).get("/files")).status_code == 403
    reads = frozenset({Scope.READ, Scope.TRIGGER, Scope.DECIDE})
    assert (await apply(client(alice, scopes=reads))).status_code == 403
