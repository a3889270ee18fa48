"""The howto's functions are run as a stranger would have them."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from rota.agents.own_code.registered import load_callables
from rota.domain.runs.run import ResultStatus
from tests.services.running import scripted_turns

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


DIGESTS = re.findall(r"```python\n(async def digest.*?)```", TEXT, re.DOTALL)


async def digest_of(workshop, number, monkeypatch, tmp_path):
    """Run one of the functions named `digest`, with a model that is no provider's."""
    code = "my_client = None\n" + DIGESTS[number].replace('"mail_search"', '"look"')
    (tmp_path / f"digest_{number}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    callables = load_callables({"digest": f"digest_{number}:digest"})
    await workshop.agent(model="callable:digest", tools=["look"])
    asked = []

    def models(configuration, _now):
        asked.append((configuration.model, *configuration.fallback_models))
        return scripted_turns("Two mails.")

    service = workshop.service(callables=callables, models=models)
    return service, asked, import_module(f"digest_{number}")


async def test_model_of_the_howto_answers(workshop, tmp_path, monkeypatch):
    service, asked, _ = await digest_of(workshop, 0, monkeypatch, tmp_path)

    outcome = await service.execute(await workshop.schedule())

    assert outcome.content == "Two mails."
    assert asked == [("openai:gpt-5-mini", "anthropic:claude-sonnet-5-5")]


async def test_spending_of_the_howto_is_counted(workshop, tmp_path, monkeypatch):
    service, _, module = await digest_of(workshop, 1, monkeypatch, tmp_path)

    async def ask(_prompt):
        return SimpleNamespace(text="Two mails.", input=100, output=10)

    module.my_client = SimpleNamespace(ask=ask)
    outcome = await service.execute(await workshop.schedule())

    assert outcome.content == "Two mails."
    assert outcome.metadata["tokens"] == {"input": 100, "output": 10}
    assert float(outcome.metadata["cost_usd"]) > 0
