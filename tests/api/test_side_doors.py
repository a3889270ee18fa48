"""What a request could learn or reach by a side door, and does not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rota.api.callers import Scope

AGENT = "name: clerk\nmodel: openai:gpt-5\nsystem_prompt: Keep the safe's code.\n"


async def test_a_kept_answer_is_not_for_a_token_of_other_scopes(client, workshop, alice):
    await workshop.agent()
    key = {"Idempotency-Key": "one"}
    asked = {"agent": "watcher", "prompt": "hello"}
    assert (await client(alice).post("/runs", json=asked, headers=key)).status_code == 202
    less = client(alice, scopes=frozenset({Scope.TRIGGER}))
    refused = await less.post("/runs", json=asked, headers=key)
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:rota:problem:idempotency-key-reused"


async def test_a_token_without_read_sees_no_diff_and_restores_nothing(client, alice):
    await client(alice).post("/files/apply", json={"files": {"agents/clerk.yaml": AGENT}})
    changes = client(alice, scopes=frozenset({Scope.MANAGE}))
    other = {"files": {"agents/clerk.yaml": "name: clerk\nmodel: openai:gpt-5\n"}}
    shown = await changes.post("/files/apply", json=other | {"diff": True, "dry_run": True})
    assert (shown.status_code, shown.json()["scope"]) == (403, "read")
    restored = await changes.post(
        "/agents/clerk/restore", json={"version": 1}, headers={"If-Match": "*"}
    )
    assert (restored.status_code, "safe" in restored.text) == (403, False)


@pytest.mark.parametrize("person", ["alice@example.com", "nobody@example.com"])
async def test_a_rule_does_not_tell_who_has_an_account(client, alice, bob, person):
    rule = {"effect": "refuse", "tool": "mail_search", "user": person}
    refused = await client(bob).post("/rules", json=rule)
    assert refused.status_code == 422
    assert refused.json()["detail"] == "Only the operator's rules name a person."


async def test_only_operators_connect_to_the_servers_own_network(client, app, bob):
    app.server = SimpleNamespace(embedded=object(), owner_url="", app_url="")
    feed = {"kind": "ics", "secret": "https://127.0.0.1:9/calendar.ics"}
    refused = await client(bob).post("/connections", json=feed)
    assert refused.status_code == 422
