"""`import rota`: what is promised, and what it costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rota

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "python.md"


def test_what_is_promised_is_sorted_and_there():
    assert rota.__all__ == sorted(rota.__all__)
    assert set(rota._HOMES) == set(rota.__all__)
    assert set(rota.__all__) <= set(dir(rota))
    with pytest.raises(AttributeError, match="no attribute 'background'"):
        rota.background  # noqa: B018  it is looked up


def test_page_names_all_that_is_promised_and_nothing_else():
    rows = re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted([*rota.__all__, *rota.testing.__all__])


def loaded_by(script):
    """Return the packages that a script loads beside those that Python starts with."""
    script = (
        f"import sys; before = set(sys.modules); {script};"
        "print(*(m.split('.')[0] for m in set(sys.modules) - before))"
    )
    return set(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
    )


LANGCHAIN = {"langchain", "langchain_core", "langgraph"}


def test_import_loads_nothing_that_takes_time():
    slow = LANGCHAIN | {"psycopg", "pydantic", "httpx", "yaml", "typer", "rich", "structlog"}
    assert loaded_by("import rota; rota.RotaError, rota.ToolContext") & slow == set()


def test_nothing_but_what_a_callable_is_given_loads_langchain():
    names = [name for name in rota.__all__ if name != "RunContext"]
    used = ", ".join(f"rota.{name}" for name in names)
    assert loaded_by(f"import rota; {used}") & LANGCHAIN == set()
    assert loaded_by("import rota; rota.RunContext") & LANGCHAIN != set()


@pytest.mark.parametrize(
    "page",
    sorted((ROOT / "docs").rglob("*.md")),
    ids=lambda page: str(page.relative_to(ROOT / "docs")),
)
def test_pages_import_nothing_below_the_face(page):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("rota.") or node.module == "rota.testing"
            if isinstance(node, ast.Import):
                assert {n.name for n in node.names if n.name.startswith("rota.")} <= {
                    "rota.testing"
                }
