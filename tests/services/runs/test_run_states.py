"""The state machine of a run, as the database keeps it, and the fence around each attempt."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from uuid import uuid4

import psycopg
import pytest

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.verdict import judge
from rota.domain.errors import ConflictError
from rota.domain.ids import ResultId, ToolId
from rota.domain.runs.run import NEXT, FencedError, Outcome, ResultStatus, RunStatus
from rota.domain.runs.steps import Step, StepKey
from rota.engine.admission import admit
from rota.security.gate.calls import ToolCall
from rota.services.runs.service import RunService
from rota.store.runs import journals as journal_rows
from rota.store.runs import rows as run_rows
from rota.store.runs.intake import claim_runs
from rota.store.runs.journals import JournalRows, UsageRow
from tests.services.harness import ANSWER
from tests.services.recording import recording
from tests.services.running import fetch_run, make_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = list(RunStatus)


async def in_status(workshop, status, **columns):
    """Insert a run in a status, as it comes there: without going through the others."""
    run = await make_run(workshop, **columns)
    await workshop.owner.execute("ALTER TABLE agent_runs DISABLE TRIGGER refuse_transition")
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = %s, queued_at = CASE WHEN %s THEN now() END,"
        " finished_at = CASE WHEN %s THEN now() END WHERE id = %s",
        [
            status.value,
            status in {"queued", "running"},
            status in {"finished", "cancelled"},
            run.id,
        ],
    )
    await workshop.owner.execute("ALTER TABLE agent_runs ENABLE TRIGGER refuse_transition")
    return run


async def status_of(workshop, run):
    async with workshop.database.connection() as conn:
        found = await fetch_run(conn, run.id)
    return found.status


@pytest.mark.parametrize("new", STATUSES)
@pytest.mark.parametrize("old", STATUSES)
async def test_database_allows_what_the_table_says_and_nothing_else(workshop, old, new):
    run = await in_status(workshop, old)

    async def change():
        async with workshop.database.transaction() as conn:
            await conn.execute(
                "UPDATE public.agent_runs SET status = %s WHERE id = %s", [new.value, run.id]
            )

    if new in NEXT[old] or new is old:  # what stays as it is does not go anywhere
        await change()
        assert await status_of(workshop, run) is new
    else:
        with pytest.raises(psycopg.errors.CheckViolation):
            await change()
        assert await status_of(workshop, run) is old


def test_what_is_over_stays_over():
    assert NEXT[RunStatus.FINISHED] == NEXT[RunStatus.CANCELLED] == frozenset()


@pytest.mark.parametrize("status", STATUSES)
async def test_claim(workshop, status):
    run = await in_status(workshop, status)
    async with workshop.database.transaction() as conn:
        claimed = await claim_runs(conn, [run.id])
    if status in {RunStatus.SUSPENDED, RunStatus.FINISHED, RunStatus.CANCELLED}:
        assert claimed == {}
        assert await status_of(workshop, run) is status
    else:
        assert claimed[run.id].claim.attempt == 1
        assert await status_of(workshop, run) is RunStatus.RUNNING


def outcome_of(run):
    return Outcome(
        run_id=run.id,
        result_id=ResultId(uuid4()),
        session_id=run.session_id,
        agent_name=run.agent_name,
        status=ResultStatus.SUCCESS,
        content="x",
        pending_actions_created=0,
        duration_ms=1,
    )


@pytest.mark.parametrize("status", STATUSES)
async def test_finish(workshop, status):
    """With the token of an attempt, whatever has become of the run since."""
    run = await in_status(workshop, RunStatus.WAITING)
    async with workshop.database.transaction() as conn:
        claim = (await claim_runs(conn, [run.id]))[run.id].claim
    await workshop.owner.execute("ALTER TABLE agent_runs DISABLE TRIGGER refuse_transition")
    await workshop.owner.execute("UPDATE agent_runs SET status = %s", [status.value])
    await workshop.owner.execute("ALTER TABLE agent_runs ENABLE TRIGGER refuse_transition")

    async with workshop.database.transaction() as conn:
        stored = await run_rows.finish_runs(conn, [(claim.token, outcome_of(run), None)])

    results = await workshop.rows("agent_execution_results")
    if status is RunStatus.RUNNING:
        assert list(stored) == [run.id]
        assert len(results) == 1
        assert await status_of(workshop, run) is RunStatus.FINISHED
    else:
        assert (stored, results) == ({}, [])
        assert await status_of(workshop, run) is status


async def test_what_is_cancelled_on_the_way_ends_so_and_has_a_result_for_whoever_waits(workshop):
    run = await in_status(workshop, RunStatus.WAITING)
    async with workshop.database.transaction() as conn:
        claim = (await claim_runs(conn, [run.id]))[run.id].claim
    outcome = replace(outcome_of(run), metadata={"cancelled": "enough"})

    async with workshop.database.transaction() as conn:
        await run_rows.finish_runs(conn, [(claim.token, outcome, None)])

    assert await status_of(workshop, run) is RunStatus.CANCELLED
    result = await RunService(workshop.database).wait(
        workshop.user, run.id, limit=timedelta(seconds=60)
    )
    assert result is not None
    assert result.metadata == {"cancelled": "enough"}


@pytest.mark.parametrize("status", STATUSES)
async def test_cancel_request(workshop, status):
    run = await in_status(workshop, status)
    service = RunService(workshop.database)
    row = await workshop.row("agent_runs")
    if status in {RunStatus.FINISHED, RunStatus.CANCELLED}:
        with pytest.raises(ConflictError):
            await service.cancel(workshop.user, str(run.id), note="enough")
        assert await workshop.row("agent_runs") == row
        return

    view = await service.cancel(workshop.user, str(run.id), note="enough")

    after = {
        RunStatus.RUNNING: RunStatus.RUNNING,
        RunStatus.SUSPENDED: RunStatus.WAITING,  # for a worker, to end with what it has
    }.get(status, RunStatus.CANCELLED)
    assert view.status == after
    assert (await workshop.row("agent_runs"))["cancel_reason"] == "enough"
    if after is not RunStatus.CANCELLED:
        await service.cancel(workshop.user, str(run.id), note="once more")
        assert (await workshop.row("agent_runs"))["cancel_reason"] == "enough"


@pytest.mark.parametrize("status", STATUSES)
async def test_admit(workshop, status):
    run = await in_status(workshop, status)
    async with workshop.database.transaction() as conn:
        admitted = await admit(conn)
    waiting = status is RunStatus.WAITING
    assert admitted.count == (1 if waiting else 0)
    assert await status_of(workshop, run) is (RunStatus.QUEUED if waiting else status)
    assert len(await workshop.rows("rota.pgqueuer")) == admitted.count


@pytest.mark.parametrize("status", STATUSES)
async def test_next_attempt_after_a_hand_over(workshop, status):
    """A job that comes back from a worker that stopped, while the run went on meanwhile."""
    await workshop.agent(ANSWER)
    run = await in_status(workshop, status)
    service = workshop.service()
    match status:
        case RunStatus.CANCELLED | RunStatus.FINISHED:
            assert await service.take(run.id) is None
            with pytest.raises(ConflictError):  # there is no result of this run, made up as it is
                await service.execute_run(run)
            assert await status_of(workshop, run) is status
        case RunStatus.SUSPENDED:  # it waits for a decision, and no worker
            assert await service.take(run.id) is None
            assert await status_of(workshop, run) is status
        case _:
            outcome = await service.execute_run(run)
            assert outcome.content == "All quiet."
            assert await status_of(workshop, run) is RunStatus.FINISHED


@pytest.mark.parametrize("status", STATUSES)
async def test_retry_request(workshop, status):
    run = await in_status(workshop, status, options={"limits": {"steps": 3}})

    async def ask():
        async with workshop.database.acting_as(workshop.user) as conn:
            cursor = await conn.execute("SELECT public.request_retry(%s)", [run.id])
            return (await cursor.fetchone())[0]

    if status in {RunStatus.FINISHED, RunStatus.CANCELLED}:
        retry = await ask()
        (made,) = [row for row in await workshop.rows("agent_runs") if row["id"] == retry]
        assert (made["status"], made["trigger"]) == ("waiting", "retry")
        assert made["retry_of"] == run.id
        assert made["options"] == {"limits": {"steps": 3}}
    else:
        with pytest.raises(psycopg.errors.ObjectInUse):
            await ask()
    assert await status_of(workshop, run) is status


async def test_nobody_retries_what_is_not_theirs(workshop, bob):
    run = await in_status(workshop, RunStatus.FINISHED)
    with pytest.raises(psycopg.errors.NoDataFound):
        async with workshop.database.acting_as(bob) as conn:
            await conn.execute("SELECT public.request_retry(%s)", [run.id])


# Fencing: what a stale attempt writes


@pytest.fixture
async def stale(workshop):
    """What an attempt writes with whose run another one has taken."""
    run = await make_run(workshop)
    async with workshop.database.transaction() as conn:
        claim = (await claim_runs(conn, [run.id]))[run.id].claim
        await claim_runs(conn, [run.id])
    return recording(workshop, run, claim)


def step(kind="tool", index=0, **fields):
    return Step(1, index, kind, "look", "finished", NOW, finished_at=NOW, **fields)


async def written(workshop):
    tables = ("agent_run_steps", "pending_actions", "audit_logs", "usage_days")
    found = {table: await workshop.rows(table) for table in tables}
    snapshot = (await workshop.row("agent_runs"))["snapshot"]
    return {table for table, rows in found.items() if rows} | ({"snapshot"} if snapshot else set())


async def test_stale_attempt_writes_no_step(workshop, stale):
    with pytest.raises(FencedError):
        await stale.steps.record(step(), durable=True)
    assert await written(workshop) == set()


async def test_stale_attempt_stores_no_snapshot(workshop, stale):
    stale.buffer.keep_snapshot({"now": NOW.isoformat()})
    with pytest.raises(FencedError):
        await stale.steps.record(step(), durable=True)
    assert await written(workshop) == set()


async def test_stale_attempt_holds_no_action(workshop, stale):
    stale.buffer.keep_snapshot({"now": NOW.isoformat()})
    call = ToolCall("send", {"to": "bob"}, "hash", StepKey(1, 0), None)
    with pytest.raises(FencedError):
        await stale.ledger.hold(call, judge("send", None))
    assert await written(workshop) == set()


async def test_stale_attempt_begins_no_effect(workshop, stale):
    declaration = ToolDeclaration(
        id=ToolId(uuid4()),
        name="send",
        version=1,
        description="",
        read_only=False,
        idempotent=False,
        risk="low",
        default_tier="auto",
        timeout_seconds=60,
    )
    call = ToolCall("send", {"to": "bob"}, "hash", StepKey(1, 0), declaration)
    with pytest.raises(FencedError):
        await stale.ledger.starting(call, judge("send", declaration))
    assert await written(workshop) == set()


async def test_stale_attempt_adds_to_no_day(workshop, stale):
    used = {"input_tokens": 3, "output_tokens": 4}
    with pytest.raises(FencedError):
        await stale.steps.record(step("model", -1, usage=used, cost_usd=Decimal(1)), durable=True)
    assert await written(workshop) == set()


async def test_stale_attempt_finishes_nothing(workshop, stale):
    async with workshop.database.transaction() as conn:
        stored = await run_rows.finish_runs(
            conn, [(stale.buffer.claim.token, outcome_of(stale.buffer.run), {"now": "x"})]
        )
    assert stored == {}
    assert await workshop.rows("agent_execution_results") == []
    assert await written(workshop) == set()


async def test_stale_attempt_stops_at_its_next_step(workshop, stale):
    """It need not wait for something durable to hear that the run is another's."""
    async with asyncio.timeout(10):
        with pytest.raises(FencedError):
            for index in count():
                await stale.steps.record(step(index=index))
                await asyncio.sleep(0.05)
    assert await written(workshop) == set()


async def test_newer_attempt_is_not_held_up_by_a_stale_one(workshop, stale):
    async with workshop.database.transaction() as conn:
        claim = (await claim_runs(conn, [stale.buffer.run.id]))[stale.buffer.run.id].claim
    run = await run_of(workshop, stale.buffer.run.id)
    fresh = recording(workshop, run, claim)
    await fresh.steps.record(step(), durable=True)
    with pytest.raises(FencedError):
        await stale.steps.record(replace(step(), name="other"), durable=True)
    assert (await workshop.row("agent_run_steps"))["name"] == "look"


async def run_of(workshop, run_id):
    async with workshop.database.connection() as conn:
        return await fetch_run(conn, run_id)


async def test_days_are_added_up_in_one_order(workshop, bob):
    """Two writers that add to the same days in other orders do not lock each other out."""

    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(20)]
    used = [UsageRow(1, day, None, 1, 1, 1, Decimal(1)) for day in days]

    async def add(order):
        mine, theirs = await make_run(workshop), await make_run(workshop, user=bob)
        async with workshop.database.connection() as conn:
            claims = await claim_runs(conn, [mine.id, theirs.id])
            journals = [JournalRows(found.claim, usage=used[::order]) for found in claims.values()]
            for _ in range(15):
                await journal_rows.write_journals(conn, journals[::order])

    await asyncio.gather(*(add(1 if n % 2 else -1) for n in range(6)))

    assert {row["model_calls"] for row in await workshop.rows("usage_days")} == {90}


async def test_whoever_waits_for_a_later_batch_hears_that_the_run_is_lost(stale):
    """The first of two flushes takes what there is to write: the second must not pass the gate."""
    stale.buffer.add(step=step())
    flushes = [asyncio.ensure_future(stale.buffer.flush()) for _ in range(2)]
    await asyncio.gather(*flushes, return_exceptions=True)
    assert all(isinstance(flush.exception(), FencedError) for flush in flushes)

    with pytest.raises(FencedError):
        await stale.buffer.flush()
