"""The states of an action in the docs are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from rota.domain.approvals.actions import NEXT, ActionStatus

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "explanation/approvals.md").read_text(encoding="utf-8")


def test_table_of_states_is_the_codes_own():
    rows = re.findall(r"^\| (\w+) \| ([a-z, ]*)\|$", TEXT, re.MULTILINE)
    told = {
        ActionStatus(name): frozenset(ActionStatus(to) for to in re.findall(r"\w+", following))
        for name, following in rows
        if name in set(ActionStatus)
    }
    assert told == NEXT


def test_every_step_is_drawn():
    drawn = {
        (ActionStatus(a), ActionStatus(b))
        for a, b in re.findall(r"^    (\w+) --> (\w+)", TEXT, re.MULTILINE)
    }
    assert drawn == {(a, b) for a, following in NEXT.items() for b in following}


def test_howto_explains_every_status():
    text = (DOCS / "howto/approvals.md").read_text(encoding="utf-8")
    table = text.partition("## See the outcome")[2].partition("##")[0]
    for status in ActionStatus:
        assert re.search(rf"\b{status}\b", table), status
