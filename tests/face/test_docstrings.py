"""The examples in the docstrings of `import rota`, run on a real database.

They are written as in `python -m asyncio`, where `await` needs no function around it. Each has a
rota with the same contents: `app`, `me`, and an agent that asked for a note.
"""

import ast
import asyncio
import contextlib
import doctest
import inspect
import io

import pytest

import rota
from rota import testing

CLERK = """
name: clerk
model: scripted:plan
tools: [write_note]
script:
  steps: [{calls: [{tool: write_note, args: {text: milk}}]}]
  answer: I asked for a note.
schedules:
  - {name: each-morning, when: weekdays at 7:30, time_zone: UTC, prompt: Go.}
"""


def examples_of(name):
    return doctest.DocTestParser().get_examples(inspect.cleandoc(getattr(rota, name).__doc__))


@pytest.fixture
async def house(server, tmp_path, monkeypatch):
    tools = {"write_note": "tests.face.house:note_writer"}
    async with testing.house(server, tools=tools) as house:
        await house.app.tools.declare(
            "write_note", rota.ToolChange(default_tier="requires_approval")
        )
        await house.apply(CLERK)
        await house.run("clerk")
        monkeypatch.setenv("ROTA_DATABASE_URL", house.app.server.app_url)
        monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("ROTA_USER", "owner@localhost")
        monkeypatch.chdir(tmp_path)
        yield house


@pytest.mark.parametrize("name", rota.__all__)
async def test_example_of_each_name_does_what_it_says(house, name):
    examples = examples_of(name)
    assert examples, "its docstring has no example"
    names = {"rota": rota, "app": house.app, "me": house.user}
    for one in examples:
        code = compile(one.source, name, "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            found = eval(code, names)
            if asyncio.iscoroutine(found):
                await found
        lines = said.getvalue().splitlines(keepends=True)
        assert "".join(line for line in lines if " [info " not in line) == one.want, one.source
