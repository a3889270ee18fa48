"""How help texts, messages and docstrings read: no sentence is too long."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.text.test_plain_words import LONGEST, ROOT, sentences
from tests.unit.text.test_private_terms import help_texts

FOR_MODELS = {
    "src/rota/agents/tools/mail/folder_tools.py",
    "src/rota/agents/tools/mail/gmail.py",
    "src/rota/agents/tools/mail/query.py",
    "src/rota/agents/own_code/graphs.py",
    "src/rota/cli/operations/up.py",
}
"""Modules that hold prompts, tool descriptions or commands to copy, which are no sentences."""

NO_PROSE = re.compile(r"^ *(?:(?:>>>|\.\.\.) .*|.*[\u2514\u251c\u2502].*)$", re.MULTILINE)
"""Lines of examples and drawings in docstrings."""

SOURCES = sorted((ROOT / "src").rglob("*.py"))


def too_long(texts: Iterator[tuple[str, str]]) -> list[str]:
    return [
        f"{place}: {count} words: {sentence}"
        for place, text in texts
        for sentence in sentences(text)
        if (count := len(re.findall(r"[\w'-]+", sentence))) > LONGEST
    ]


def written(node: ast.expr) -> str | None:
    """Return a string of the code, with one word for each value in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(written(value) or "VALUE" for value in values)
    return None


def messages() -> Iterator[tuple[str, str]]:
    """Yield each string of the code that is a sentence: no docstring, SQL or regular expression."""
    for path in SOURCES:
        place = path.relative_to(ROOT).as_posix()
        if place in FOR_MODELS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {id(part) for node in ast.walk(tree) for part in parts_of(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and id(node) not in inner:
                text = written(node)
                if text is not None and " " in text and not re.search(r"\(\?|\\[bsw]", text):
                    yield f"{place}:{node.lineno}", text


def parts_of(node: ast.AST) -> list[ast.expr]:
    """Return the strings that are part of another string, and docstrings."""
    match node:
        case ast.JoinedStr(values=values):
            return list(values)
        case ast.Expr(value=value):
            return [value]
    return []


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield each docstring without its examples and drawings."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Expr(value=ast.Constant(value=str(text), lineno=line)):
                    yield f"{path.relative_to(ROOT).as_posix()}:{line}", NO_PROSE.sub("\n", text)


@pytest.mark.parametrize(
    "texts", [help_texts, messages, docstrings], ids=lambda texts: texts.__name__
)
def test_no_sentence_of_rota_is_too_long(texts):
    assert too_long(texts()) == []


def test_a_message_that_is_too_long_is_found():
    node = ast.parse("f'{name} " + "word " * LONGEST + "ends.'", mode="eval").body
    assert too_long(iter([("here", written(node) or "")]))
    assert sum(1 for _ in messages()) > 500


def test_help_of_an_option_says_more_than_a_pronoun():
    pronoun = re.compile(r"(Its|It|Their|They|Them|So many|As in|That) ")
    assert [text for text in help_texts() if pronoun.match(text[1])] == []
