"""The reference is true: every command, option, setting and exit code is in it, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from rota.agents.models.providers import PROVIDERS
from rota.cli.exit_codes import CUT_OFF, EXIT_OF_STATUS, INTERRUPTED, NO_RESULT_YET, UNEXPECTED
from rota.cli.main import app
from rota.domain import errors
from rota.domain.runs.option_kinds import options_of
from rota.domain.runs.options import RunOptions
from rota.settings import API_KEYS, VARIABLES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def read(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def commands(command: Any = None, path: str = "rota") -> Iterator[tuple[str, Any]]:
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield path, command
        return
    context = typer.Context(command)
    for name, listed in command.commands.items():
        _, child, _ = command.resolve_command(context, [name])
        assert first_paragraph(listed.help) == first_paragraph(child.help), f"{path} {name}"
        yield from commands(child, f"{path} {name}")


def first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda v: str(v)[:40])
def test_every_command_and_option_is_documented(path, command):
    text = read("cli.md")
    section = re.search(
        rf"^### `{re.escape(path)}[ `].*?(?=^###? |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert section, f"{path} has no section in cli.md"
    common = text.partition("## Options of every command")[2].partition("\n## ")[0]
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                is_shown = not getattr(parameter, "hidden", False)
                assert (f"`{option}" in section[0] + common) == is_shown, f"{path} {option}"


def test_no_command_is_documented_that_is_not_there():
    documented = set(re.findall(r"^### `(rota(?: [a-z-]+)+)", read("cli.md"), re.MULTILINE))

    assert documented == {path for path, _ in commands()}


def test_every_command_takes_the_database_it_is_for():
    for path, command in commands():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--data-dir", "--database-url"} <= options, path


def declared_options(kind=RunOptions, place="", key=""):
    for name, declared in options_of(kind).items():
        here, there = f"{place}{declared.place or name}", f"{key}{name}"
        if declared.group is not None:
            yield from declared_options(declared.group, f"{here}.", f"{there}.")
        elif declared.flags:
            yield here, [f"`--{flag.name.replace('_', '-')}`" for flag in declared.flags], there


@pytest.mark.parametrize(("place", "flags", "key"), list(declared_options()))
def test_every_option_of_runs_is_documented_where_it_is_written(place, flags, key):
    row = rf"^\| `{re.escape(place)}` \| {re.escape(', '.join(flags))} \| .+ \| `{re.escape(key)}`"
    assert re.search(row, read("schedules.md"), re.MULTILINE)


def test_settings_are_those_of_the_reference():
    documented = set(re.findall(r"^\| `(ROTA_[A-Z_]+)`", read("settings.md"), re.MULTILINE))

    assert documented == set(VARIABLES)


def test_keys_of_providers_are_those_of_the_reference_and_of_the_models():
    documented = set(re.findall(r"`([A-Z_]+_API_KEY)`", read("settings.md")))

    assert documented == set(API_KEYS.values())
    assert {
        name: provider.key_variable for name, provider in PROVIDERS.items() if provider.key_variable
    } == dict(API_KEYS)


def test_exit_codes_are_those_of_the_reference():
    raised = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.RotaError)
    }
    own = {0, NO_RESULT_YET, UNEXPECTED, INTERRUPTED, CUT_OFF, *EXIT_OF_STATUS.values()}
    documented = set(map(int, re.findall(r"^\| (\d+) \|", read("exit-codes.md"), re.MULTILINE)))

    assert documented == raised | own
