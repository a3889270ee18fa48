"""The tables of docs/reference name files and tests; each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "reference" / "spec-003.md"
CASES = ROOT / "docs" / "reference" / "approval-cases.md"
NAMED = re.compile(r"`((?:src|tests|supabase)/[^`]+)`")
SPEC_TESTS = (
    "test_execute_success",
    "test_execute_error",
    "test_execute_wraps_tools_with_approval",
    "test_execute_normalizes_content_blocks",
    "test_execute_stores_duration_ms",
    "test_execute_truncates_result_at_50000_chars",
    "test_execute_notifies_pending_actions_when_count_gt_0",
    "test_execute_skips_pending_notification_when_count_0",
    "test_full_execution_cycle",
)


def references() -> list[str]:
    texts = (table.read_text(encoding="utf-8") for table in (TABLE, CASES))
    return sorted({name for text in texts for name in NAMED.findall(text)})


@pytest.mark.slow
@pytest.mark.parametrize("reference", references())
def test_what_the_table_names_exists(reference):
    path, _, test = reference.partition("::")
    file = ROOT / path
    assert file.is_file(), f"{path} is named in the table and does not exist"
    if test:
        functions = {
            node.name
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert test in functions, f"{path} has no {test}"


def test_table_holds_every_line_of_the_spec():
    text = TABLE.read_text(encoding="utf-8")

    for number in range(1, 10):
        assert f"| AC-{number}: " in text
    for name in SPEC_TESTS:
        assert f"| `{name}` |" in text
    assert text.count("test_step_") == 5


def test_each_case_of_approvals_names_a_test_of_its_own():
    rows = [
        line
        for line in CASES.read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not line.startswith(("| Case ", "|---"))
    ]
    named = [NAMED.findall(row)[-1] for row in rows]
    assert len(rows) >= 40
    assert len(set(named)) == len(named)
    assert all("::test_" in name for name in named)


@pytest.mark.parametrize("table", [TABLE, CASES], ids=lambda table: table.stem)
def test_every_row_says_where(table):
    rows = [line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert all(cells), row
