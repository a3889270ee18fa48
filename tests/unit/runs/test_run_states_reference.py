"""The states in the docs are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from rota.domain.runs.run import NEXT, RunStatus

TEXT = (Path(__file__).parents[3] / "docs/explanation/runs.md").read_text(encoding="utf-8")


def test_table_of_states_is_the_codes_own():
    rows = re.findall(r"^\| (\w+) \| ([a-z, ]*)\|$", TEXT, re.MULTILINE)
    told = {
        RunStatus(name): frozenset(RunStatus(to) for to in re.findall(r"\w+", following))
        for name, following in rows
        if name in set(RunStatus)
    }
    assert told == NEXT


def test_every_step_is_drawn():
    drawn = {
        (RunStatus(a), RunStatus(b))
        for a, b in re.findall(r"^    (\w+) --> (\w+)", TEXT, re.MULTILINE)
    }
    assert drawn == {(a, b) for a, following in NEXT.items() for b in following}
