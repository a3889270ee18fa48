"""No page, help text or message uses a private term: the glossary has the terms to use."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from rota.cli.main import app
from tests.unit.text.test_plain_words import PAGES, ROOT

LIST = tomllib.loads((Path(__file__).parent / "private_terms.toml").read_text(encoding="utf-8"))[
    "term"
]
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"


def pages() -> Iterator[tuple[str, str]]:
    """Yield each page, also its blocks of code: their comments are read, too."""
    for page in PAGES:
        yield page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")


def help_texts(command: Any = None, path: str = "rota") -> Iterator[tuple[str, str]]:
    """Yield what `--help` says of each command, argument and option."""
    command = command or typer.main.get_command(app)
    yield path, command.help or ""
    for parameter in command.params:
        yield f"{path} {parameter.name}", getattr(parameter, "help", None) or ""
    context = typer.Context(command)
    for name in getattr(command, "commands", {}):
        yield from help_texts(command.resolve_command(context, [name])[1], f"{path} {name}")


def messages() -> Iterator[tuple[str, str]]:
    """Yield what the code may say: each string of several words that is no docstring."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)) if " " in text and id(node) not in docstrings:
                    yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", text


@cache
def all_texts(kind: Callable[[], Iterator[tuple[str, str]]]) -> list[tuple[str, str]]:
    return list(kind())


def uses(pattern: re.Pattern[str], texts: Iterable[tuple[str, str]]) -> list[str]:
    return [
        f"{place}: {' '.join(text[max(0, found.start() - 40) : found.end() + 40].split())}"
        for place, text in texts
        for found in pattern.finditer(" ".join(text.split()) if ".md" not in place else text)
    ]


@pytest.mark.parametrize("entry", LIST, ids=lambda entry: entry["write"])
@pytest.mark.parametrize("texts", [pages, help_texts, messages], ids=lambda texts: texts.__name__)
def test_no_private_term_is_used(entry, texts):
    pattern = re.compile(entry["term"].replace(" ", r"\s+"), re.IGNORECASE)
    yet_in = entry.get("yet_in", [])
    found = [
        use for use in uses(pattern, all_texts(texts)) if not use.startswith(tuple(yet_in) or "\0")
    ]
    assert found == [], f"write instead: {entry['write']}"


def test_a_private_term_is_found():
    pattern = re.compile(LIST[0]["term"], re.IGNORECASE)
    assert uses(pattern, [("page.md", "The run parks until you decide.")])
    assert not uses(pattern, [("page.md", "The sparks of a run.")])


def test_all_kinds_of_texts_are_read():
    for texts in (pages, help_texts, messages):
        assert len(all_texts(texts)) > 20


def test_the_glossary_names_each_term_once():
    terms = re.findall(r"^\| \*\*([^*]+)\*\*", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) > 40
    assert sorted(terms) == sorted(set(terms))


def test_the_glossary_links_each_term_to_its_page():
    rows = re.findall(r"^\| \*\*.*", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    for row in rows:
        (link,) = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\) \|$", row)
        assert (GLOSSARY.parent / link).resolve().is_file(), row
