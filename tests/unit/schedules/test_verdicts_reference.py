"""The how-to on schedules names each answer of `rota schedules why` as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from rota.services.schedules.explanations import Verdict

HOWTO = Path(__file__).parents[3] / "docs/howto/schedules.md"


def test_howto_names_every_answer_of_why():
    text = HOWTO.read_text(encoding="utf-8")
    table = text.partition("| Answer | Reason |\n|---|---|\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE))

    printed = {
        verdict.replace("_", " ") for part in get_args(Verdict) for verdict in get_args(part)
    }

    assert "fired" in printed
    assert named == printed
