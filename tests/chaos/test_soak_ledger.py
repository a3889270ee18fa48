"""What the soak counts: each figure rises for its own reason, and for no other."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

pytestmark = pytest.mark.benchmark

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ENDED = datetime(2026, 1, 1, tzinfo=UTC)
FIRES = 3


class Books:
    """A database in which everything went well, until a test says otherwise."""

    def __init__(self, conn, folder, ledger):
        self.conn, self.folder, self.ledger = conn, folder, ledger
        user = ledger.prepare(conn)
        began = ENDED - timedelta(seconds=FIRES * ledger.EVERY)
        conn.execute(
            "INSERT INTO agent_schedules (user_id, name, agent_name, every_seconds, anchor_at,"
            " ends_at, completed_at) VALUES (%s, 's', 'scripted', %s, %s, %s, now())",
            [user, ledger.EVERY, began, ENDED - timedelta(seconds=1)],
        )
        conn.execute(
            "INSERT INTO agent_runs (user_id, schedule_id, fire_time, agent_name, trigger)"
            " SELECT s.user_id, s.id, fire_time, 'scripted', 'schedule' FROM agent_schedules AS s,"
            " generate_series(anchor_at, ends_at, make_interval(secs => every_seconds))"
            " AS fire_time"
        )
        self.ids = [str(row[0]) for row in conn.execute("SELECT id FROM agent_runs ORDER BY 1")]
        conn.execute(
            "INSERT INTO schedule_occurrences (schedule_id, fire_time, user_id, outcome, run_id)"
            " SELECT schedule_id, fire_time, user_id, 'fired', id FROM agent_runs"
        )
        for run in self.ids:
            self.claim(run, 1)
            self.line("looks", f"{run}/a")
            self.step(run, 1, "soak_look", f"{run}/a", "finished")
            self.line("effects", f"{run}/c")
            self.step(run, 2, "soak_effect", f"{run}/c", "finished")
        conn.execute("UPDATE agent_runs SET status = 'finished'")
        conn.execute(
            "INSERT INTO agent_execution_results (user_id, schedule_id, run_id, agent_name, prompt,"
            " result_content, status, execution_duration_ms) SELECT user_id, schedule_id, id,"
            " agent_name, prompt, '6 calls', 'success', 1 FROM agent_runs"
        )
        self.notify()

    def claim(self, run, attempt, process="worker-1.1"):
        self.conn.execute("SELECT set_config('soak.process', %s, false)", [process])
        self.conn.execute(
            "UPDATE agent_runs SET status = 'running', attempt = %s WHERE id = %s", [attempt, run]
        )

    def step(self, run, model_step, name, call, status, *, attempt=1):
        self.conn.execute(
            "INSERT INTO agent_run_steps (run_id, user_id, model_step, call_index, kind, name,"
            " status, attempt, request, started_at)"
            " SELECT id, user_id, %s, 0, 'tool', %s, %s, %s,"
            " jsonb_build_object('arguments', jsonb_build_object('call', %s::text)), now()"
            " FROM agent_runs WHERE id = %s"
            " ON CONFLICT (run_id, model_step, call_index) DO UPDATE"
            " SET status = EXCLUDED.status, attempt = EXCLUDED.attempt",
            [model_step, name, status, attempt, call, run],
        )

    def line(self, name, call, process="worker-1.1"):
        (now,) = self.conn.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8"
        ).fetchone()
        with (self.folder / name).open("a") as file:
            file.write(f"{call} {process} {now:.6f} {now:.6f}\n")

    def notify(self):
        self.conn.execute(
            "INSERT INTO notifications (user_id, category, title, body, run_id)"
            " SELECT user_id, 'agent_result', 't', 'b', id FROM agent_runs"
        )

    def anew(self, attempt, process="worker-2.1"):
        """Have a later attempt take a run that is under way again; returns the run."""
        run = self.ids[0]
        self.conn.execute("ALTER TABLE agent_runs DISABLE TRIGGER refuse_transition")
        self.claim(run, attempt, process)
        self.conn.execute("UPDATE agent_runs SET status = 'finished'")
        return run

    def figures(self):
        """Return the figures that are not 0, without those that say how much there was."""
        counts = asdict(self.ledger.count(self.conn, self.folder))
        assert counts.pop("occurrences") == FIRES
        return {name: value for name, value in counts.items() if value}


@pytest.fixture
def books(owner_url, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from rig import soak_ledger

    with psycopg.connect(owner_url, autocommit=True) as conn:
        yield Books(conn, tmp_path, soak_ledger)


def test_all_that_went_well_is_clean(books):
    assert books.figures() == {"results": FIRES}


def test_fire_time_without_result_is_lost(books):
    books.conn.execute("DELETE FROM agent_execution_results WHERE run_id = %s", [books.ids[0]])

    assert books.figures() == {"results": FIRES - 1, "lost": 1}


@pytest.mark.parametrize(
    "wider",
    ["anchor_at = anchor_at - interval '8 seconds'", "ends_at = ends_at + interval '8 seconds'"],
    ids=["first", "last"],
)
def test_fire_time_without_occurrence_is_lost_at_either_end(books, wider):
    books.conn.execute("ALTER TABLE agent_schedules DISABLE TRIGGER USER")
    books.conn.execute(f"UPDATE agent_schedules SET {wider}")

    assert books.figures() == {"results": FIRES, "lost": 1}


def test_result_that_nobody_was_told_of_is_lost(books):
    books.conn.execute("DELETE FROM notifications WHERE run_id = %s", [books.ids[0]])

    assert books.figures() == {"results": FIRES, "lost": 1}


def test_effect_that_the_journal_has_and_nobody_had_is_lost(books):
    (books.folder / "effects").write_text(
        "\n".join((books.folder / "effects").read_text().splitlines()[1:])
    )

    assert books.figures() == {"results": FIRES, "lost": 1}


def test_second_notification_is_duplicated(books):
    books.notify()

    assert books.figures() == {"results": FIRES, "duplicated": FIRES}


def test_second_run_of_a_fire_time_is_duplicated(books):
    books.conn.execute(
        "INSERT INTO agent_runs (user_id, schedule_id, fire_time, agent_name, trigger, status)"
        " SELECT user_id, schedule_id, fire_time, agent_name, 'catch_up', 'finished'"
        " FROM agent_runs LIMIT 1"
    )

    assert books.figures() == {"results": FIRES, "duplicated": 1}


def test_effect_had_twice_is_a_repeated_side_effect(books):
    books.line("effects", f"{books.ids[0]}/c")

    assert books.figures() == {"results": FIRES, "repeated_side_effects": 1}


def test_effect_that_the_journal_lacks_is_unrecorded(books):
    books.line("effects", f"{books.ids[0]}/z")

    assert books.figures() == {"results": FIRES, "unrecorded_effects": 1}


def test_step_that_a_later_attempt_writes_again_is_a_repeated_flushed_step(books):
    run = books.anew(2)
    books.step(run, 1, "soak_look", f"{run}/a", "finished", attempt=2)

    assert books.figures() == {
        "results": FIRES,
        "attempts_beyond_the_first": 1,
        "repeated_flushed_steps": 1,
    }


def test_look_that_is_made_and_written_again_counts_once(books):
    run = books.anew(2)
    books.line("looks", f"{run}/a", "worker-2.1")
    books.step(run, 1, "soak_look", f"{run}/a", "finished", attempt=2)

    assert books.figures()["repeated_flushed_steps"] == 1


def test_look_of_a_later_attempt_that_died_counts_as_flushed_too(books):
    run = books.anew(2)
    books.line("looks", f"{run}/a", "worker-2.1")

    assert books.figures() == {
        "results": FIRES,
        "attempts_beyond_the_first": 1,
        "repeated_flushed_steps": 1,
    }


def test_look_whose_answer_was_never_written_down_may_be_repeated(books):
    books.line("looks", f"{books.ids[0]}/e")
    run = books.anew(2)
    books.line("looks", f"{run}/e", "worker-2.1")
    books.step(run, 3, "soak_look", f"{run}/e", "finished", attempt=2)

    assert books.figures() == {
        "results": FIRES,
        "attempts_beyond_the_first": 1,
        "repeated_unflushed_steps": 1,
    }


def test_look_of_a_stalled_attempt_that_comes_back_is_no_later_attempts(books):
    run = books.anew(2)
    books.line("looks", f"{run}/e", "worker-2.1")
    books.step(run, 3, "soak_look", f"{run}/e", "finished", attempt=2)
    books.line("looks", f"{run}/e", "worker-1.1")

    assert books.figures() == {
        "results": FIRES,
        "attempts_beyond_the_first": 1,
        "repeated_unflushed_steps": 1,
    }


def test_run_that_is_not_over_is_stuck_and_lost(books):
    books.conn.execute("ALTER TABLE agent_runs DISABLE TRIGGER refuse_transition")
    books.conn.execute("DELETE FROM agent_execution_results WHERE run_id = %s", [books.ids[0]])
    books.conn.execute("UPDATE agent_runs SET status = 'running' WHERE id = %s", [books.ids[0]])

    assert books.figures() == {"results": FIRES - 1, "lost": 1, "stuck": 1}


def test_schedule_that_is_not_completed_is_stuck(books):
    books.conn.execute("UPDATE agent_schedules SET completed_at = NULL")

    assert books.figures() == {"results": FIRES, "stuck": 1}


def test_success_with_another_answer_is_wrong(books):
    books.conn.execute(
        "UPDATE agent_execution_results SET result_content = '5 calls' WHERE run_id = %s",
        [books.ids[0]],
    )

    assert books.figures() == {"results": FIRES, "wrong_answers": 1}


def test_effect_without_known_end_is_unknown(books):
    run = books.ids[0]
    books.line("effects", f"{run}/f")
    books.step(run, 5, "soak_effect", f"{run}/f", "started")

    assert books.figures() == {"results": FIRES, "unknown": 1}


def test_plan_depends_on_the_seed_alone(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from rig.soak_plan import plan

    assert plan(4, 600) == plan(4, 600) != plan(5, 600)
    for seed in range(20):
        kinds = {disturbance.kind for disturbance in plan(seed, 40)}
        assert {"kill", "stall", "kill server", "cut", "block"} <= kinds
        assert len(set(plan(seed, 600))) > 100
