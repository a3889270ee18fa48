"""Results over HTTP: lists, a search of their words, the whole text, and its download."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from rota.api.callers import Scope
from rota.api.pages import page_of
from rota.domain.runs.views import Result
from rota.shown.models import model_of
from rota.shown.runs import ResultShown
from tests.services.harness import ANSWER
from tests.services.running import make_run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ResultPage = page_of(model_of(Result), "ResultPage")


async def result(workshop, content="All quiet.", *, at=NOON, status="success", **columns):
    """Insert a run that ended, with this answer; return the result's id."""
    run = await make_run(workshop, **columns)
    await workshop.owner.execute("UPDATE agent_runs SET status = 'running' WHERE id = %s", [run.id])
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'finished' WHERE id = %s", [run.id]
    )
    cursor = await workshop.owner.execute(
        "INSERT INTO agent_execution_results (user_id, schedule_id, run_id, agent_name,"
        " result_content, status, execution_duration_ms, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, 1, %s) RETURNING id",
        [run.user_id, run.schedule_id, run.id, run.agent_name, content, status, at],
    )
    (result_id,) = await cursor.fetchone()
    return str(result_id)


async def listed(http, **which):
    answered = await http.get("/results", params=which)
    assert answered.status_code == 200, answered.text
    return [one["id"] for one in answered.json()["items"]]


async def test_results_are_listed_in_pages_the_newest_first(client, workshop, alice):
    made = [await result(workshop, at=NOON - timedelta(minutes=n)) for n in range(3)]
    first = (await client(alice).get("/results", params={"limit": 2, "count": "true"})).json()
    ResultPage.model_validate(first)
    assert [one["id"] for one in first["items"]] == made[:2]
    assert first["count"] == 3
    assert await listed(client(alice), limit=2, after=first["next"]) == made[2:]


async def test_results_of_one_instant_are_each_on_one_page(client, workshop, alice):
    made = {await result(workshop) for _ in range(4)}
    seen, after = [], None
    for _ in range(4):
        given = {"limit": 1, **({"after": after} if after else {})}
        page = (await client(alice).get("/results", params=given)).json()
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
    assert after is None
    assert len(seen) == 4
    assert set(seen) == made


async def test_results_are_filtered(client, workshop, alice):
    schedule = await workshop.schedule()
    old = await result(workshop, at=NOON - timedelta(days=1), status="error")
    own = await result(workshop, agent_name="other")
    fired = await result(workshop, schedule_id=schedule.id, at=NOON - timedelta(hours=1))
    http = client(alice)
    assert await listed(http, agent="other") == [own]
    assert await listed(http, schedule="morning") == [fired]
    assert await listed(http, status="error") == [old]
    assert await listed(http, since=(NOON - timedelta(hours=1)).isoformat()) == [own, fired]
    assert await listed(http, q="quiet", status="error") == [old]
    assert await listed(http, q="quiet", schedule="morning") == [fired]
    assert await listed(http, q="quiet", agent="other") == [own]
    assert (await http.get("/results", params={"schedule": "evening"})).status_code == 404
    assert (await http.get("/results", params={"status": "bad"})).status_code == 422


@pytest.mark.parametrize(
    ("q", "is_found"),
    [
        ("invoice", True),
        ("INVOICE", True),
        ("invo", True),
        ("invoice shop", True),
        ("shop invoice", True),
        ("4,711", True),
        ("Grüße", True),
        ("grü", True),
        ("o'brien", True),
        ("O'Bri", True),
        ("voice", False),
        ("invoice receipt", False),
        ("invoice & | ! :* <->", True),
        ("'; DROP TABLE agent_runs; --", False),
        ("back\\slash", True),
        ("zz:*", False),
    ],
)
async def test_words_are_found_by_their_beginning(client, workshop, alice, q, is_found):
    text = "An Invoice of the shop about 4,711 euros. Grüße, O'Brien. Look at back\\slash."
    found = await result(workshop, text)
    await result(workshop, "Nothing came in.")
    assert await listed(client(alice), q=q) == ([found] if is_found else [])


async def test_a_search_is_paged_as_the_list_is(client, workshop, alice):
    made = [
        await result(workshop, f"Invoice {n}.", at=NOON - timedelta(minutes=n)) for n in range(3)
    ]
    await result(workshop, "Nothing.", at=NOON - timedelta(seconds=90))
    given = {"limit": 2, "q": "invoice", "count": "true"}
    first = (await client(alice).get("/results", params=given)).json()
    assert [one["id"] for one in first["items"]] == made[:2]
    assert first["count"] == 3
    assert await listed(client(alice), limit=2, q="invoice", after=first["next"]) == made[2:]


@pytest.mark.parametrize("q", ["!!!", " ", "", "x" * 201, "...", "\x00"])
async def test_a_search_without_a_word_is_refused(client, workshop, alice, q):
    refused = await client(alice).get("/results", params={"q": q})
    assert refused.status_code == 422, refused.text
    assert [one["field"] for one in refused.json()["errors"]] == ["query.q"]


async def test_nobody_finds_the_words_of_others(client, app, workshop, alice, bob):
    await result(workshop, f"The secret of {alice}.")
    for q in ("secret", str(alice), f"\x01{alice}", f"{alice} secret"):
        answered = await client(bob).get("/results", params={"q": q, "count": "true"})
        assert answered.json().get("items", []) == []
    async with app.database.acting_as(bob) as conn:
        cursor = await conn.execute("SELECT public.search_results('secret')")
        assert await cursor.fetchall() == []
    async with app.database.acting_as(alice) as conn:
        cursor = await conn.execute("SELECT public.search_results('secret')")
        assert len(await cursor.fetchall()) == 1


async def test_a_list_has_the_beginning_and_a_result_all_of_it(client, workshop, alice):
    found = await result(workshop, "ä" * 50_000)
    text = "ä" * 60_000
    await workshop.owner.execute(
        "UPDATE agent_execution_results SET metadata = %s", ['{"truncated": true}']
    )
    await workshop.owner.execute(
        "INSERT INTO result_texts (result_id, user_id, content) VALUES (%s, %s, %s)",
        [found, alice, text],
    )
    (one,) = (await client(alice).get("/results")).json()["items"]
    assert one["result_content"] == "ä" * 1_999 + "…"
    for path in (f"/results/{found}", f"/runs/{one['run_id']}/result"):
        whole = (await client(alice).get(path)).json()
        ResultShown.model_validate(whole)
        assert whole["result_content"] == "ä" * 50_000
        assert whole["whole_content"] == text
    assert (await client(alice).get(f"/results/{found}/text")).text == text


async def test_a_download_is_saved_and_never_shown_as_a_page(client, workshop, alice):
    found = await result(workshop, "# Hi\n<script>alert(1)</script>\r\nGrüße \u202e")
    for form, kind, ending in (("markdown", "text/markdown", "md"), ("plain", "text/plain", "txt")):
        answered = await client(alice).get(f"/results/{found}/text", params={"format": form})
        assert answered.status_code == 200
        assert answered.headers["content-type"] == f"{kind}; charset=utf-8"
        assert answered.headers["x-content-type-options"] == "nosniff"
        assert answered.headers["content-disposition"] == (
            f'attachment; filename="result-{found}.{ending}"'
        )
        assert answered.content.decode() == "# Hi\n<script>alert(1)</script>\r\nGrüße \u202e"
    refused = await client(alice).get(f"/results/{found}/text", params={"format": "html"})
    assert refused.status_code == 422


async def test_a_run_without_a_result_says_where_it_stands(client, workshop, alice):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    missing = await client(alice).get(f"/runs/{run.id}/result")
    assert missing.status_code == 404
    assert missing.json()["detail"].endswith("The run is waiting.")


async def test_a_character_that_no_text_may_hold_is_refused(client, alice):
    for path in ("/results?q=a%00b", "/results?agent=%00", "/runs?agent=%00", "/runs?schedule=%00"):
        refused = await client(alice).get(path)
        assert refused.status_code in {404, 422}, path


@pytest.mark.parametrize("path", ["", "/text"])
async def test_a_result_of_somebody_else_is_not_there(client, workshop, alice, bob, path):
    found = await result(workshop)
    assert (await client(alice).get(f"/results/{found}{path}")).status_code == 200
    strangers = await client(bob).get(f"/results/{found}{path}")
    assert strangers.status_code == 404
    assert (await client(bob).get(f"/results/{uuid4()}{path}")).status_code == 404
    assert await listed(client(bob)) == []
    assert (await client().get(f"/results/{found}{path}")).status_code == 401
    too_little = client(alice, scopes=frozenset({Scope.TRIGGER, Scope.DECIDE}))
    assert (await too_little.get(f"/results/{found}{path}")).status_code == 403
    assert (await too_little.get("/results")).status_code == 403
