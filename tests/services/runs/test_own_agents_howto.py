"""The howto's function is run as a stranger would have it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rota.agents.own_code.registered import load_callables
from rota.domain.runs.run import ResultStatus

pytestmark = pytest.mark.howto

TEXT = (Path(__file__).parents[3] / "docs/howto/own-agents.md").read_text(encoding="utf-8")


async def test_function_of_the_howto_runs(workshop, tmp_path, monkeypatch):
    code = re.findall(r"```python\n# house_agents.py\n(.*?)```", TEXT, re.DOTALL)[0]
    (tmp_path / "house_agents.py").write_text(code.replace('"mail_search"', '"look"'))
    monkeypatch.syspath_prepend(tmp_path)
    callables = load_callables({"disk_report": "house_agents:disk_report"})
    await workshop.agent(model="callable:disk_report", tools=["look"])

    outcome = await workshop.service(callables=callables).execute(
        await workshop.schedule(prompt="What grew?")
    )

    assert outcome.status is ResultStatus.SUCCESS
    answer = json.loads(outcome.content)
    assert answer["asked"] == "What grew?"
    assert json.loads(answer["mails"]) == {"seen": "disk newer_than:1d"}
