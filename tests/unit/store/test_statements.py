"""What the store makes of rows, and of the database's errors: nothing above it hears of psycopg."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest

from rota.domain.approvals.rules import RuleDraft
from rota.domain.errors import LostTransactionError, NotFoundError, StatementError
from rota.domain.ids import ScheduleId, UserId
from rota.store import statements
from rota.store.approvals.rules import insert_rule
from rota.store.database import despite_deadlocks
from rota.store.runs.requests import request_schedule_run
from rota.store.statements import (
    execute,
    has_effect,
    many,
    one,
    one_or_none,
    value,
    value_or_none,
    values,
)


@dataclass(frozen=True)
class Pair:
    number: int
    word: str


@pytest.fixture
async def conn(database):
    async with database.connection() as lent:
        yield lent


@pytest.fixture
def sql(monkeypatch):
    """Let a statement's name be its text."""
    monkeypatch.setattr(statements, "statement", str.encode)


TWO = "SELECT * FROM (VALUES (1, 'one'), (2, 'two')) AS v (number, word) WHERE number <= %(most)s"


async def test_rows_become_values_by_the_names_of_their_columns(conn, sql):
    assert await many(conn, TWO, Pair, most=2) == (Pair(1, "one"), Pair(2, "two"))
    assert await many(conn, TWO, lambda row: row["word"], most=1) == ("one",)
    assert await one(conn, TWO, Pair, most=2) == Pair(1, "one")
    assert await one_or_none(conn, TWO, Pair, most=0) is None
    assert await values(conn, TWO, str, most=2) == ("1", "2")
    assert await value(conn, TWO, str, most=2) == "1"


async def test_null_and_no_row_are_no_value(conn, sql):
    assert await value_or_none(conn, "SELECT NULL", int) is None
    assert await value_or_none(conn, TWO, int, most=0) is None


async def test_a_row_that_is_always_there_and_is_not_is_a_fault_of_the_code(conn, sql):
    for asked in (one(conn, TWO, Pair, most=0), value(conn, TWO, int, most=0)):
        with pytest.raises(RuntimeError, match="returned no row"):
            await asked


async def test_rows_that_were_written_are_counted(conn, owner, alice, bob, sql):
    at = "UPDATE notifications SET read_at = now() WHERE user_id = %(user_id)s"
    for _ in range(2):
        await owner.execute(
            "INSERT INTO notifications (user_id, category, title, body)"
            " VALUES (%s, 'info', 't', 'b')",
            [alice],
        )
    assert await execute(conn, at, user_id=alice) == 2
    assert await execute(conn, at, user_id=bob) == 0


async def test_a_statement_without_parameters_may_have_a_percent_sign(conn, sql):
    assert await value(conn, "SELECT 'a' LIKE 'a%'", bool)


async def test_mapping_goes_in_as_jsonb_and_another_collection_as_an_array(conn, sql):
    typed = "SELECT pg_typeof(%(value)s)::text"
    assert await value(conn, typed, str, value={"a": [1]}) == "jsonb"
    assert await value(conn, "SELECT %(value)s -> 'a'", list, value={"a": [1]}) == [1]
    for several in ((1, 2), {1: None, 2: None}.keys(), frozenset({1, 2})):
        assert await value(conn, "SELECT cardinality(%(value)s)", int, value=several) == 2
    assert await value(conn, typed, str, value=b"12") == "bytea"
    assert await value(conn, "SELECT %(value)s::text", str, value="12") == "12"


async def test_statement_says_whether_it_found_a_row(conn, sql):
    assert await has_effect(conn, TWO, most=1)
    assert not await has_effect(conn, TWO, most=0)


@pytest.mark.parametrize("whose", ["user", "operator"])
async def test_rule_of_a_person_who_was_just_deleted_names_nobody(database, whose):
    gone = UserId(uuid4())
    draft = RuleDraft("deny", "*", for_user=gone if whose == "operator" else None)
    async with database.connection() as conn:
        with pytest.raises(NotFoundError) as caught:
            await insert_rule(conn, gone if whose == "user" else None, draft)

    assert caught.value.kind == "person"


async def test_what_no_rule_names_is_a_fault_of_rotas_own(conn, sql):
    with pytest.raises(StatementError, match="DivisionByZero") as caught:
        await value(conn, "SELECT 1 / 0", int)

    assert caught.value.exit_code == 70
    assert isinstance(caught.value.__cause__, psycopg.Error)


async def test_what_a_function_does_not_find_is_named_with_its_id(database, alice):
    schedule = ScheduleId(uuid4())
    async with database.acting_as(alice) as conn:
        with pytest.raises(NotFoundError) as caught:
            await request_schedule_run(conn, schedule, None, None, None)

    assert (caught.value.kind, caught.value.reference) == ("schedule", str(schedule))


async def test_a_connection_that_is_cut_loses_its_transaction(database, sql):
    with pytest.raises(LostTransactionError) as caught:
        async with database.transaction() as conn:
            await execute(conn, "SELECT pg_terminate_backend(pg_backend_pid())")

    assert not caught.value.deadlock


async def test_only_what_a_deadlock_ended_is_done_again(database, sql):
    tried: list[str] = []

    async def work(code: str) -> str:
        tried.append(code)
        async with database.transaction() as conn:
            if len(tried) < 3:
                await conn.execute(
                    f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"
                )
        return "done"

    assert await despite_deadlocks(lambda: work("40P01")) == "done"
    assert len(tried) == 3
    tried.clear()
    with pytest.raises(LostTransactionError):
        await despite_deadlocks(lambda: work("57P01"))
    assert len(tried) == 1
