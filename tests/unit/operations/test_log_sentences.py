"""Every event that rota logs is a sentence for people, and a name with fields for machines."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from string import Formatter

import pytest
import structlog

import rota
from rota.cli.log_sentences import OVER, SENTENCES, in_words
from rota.cli.logs import configure_logs, shorten_line
from rota.settings import Settings

SOURCE = Path(rota.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
OF_RUNS = {"run_due", "run_started", "run_ended", "run_suspended"}


def logged() -> Iterator[tuple[str, set[str]]]:
    """Find what is logged: the names of events, with the fields that are written beside them."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            first, fields = node.args[0], {k.arg for k in node.keywords if k.arg}
            if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "Patience":
                yield first.value, fields | {"error"}
            elif (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and (isinstance(node.func.value, ast.Call) or ast.unparse(node.func.value) == "log")
            ):
                if "exc_info" in fields:
                    fields.add("error")
                yield first.value, fields


EVENTS = sorted((event, sorted(fields)) for event, fields in logged() if event not in OF_RUNS)


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def line_of(capsys, event, *, log_format="text", log_level="info", level="warning", **fields):
    configure_logs(Settings(log_format=log_format, log_level=log_level))
    getattr(structlog.get_logger("rota"), level)(event, **fields)
    return capsys.readouterr().err.rstrip("\n")


def test_events_are_found():
    assert len(EVENTS) > 40


@pytest.mark.parametrize(("event", "fields"), EVENTS)
def test_each_event_has_a_sentence_of_its_own_fields(event, fields):
    named = {field for _, field, _, _ in Formatter().parse(SENTENCES[event]) if field}

    assert named <= set(fields)


def test_no_sentence_is_left_of_an_event_that_is_gone():
    ready = {"scheduler_ready", "server_ready", "worker_ready"}
    assert SENTENCES.keys() == {event for event, _ in EVENTS} | ready
    assert OVER.keys() <= SENTENCES.keys()


def test_people_read_no_event_name_and_machines_do(capsys):
    said = line_of(capsys, "run_handed_over", run_id="1a2b3c4d", why="stopped")
    assert said[25:] == "[warning] A run is left to another worker (stopped) run_id=1a2b3c4d"

    said = line_of(capsys, "run_handed_over", log_format="json", run_id="1a2b3c4d", why="stopped")
    assert json.loads(said)["event"] == "run_handed_over"


def test_failure_that_is_over_says_so(capsys):
    said = line_of(capsys, "scheduler_lost_database", over_after=3.2, failures=2)
    assert said[25:] == (
        "[warning] The scheduler works with the database again, after 3.2 s failures=2"
    )


def out_of_luck() -> None:
    raise RuntimeError("no\nluck")


def failed_tool() -> Exception:
    try:
        out_of_luck()
    except RuntimeError as error:
        return error
    raise AssertionError


def test_failing_tool_is_one_line_and_its_traceback_is_for_debugging(capsys):
    said = line_of(capsys, "tool_failed", tool="mine", exc_info=failed_tool())
    assert "\n" not in said
    assert said[25:].startswith(
        "[warning] The tool mine failed: RuntimeError: no luck; ROTA_LOG_LEVEL=debug shows the "
        "traceback at="
    )
    assert f"{__file__}:" in said

    debugged = line_of(
        capsys, "tool_failed", log_level="debug", tool="mine", exc_info=failed_tool()
    )
    assert "The tool mine failed" in debugged
    assert "Traceback" in debugged


def test_fault_of_rotas_own_keeps_its_traceback(capsys):
    said = line_of(capsys, "worker_helper_failed", level="error", exc_info=failed_tool())
    assert "Part of the worker ended by a fault: RuntimeError: no luck" in said
    assert "Traceback" in said


@pytest.mark.parametrize(
    ("pending", "parked", "said"),
    [
        (1, True, "morning: waits for a decision"),
        (2, True, "morning: waits for 2 decisions"),
        (1, False, "morning: was to wait for a decision, which is made; it goes on"),
    ],
)
def test_suspended_run_is_told_of_in_words(pending, parked, said):
    event = {"event": "run_suspended", "schedule": "morning", "pending": pending, "parked": parked}
    assert in_words(event) == {"event": said}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "2026-11-30 16:14:06+0000 [info] a: due run_id=3a5e46f8-0c1d-4e2f-8a3b-4c5d6e7f8091",
            "16:14:06 [info] a: due run_id=3a5e46f8",
        ),
        ("2026-11-29 07:00:00-0530 [info] a: due", "2026-11-29 07:00:00 [info] a: due"),
        ('{"run_id": "3a5e46f8-0c1d-4e2f-8a3b-4c5d6e7f8091"}',) * 2,
        ("· Stopping ...",) * 2,
        ("action_id=3a5e46f8",) * 2,
    ],
)
def test_line_of_the_log_file_is_shortened_for_a_terminal(line, shown):
    assert shorten_line(line, date(2026, 11, 30)) == shown
