"""Finished runs share a transaction; one that cannot be stored fails alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from langchain_core.tools import tool

from rota.agents.models.building import ChatModels
from rota.domain.errors import StatementError
from rota.domain.runs.run import FencedError, ResultStatus
from rota.engine.admission import requeue_lost
from rota.services.notifications.service import NotificationService
from rota.store.database import Database
from rota.store.runs.intake import claim_runs
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer
from tests.loopback.postgres_proxy import PostgresProxy
from tests.services.harness import ANSWER
from tests.services.running import make_run, queue_runs, results, until, working

WAIT = {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "Done."}


@asynccontextmanager
async def behind(workshop, url):
    """A workshop whose services reach the database through a proxy."""
    async with PostgresProxy(url).opened() as proxy, Database(proxy.url).opened() as database:
        yield proxy, replace(workshop, database=database)


async def all_in_wait(workshop, count):
    async def there():
        return workshop.toolbox.calls.count(("wait", None)) >= count

    await until(there)


async def transactions(workshop):
    """Return how many transactions wrote the results."""
    cursor = await workshop.owner.execute(
        "SELECT count(DISTINCT created_at) FROM agent_execution_results"  # their transaction's time
    )
    return (await cursor.fetchone())[0]


async def twenty_at_once(workshop, service, schedule=None):
    """Execute twenty runs that end together; returns them and what came of each."""
    workshop.toolbox.gate = asyncio.Event()
    runs = [
        await make_run(workshop, schedule_id=schedule.id if schedule else None) for _ in range(20)
    ]
    tasks = [asyncio.create_task(service.execute_run(run)) for run in runs]
    waiting = asyncio.create_task(all_in_wait(workshop, 20))
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    assert [task for task in tasks if task.done()] == []
    await waiting
    return runs, tasks


async def test_runs_that_end_together_share_transactions(workshop):
    await workshop.agent(WAIT, tools=["wait"])
    _, tasks = await twenty_at_once(workshop, workshop.service())
    workshop.toolbox.gate.set()

    outcomes = await asyncio.gather(*tasks)

    assert {outcome.status for outcome in outcomes} == {ResultStatus.SUCCESS}
    assert await transactions(workshop) < 20
    assert len(await workshop.rows("notifications")) == 20


async def test_fenced_run_among_twenty_fails_alone_and_writes_nothing(workshop):
    await workshop.agent(WAIT, tools=["wait"])
    runs, tasks = await twenty_at_once(workshop, workshop.service())
    async with workshop.database.transaction() as conn:
        await claim_runs(conn, [runs[7].id])
    workshop.toolbox.gate.set()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(o) for o in outcomes if isinstance(o, Exception)] == [FencedError]
    assert isinstance(outcomes[7], FencedError)
    assert len(await workshop.rows("agent_execution_results")) == 19
    assert len(await workshop.rows("notifications")) == 19
    steps = await workshop.rows("agent_run_steps")
    late = [s for s in steps if s["run_id"] == runs[7].id and s["status"] == "finished"]
    assert all(step["kind"] == "model" and step["model_step"] == 1 for step in late)


async def test_failing_notification_among_twenty_costs_no_other_ones(workshop):
    class Broken(NotificationService):
        async def write(self, conn, drafts):
            if any("7" in draft.body for draft in drafts):
                await conn.execute("SELECT 1/0")
            await super().write(conn, drafts)

    await workshop.agent(
        {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "{{ prompt }}"}, tools=["wait"]
    )
    service = workshop.service(notifications=Broken(workshop.database))
    workshop.toolbox.gate = asyncio.Event()
    runs = [await make_run(workshop, prompt=f"number {n}") for n in range(10)]
    tasks = [asyncio.create_task(service.execute_run(run)) for run in runs]
    await all_in_wait(workshop, 10)
    workshop.toolbox.gate.set()

    outcomes = await asyncio.gather(*tasks)

    assert len(await workshop.rows("agent_execution_results")) == 10
    told = [row["body"] for row in await workshop.rows("notifications")]
    assert sorted(told) == [f"number {n}" for n in range(10) if n != 7]
    assert [("notification_error" in o.metadata) for o in outcomes] == [n == 7 for n in range(10)]
    assert await workshop.service().write_missing_notifications() == 1
    assert len(await workshop.rows("notifications")) == 10


async def test_result_that_violates_a_check_fails_alone(workshop):
    await workshop.owner.execute(
        "ALTER TABLE agent_execution_results ADD CHECK (result_content <> 'number 7')"
    )
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "{{ prompt }}"}, tools=["wait"]
    )
    service = workshop.service()
    workshop.toolbox.gate = asyncio.Event()
    runs = [await make_run(workshop, prompt=f"number {n}") for n in range(10)]
    tasks = [asyncio.create_task(service.execute_run(run)) for run in runs]
    await all_in_wait(workshop, 10)
    workshop.toolbox.gate.set()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [n for n, o in enumerate(outcomes) if isinstance(o, StatementError)] == [7]
    assert len(await workshop.rows("agent_execution_results")) == 9
    # All or nothing: of that one neither the end nor a word to its owner.
    status = {run["id"]: run["status"] for run in await workshop.rows("agent_runs")}
    assert status.pop(runs[7].id) == "running"
    assert set(status.values()) == {"finished"}
    assert len(await workshop.rows("notifications")) == 9


@pytest.mark.parametrize("made_up", ["lo\0ok", "lo\ud800ok"])
async def test_names_that_a_model_makes_up_can_be_stored(workshop, made_up):
    """Postgres stores neither NUL nor half a surrogate pair."""
    await workshop.agent(
        model="openai:gpt-4o-mini", model_settings={"endpoint": "local"}, tools=["look"]
    )
    call = Says(made_up, ((made_up, {made_up: made_up}),))
    with OpenAIServer(call, Says(f"Done. {made_up}")) as server:
        service = workshop.service(models=ChatModels(endpoints={"local": server.url}))
        outcome = await service.execute(await workshop.schedule())

    assert outcome.status is ResultStatus.SUCCESS
    assert "Done. lo\ufffdok" in outcome.content
    steps = await workshop.rows("agent_run_steps")
    assert [s["name"] for s in steps if s["kind"] == "tool"] == ["lo\ufffdok"]


async def test_errors_that_cannot_be_stored_are_stored_legibly(workshop):
    @tool
    async def garbled() -> str:
        """Fail with what no database takes."""
        raise RuntimeError("nul \0 and half \ud800")

    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, default_tier) VALUES ('garbled', true, 'auto')"
    )
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "garbled"}]}], "answer": "{{ results[0] }}"},
        tools=["garbled"],
    )
    registry = workshop.toolbox.registry()
    registry.register("garbled", lambda _context: garbled)

    outcome = await workshop.service(registry=registry).execute(await workshop.schedule())

    assert outcome.content == "RuntimeError: nul \ufffd and half \ufffd"
    assert "nul \ufffd" in (await workshop.row("audit_logs"))["detail"]


async def test_results_of_one_schedule_are_told_in_the_order_they_ended(workshop):
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "wait"}]}], "answer": "{{ prompt }}"}, tools=["wait"]
    )
    service = workshop.service()
    workshop.toolbox.gate = asyncio.Event()
    runs = [await make_run(workshop, prompt=f"{n}") for n in range(5)]
    tasks = [asyncio.create_task(service.execute_run(run)) for run in runs]
    await all_in_wait(workshop, 5)
    workshop.toolbox.gate.set()
    await asyncio.gather(*tasks)

    by_run = [r["run_id"] for r in await workshop.rows("notifications", "created_at, ctid")]
    stored = [r["run_id"] for r in await workshop.rows("agent_execution_results", "ctid")]
    assert by_run == stored


async def test_cancelled_caller_has_its_result_stored_all_the_same(workshop):
    """Its run is over: nothing is left to hand over, and nothing of its journal is lost."""
    await workshop.agent(WAIT, tools=["wait"])
    await workshop.owner.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$;"
        "CREATE TRIGGER slowly BEFORE INSERT ON agent_execution_results FOR EACH ROW"
        " EXECUTE FUNCTION slowly()"
    )
    run = await make_run(workshop)
    service = workshop.service()
    task = asyncio.create_task(service.execute_run(run))

    async def storing():
        cursor = await workshop.owner.execute(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )
        return await cursor.fetchone() is not None

    await until(storing)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    (result,) = await results(workshop)
    assert result["status"] == "success"
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [(s["kind"], s["status"]) for s in steps] == [
        ("model", "finished"),
        ("tool", "finished"),
        ("model", "finished"),
    ]


async def test_journal_that_stands_in_line_is_written_with_its_result(workshop):
    """A write that came after the result would be fenced: then nobody could read what was done."""
    await workshop.owner.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;"
        "CREATE TRIGGER slowly BEFORE INSERT ON agent_run_steps FOR EACH ROW"
        " WHEN (NEW.name = 'look') EXECUTE FUNCTION slowly()"
    )
    await workshop.agent({"steps": [{"calls": [{"tool": "look"}]}], "answer": "x"}, tools=["look"])
    await workshop.agent(WAIT, name="other", tools=["wait"])
    service = workshop.service()
    workshop.toolbox.gate = asyncio.Event()
    slow = asyncio.create_task(service.execute_run(await make_run(workshop)))
    run = await make_run(workshop, "other")
    quick = asyncio.create_task(service.execute_run(run))

    async def written_slowly():
        cursor = await workshop.owner.execute(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )
        return await cursor.fetchone() is not None

    await all_in_wait(workshop, 1)
    await until(written_slowly)
    await asyncio.sleep(0.2)  # by now the other one's first steps stand in line to be written
    workshop.toolbox.gate.set()
    await asyncio.gather(slow, quick)
    await asyncio.sleep(0.3)

    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [(s["kind"], s["status"]) for s in steps if s["run_id"] == run.id] == [
        ("model", "finished"),
        ("tool", "finished"),
        ("model", "finished"),
    ]


# The database goes away


async def test_commit_that_was_made_and_not_heard_of_is_not_counted_twice(workshop, database_url):
    """The connection breaks between a commit and its answer: the write is done again."""
    await workshop.agent(
        model="openai:gpt-4o-mini",
        model_settings={"endpoint": "local", "max_retries": 0},
        tools=["look", "wait"],
    )
    workshop.toolbox.gate = asyncio.Event()
    run = await make_run(workshop)
    with OpenAIServer(
        Says("Looking.", (("look", {}),)), Says("Waiting.", (("wait", {}),)), Says("Done.")
    ) as server:
        models = ChatModels(endpoints={"local": server.url})
        async with behind(workshop, database_url) as (proxy, cut_off):
            service = cut_off.service(models=models)
            taken = await service.take(run.id)
            proxy.cut_after = b"agent_run_steps"
            task = asyncio.create_task(service.execute_run(run, taken=taken))
            await all_in_wait(workshop, 1)

            async def written_twice():
                async with asyncio.timeout(20):
                    while proxy.cuts == 0:
                        await asyncio.sleep(0.01)
                return True

            await until(written_twice)
            await asyncio.sleep(0.5)  # the journal's next write comes a tenth of a second later
            workshop.toolbox.gate.set()
            outcome = await task

    assert proxy.cuts == 1
    assert outcome.content == "Done."
    days = await workshop.row("usage_days")
    assert (days["model_calls"], days["input_tokens"], days["output_tokens"]) == (3, 33, 21)


async def test_database_that_goes_away_in_mid_group_loses_no_run(
    workshop, database_url, monkeypatch
):
    """Each is stored once: by this attempt, or by the one that follows it."""
    await workshop.agent(WAIT, tools=["wait"])
    async with behind(workshop, database_url) as (proxy, cut_off):
        runs, tasks = await twenty_at_once(cut_off, cut_off.service())
        monkeypatch.setattr(cut_off.database._pool, "timeout", 4.0)  # waited for twice
        await asyncio.sleep(0.3)
        proxy.cut_after, proxy.leaves_after_cut = b"agent_execution_results", True
        workshop.toolbox.gate.set()

        async def cut():
            return proxy.cuts

        await until(cut)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        proxy.come_back()
        assert any(isinstance(o, Exception) for o in outcomes)
        again = cut_off.service()
        for run, outcome in zip(runs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                assert (await again.execute_run(run)).content == "Done."

    assert len(await workshop.rows("agent_execution_results")) == 20
    assert len(await workshop.rows("notifications")) == 20


async def test_worker_outlives_a_database_that_goes_away(workshop, database_url):
    await workshop.agent(WAIT, tools=["wait"])
    workshop.toolbox.gate = asyncio.Event()
    async with (
        behind(workshop, database_url) as (proxy, cut_off),
        working(cut_off, proxy.url),
    ):
        for _ in range(5):
            await make_run(workshop)
        await queue_runs(workshop.database)
        await all_in_wait(workshop, 5)
        proxy.go_away()
        workshop.toolbox.gate.set()
        await asyncio.sleep(1.0)
        proxy.come_back()
        await until(lambda: requeued(workshop), seconds=60)

    assert len(await workshop.rows("agent_execution_results")) == 5
    assert len(await workshop.rows("notifications")) == 5


async def requeued(workshop):
    """Queue what has no job any more, as a scheduler does after a minute."""
    async with workshop.database.transaction() as conn:
        await requeue_lost(conn, older_than_seconds=0)
    return len(await workshop.rows("agent_execution_results")) == 5


async def test_schedule_deleted_while_its_run_is_stored_loses_no_result(workshop):
    await workshop.agent(ANSWER)
    service = workshop.service()
    schedules = [await workshop.schedule(name=f"s{n}") for n in range(12)]
    runs = [await make_run(workshop, schedule_id=s.id) for s in schedules]

    async def delete(schedule):
        async def begun():  # one that waits is cancelled with its schedule
            found = await workshop.rows("agent_runs")
            return all(row["status"] != "waiting" for row in found)

        await until(begun)
        await workshop.owner.execute("DELETE FROM agent_schedules WHERE id = %s", [schedule.id])

    outcomes = await asyncio.gather(
        *(service.execute_run(run) for run in runs),
        *(delete(schedule) for schedule in schedules),
        return_exceptions=True,
    )

    assert [o for o in outcomes if isinstance(o, Exception)] == []
    assert len(await workshop.rows("agent_execution_results")) == 12
