"""How runs are executed, from the command line: options, what a run used, retries, usage."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.runs.option_kinds import money
from tests.services.harness import ANSWER, Workshop

LOOKS = {
    "steps": [{"calls": [{"tool": "look", "args": {"query": "x"}}]}],
    "answer": "Looked.",
}
LATE = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def environment(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)


@pytest.fixture
def rota(environment):
    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


async def insert(workshop, table, **columns):
    names = ", ".join(columns)
    places = ", ".join(["%s"] * len(columns))
    values = [Jsonb(v) if isinstance(v, dict | list) else v for v in columns.values()]
    cursor = await workshop.owner.execute(
        f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING *", values
    )
    return (await cursor.fetchone())[0]


async def running(workshop, **columns):
    return await insert(
        workshop,
        "agent_runs",
        user_id=workshop.user,
        agent_name="watcher",
        trigger="manual",
        status="running",
        **columns,
    )


async def step(workshop, run, kind="model", name="openai:gpt-5-mini", **columns):
    values = {
        "run_id": run,
        "user_id": workshop.user,
        "model_step": 1,
        "call_index": -1,
        "kind": kind,
        "name": name,
        "status": "finished",
        "request": {},
        "attempt": 1,
        "started_at": LATE,
        "finished_at": LATE + timedelta(seconds=2),
        **columns,
    }
    await insert(workshop, "agent_run_steps", **values)


def failed(kind, waited):
    return {"model": "openai:gpt-5-mini", "kind": kind, "message": "Not now.", "waited": waited}


async def test_every_option_is_shown_and_can_be_taken_away(workshop, rota, tmp_path):
    await workshop.agent(ANSWER, tools=["look"])
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    said = await rota(
        *("schedules", "add", "watcher", "@daily", "--model", "openai:gpt-5-mini"),
        *("--max-time", "10m", "--idle-time", "90s", "--max-steps", "20", "--max-tokens", "1.5M"),
        *("--max-cost", "$0.50", "--day-tokens", "2M", "--day-cost", "5", "--check", "Mail?"),
        *("--check", "Disk?", "--quiet-answer", "FINE", "--precheck", "look"),
        *("--precheck-args", '{"query": "x"}', "--output-schema", str(schema)),
        *("--section", "Summary", "--section", "Risks", "--retries", "2"),
    )

    shown = await rota("schedules", "show", "watcher")

    for part in (
        "Model      openai:gpt-5-mini",
        "Each run   at most 10 minutes, 1 minute 30 seconds without progress, 20 model calls",
        ", 1,500,000 tokens, $0.50",
        "Each day   at most 2,000,000 tokens, $5.00",
        "Checklist  1. Mail?\n           2. Disk?",
        "Quiet      FINE is stored and not announced",
        'Pre-check  look {"query": "x"}',
        "Answer     JSON that matches a schema and text under Summary, Risks",
        "Retries    at most 2, later",
    ):
        assert part in said
        assert part in shown
    await rota(
        *("schedules", "edit", "watcher", "--model", "none", "--max-time", "none"),
        *("--idle-time", "0", "--max-steps", "0", "--max-tokens", "none", "--max-cost", "0"),
        *("--day-tokens", "0", "--day-cost", "none", "--check", "none", "--quiet-answer", "none"),
        *("--precheck", "none", "--output-schema", "none", "--section", "none", "--retries", "0"),
    )
    edited = await rota("schedules", "show", "watcher", "--json")
    assert (edited["options"], edited["revision"]) == ({}, 2)


async def test_options_written_past_rota_are_told_of_and_break_no_list(workshop, rota):
    await workshop.agent(ANSWER)
    await workshop.schedule(options='{"limits": {"tokens": "many"}}')
    assert "Options    cannot be read" in await rota("schedules", "show", "morning")
    assert "morning" in await rota("schedules", "list")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--precheck", "lok"), "no tool 'lok' for a pre-check"),
        (("--precheck", "look", "--precheck-args", "x"), "cannot be read as JSON"),
        (("--output-schema", "/no/such/file"), "/no/such/file cannot be read"),
        (("--max-cost", "much"), "The amount 'much' is not understood"),
        (("--model", "gpt-5"), "of the form provider:model"),
    ],
)
async def test_option_that_cannot_be_meant_is_refused(workshop, rota, arguments, sentence):
    await workshop.agent(ANSWER, tools=["look"])
    with pytest.raises(InvalidInputError, match=sentence):
        await rota("schedules", "add", "watcher", "@daily", *arguments)


async def test_one_run_has_a_model_and_limits_of_its_own(workshop, rota):
    await workshop.agent(ANSWER)
    await workshop.schedule(options='{"limits": {"tokens": 5}}')
    own = ("--max-tokens", "7k", "--max-cost", "0.10", "--no-wait")
    anyhow = ("--overlap", "allow_all")

    by_agent = (await rota("run", "watcher", "--model", "scripted:other", *own)).strip()
    by_schedule = (await rota("schedules", "run", "morning", *anyhow, *own)).strip()

    limits = {"tokens": 7_000, "cost_usd": "0.10"}
    stored = {str(run["id"]): run["options"] for run in await workshop.rows("agent_runs")}
    assert stored == {
        by_agent: {"model": "scripted:other", "limits": limits},
        by_schedule: {"limits": limits},
    }
    waiting = await rota("runs", "show", by_agent)
    assert "Model      scripted:other" in waiting
    assert "Limits     at most 7,000 tokens, $0.10" in waiting
    for nothing in (("--max-cost", "none"), ("--max-steps", "0"), ("--max-time", "0")):
        with pytest.raises(InvalidInputError, match=r"^0 and none take .* cannot take away"):
            await rota("run", "watcher", *nothing)


async def test_limits_that_held_and_what_stopped_a_run_are_shown(workshop, rota):
    await workshop.agent(LOOKS, tools=["look"])
    schedule = await workshop.schedule(options='{"limits": {"steps": 1, "wall_seconds": 600}}')
    outcome = await workshop.service().execute(schedule)

    said = await rota("runs", "show", str(outcome.run_id))

    assert "Limits     at most 10 minutes, 15 minutes without progress, 1 model call" in said
    assert said.count("The agent stopped at its limit of 1 model call.") == 1
    assert "Used       1 model call" in said


async def test_cost_tokens_and_failed_attempts_are_shown_and_added_up(workshop, rota):
    run = await running(workshop)
    usage = {"input_tokens": 1_000, "output_tokens": 200}
    attempts = [failed("rate_limit", 2.5), failed("timeout", None)]
    await step(workshop, run, usage=usage, cost_usd=Decimal("0.0125"), attempts=attempts)
    await step(workshop, run, model_step=2, usage=usage, cost_usd=Decimal("0.01"))

    said = await rota("runs", "show", str(run))

    assert "1     model openai:gpt-5-mini: finished  2.00 s  1,000+200 tokens  $0.0125" in said
    assert "failed: rate_limit of openai:gpt-5-mini, again after 2.5 s: Not now." in said
    assert "failed: timeout of openai:gpt-5-mini, not tried again: Not now." in said
    assert (
        "Used       2 model calls, 2 failed attempts, 2,400 tokens (2,000 in, 400 out), $0.0225"
    ) in said


async def test_one_unknown_price_makes_the_cost_of_a_run_unknown(workshop, rota):
    run = await running(workshop)
    usage = {"input_tokens": 10, "output_tokens": 2}
    await step(workshop, run, usage=usage, cost_usd=Decimal("0.01"))
    await step(workshop, run, model_step=2, usage=usage)
    said = await rota("runs", "show", str(run))
    assert "24 tokens (20 in, 4 out), at an unknown price" in said


async def test_prechecks_and_callables_have_their_steps(workshop, rota):
    run = await running(workshop)
    await step(workshop, run, "tool", "look", model_step=0, call_index=0)
    await step(workshop, run, "callable", "callable:digest", model_step=0)

    said = await rota("runs", "show", str(run))

    assert "0     pre-check look: finished" in said
    assert "0     callable:digest: finished" in said
    assert "Used" not in said


async def test_journal_that_is_gone_is_told_of_and_its_sums_stay(workshop, rota):
    await workshop.agent(LOOKS, tools=["look"])
    outcome = await workshop.service().execute(await workshop.schedule())
    tokens = {"tokens": {"input": 1_000, "output": 20}, "cost_usd": "0.05"}
    await workshop.owner.execute(
        "UPDATE agent_execution_results SET metadata = metadata || %s", [Jsonb(tokens)]
    )
    await workshop.owner.execute("DELETE FROM agent_run_steps")
    await workshop.owner.execute("UPDATE agent_runs SET journal_pruned_at = %s", [LATE])

    said = await rota("runs", "show", str(outcome.run_id))

    assert "Used       2 model calls, 1,020 tokens (1,000 in, 20 out), $0.05" in said
    assert "Its calls were pruned Tue 2030-01-01 12:00:00 UTC; its result is kept" in said
    assert "1,020   $0.05" in await rota("runs", "list")


async def test_retry_is_announced_and_says_what_it_repeats(workshop, rota):
    first = await running(workshop)
    again = await insert(
        workshop,
        "agent_runs",
        user_id=workshop.user,
        agent_name="watcher",
        trigger="retry",
        retry_of=first,
        not_before=LATE,
    )
    metadata = {"retry_at": LATE.isoformat(), "retry_run_id": str(again), "model_calls": 0}
    await insert(
        workshop,
        "agent_execution_results",
        user_id=workshop.user,
        run_id=first,
        agent_name="watcher",
        prompt="",
        result_content="Not now.",
        status="error",
        execution_duration_ms=5,
        metadata=metadata,
    )

    assert f"Retry      at Tue 2030-01-01 12:00:00 UTC, as run {again}" in await rota(
        "runs", "show", str(first)
    )
    said = await rota("runs", "show", str(again))
    assert f"Retry of   {first}" in said
    assert "Not before Tue 2030-01-01 12:00:00 UTC" in said


async def test_run_is_retried_and_only_when_it_is_over(workshop, rota):
    await workshop.agent(ANSWER)
    outcome = await workshop.service().execute(await workshop.schedule())

    again = (await rota("runs", "retry", str(outcome.run_id), "--no-wait")).strip()

    shown = await rota("runs", "show", again, "--json")
    assert (shown["retry_of"], shown["trigger"]) == (str(outcome.run_id), "retry")
    with pytest.raises(ConflictError, match="not over: it is waiting"):
        await rota("runs", "retry", again)
    with pytest.raises(NotFoundError):
        await rota("runs", "retry", "00000000-0000-0000-0000-000000000000")


async def test_failed_attempt_is_told_of_while_the_next_one_is_waited_for(workshop, environment):
    run = await running(workshop)
    await step(
        workshop, run, status="started", finished_at=None, attempts=[failed("timeout", 60.0)]
    )
    tail = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rota", "runs", "tail", str(run)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ,
    )
    said = b""
    while b"failed: timeout" not in said:  # the run goes on all the while
        said += await tail.stdout.readline()

    await workshop.owner.execute(
        "UPDATE agent_run_steps SET attempts = attempts || %s", [Jsonb([failed("quota", None)])]
    )
    while b"failed: quota" not in said:
        said += await tail.stdout.readline()
    await workshop.owner.execute("UPDATE agent_run_steps SET status = 'failed', error = 'No.'")
    await workshop.owner.execute("UPDATE agent_runs SET status = 'finished'")
    said += await tail.stdout.read()

    assert await tail.wait() == 0
    assert (said.count(b"failed: timeout"), said.count(b"failed: quota")) == (1, 1)
    assert b"again after 60.0 s" in said
    assert said.endswith(b"finished.\n")


async def test_usage_is_told_by_day_with_its_share_of_the_limits(workshop, rota):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule(options='{"day_limits": {"tokens": 1000, "cost_usd": "1"}}')
    used = {"user_id": workshop.user, "day": datetime.now(UTC).date()}
    await insert(
        workshop, "usage_days", **used, model_calls=5, input_tokens=900, cost_usd=Decimal("0.30")
    )
    await insert(
        workshop,
        "usage_days",
        **used,
        schedule_id=schedule.id,
        model_calls=3,
        input_tokens=500,
        cost_usd=Decimal("0.25"),
    )

    lines = [line.split() for line in (await rota("usage")).splitlines()[1:]]

    assert lines == [
        [f"{used['day']}", "in", "all", "5", "900", "$0.30"],
        ["morning", "3", "500", "$0.25", *"50% of 1,000 tokens, 25% of $1.00".split()],
        ["(no", "schedule)", "2", "400", "$0.05"],
    ]
    assert [row["input_tokens"] for row in await rota("usage", "--json")] == [900, 500]
    await workshop.owner.execute("UPDATE usage_days SET day = day - 7")
    assert "No model was asked" in await rota("usage")
    assert "in all" in await rota("usage", "--days", "8")


async def test_usage_says_how_many_calls_of_unknown_price_it_leaves_out(workshop, rota):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    run = await running(workshop, schedule_id=schedule.id)
    alone = await running(workshop)
    now = datetime.now(UTC)
    used = {"user_id": workshop.user, "day": now.date(), "input_tokens": 30}
    await insert(workshop, "usage_days", **used, model_calls=3, cost_usd=Decimal("0.01"))
    used["schedule_id"] = schedule.id
    await insert(workshop, "usage_days", **used, model_calls=3, cost_usd=Decimal("0.01"))
    usage = {"input_tokens": 10, "output_tokens": 0}
    await step(workshop, run, usage=usage, cost_usd=Decimal("0.01"), started_at=now)
    assert "leaves out" not in await rota("usage")
    for number in (2, 3):
        await step(workshop, run, model_step=number, usage=usage, started_at=now)
    await step(workshop, alone, usage=usage, started_at=now)

    assert "The cost leaves out 3 model calls of unknown price." in await rota("usage")
    assert [row["unpriced_calls"] for row in await rota("usage", "--json")] == [3, 2]


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0", "$0.00"),
        ("0.5", "$0.50"),
        ("1234.5", "$1,234.50"),
        ("0.0125", "$0.0125"),
        ("0.00001", "<$0.0001"),
    ],
)
def test_small_amounts_are_not_nothing(amount, said):
    assert money(Decimal(amount)) == said


async def test_agents_limits_and_fallbacks_are_shown(workshop, rota, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        "name: watcher\nmodel: scripted:x\nscript: {answer: Fine.}\n"
        "fallback_models: [openai:gpt-5-mini, openai:gpt-5-nano]\n"
        "limits: {time: 10m, cost: 0.5}\n"
    )
    await rota("agents", "apply", str(file))
    said = await rota("agents", "show", "watcher")
    assert "Fallback   openai:gpt-5-mini, then openai:gpt-5-nano" in said
    assert "Each run   at most 10 minutes, 25 model calls, $0.50" in said


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"finish_reason": "stop"}, "stop"),
        ({"stop_reason": "max_tokens"}, "max_tokens"),
        ({}, None),
    ],
)
async def test_finish_reason_of_each_answer_is_shown(workshop, rota, about, reason):
    run = await running(workshop)
    answer = {"type": "ai", "data": {"content": "All is well.", "response_metadata": about}}
    await step(workshop, run, response=[answer])

    said = await rota("runs", "show", str(run))
    (shown,) = (await rota("runs", "show", str(run), "--json"))["steps"]

    assert f"finished  2.00 s  finish reason: {reason or 'none'}" in said
    assert shown["finish_reason"] == reason
