"""Every `rota ...` on every page is a command that there is, with options that it has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.exceptions import TyperException

from rota.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(rota [^`]+)`")
_IN_LINE = re.compile(r"(?:^|&& |\|\| |; |\$ |\(|bin/)(rota [a-z][^|;&)]*)")
NO_COMMANDS = {"help"}


def written(text: str) -> list[str]:
    """Return the commands of a page: in its blocks, and in backticks."""
    found: list[str] = []
    for block in _BLOCK.findall(text):
        lines = map(str.strip, block.replace("\\\n", " ").splitlines())
        is_said = ".", ":"  # by rota, where a block shows its answer
        found += [m for line in lines if not line.endswith(is_said) for m in _IN_LINE.findall(line)]
    return found + [" ".join(one.split()) for one in _INLINE.findall(_BLOCK.sub("", text))]


def problem(line: str) -> str | None:
    """Say what of a command is not there; None where all is."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    try:
        words = list(lexer)[1:]
    except ValueError:  # a quote that goes on elsewhere
        words = line.split()[1:]
    command, path = typer.main.get_command(app), "rota"
    common = {"--json", "--as", "--data-dir", "--database-url", "--help", "-h", "--version"}
    while hasattr(command, "commands"):
        words = words[_common(words) :]
        if not words or words[0] in NO_COMMANDS or not re.match(r"[a-z]", words[0]):
            return None  # a group, a placeholder, or help of one
        if "|" in words[0]:  # agents apply|validate
            names = words[0].split("|")
            bad = [name for name in names if name not in command.commands]
            return f"{path} {bad[0]}" if bad else None
        name = words[0].rstrip(".,:")
        try:
            _, command, _ = command.resolve_command(typer.Context(command), [name])
        except TyperException:
            return f"{path} {name}"
        path, words = f"{path} {name}", words[1:]
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | common
    for word in words:
        option = word.partition("=")[0].rstrip(".,:)]").lstrip("[(")
        if re.fullmatch(r"--[a-z][a-z-]*", option) and option not in options:
            return f"{path} {option}"
    return _too_many(command, path, words)


def _too_many(command: Any, path: str, words: list[str]) -> str | None:
    """Say which word is one too many, where all of a line can be told apart."""
    kinds = {o: p for p in command.params for o in (*p.opts, *p.secondary_opts)}
    places = [p.nargs for p in command.params if p.param_type_name == "argument"]
    if -1 in places or any("$(" in word for word in words):
        return None
    given, skipped = [], False
    for word in words:
        if skipped:
            skipped = False
        elif re.match(r"[#<>2]|\.\.\.$|[|]", word):
            break  # a comment, or the shell's
        elif word.startswith(("-", "[")):
            kind = kinds.get(word)
            takes = word in {"--as", "--data-dir", "--database-url"}
            takes = takes or (kind is not None and not kind.is_flag)
            skipped = takes and "=" not in word
        else:
            given.append(word)
    return f"{path} {given[sum(places)]}" if len(given) > sum(places) else None


def _common(words: list[str]) -> int:
    end = 0
    while end < len(words) and words[end].startswith("--"):
        end += 1 if words[end] in {"--json", "--version", "--help"} or "=" in words[end] else 2
    return end


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_are_there(page):
    assert [p for line in written(page.read_text("utf-8")) if (p := problem(line))] == []


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("rota schedules zone", "rota schedules zone"),
        ("rota schedules edit NAME --zone UTC", "rota schedules edit --zone"),
        ("rota schedule list", "rota schedule"),
        ("rota --json runs lst", "rota runs lst"),
        ("rota schedules edit NAME --time-zone UTC", None),
        ("rota up -d", None),
        ("rota approvals policy add allow send_mail --when x", "rota approvals policy add allow"),
        ("rota approvals policy add --allow send_mail --when 'a b'", None),
        ("rota schedules run morning", None),
        ("rota schedules run morning evening", "rota schedules run evening"),
    ],
)
def test_what_is_not_there_is_found(line, missing):
    assert problem(line) == missing
