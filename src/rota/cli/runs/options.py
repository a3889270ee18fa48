"""Command-line options for how runs are executed, for a schedule or a single run.

They are made from the declarations in domain/runs/options.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from rota.cli.groups import takes
from rota.domain.errors import InvalidInputError
from rota.domain.runs.option_drafts import OptionDraft
from rota.domain.runs.option_kinds import Flag, flags_of
from rota.domain.runs.options import RunOptions
from rota.domain.schemas.schema import JsonSchema
from rota.domain.text.json_values import json_object
from rota.services.text_files import read_text_file

_LARGEST_SCHEMA: Final = 1_000_000
_DRY_RUN: Final = typer.Option(
    "--dry-run",
    help="Call only tools that read. Show which other calls would run, wait or be refused.",
)


def _typed(flags: Iterable[Flag]) -> dict[str, tuple[Any, object]]:
    """Return flags as typer reads them, with their defaults."""
    typed: dict[str, tuple[Any, object]] = {}
    for flag in flags:
        written = f"--{flag.name.replace('_', '-')}"
        option = typer.Option(written, metavar=flag.metavar, help=flag.help)
        kind: Any = list[str] | None if flag.repeated else str | None
        typed[flag.name] = (Annotated[kind, option], None)
    return typed


def _of_schedule(*, output_schema: str | None, **written: Any) -> OptionDraft:
    texts = {n: tuple(t) if isinstance(t, list) else t for n, t in written.items()}
    return OptionDraft(
        output_schema=_schema(output_schema), **{n: t or None for n, t in texts.items()}
    )


def _of_run(*, dry_run: bool, **written: str | None) -> RunOptions:
    return replace(OptionDraft(**written).for_one_run(), dry_run=dry_run)


takes_options = takes("options", _typed(flags_of(RunOptions)), _of_schedule)
"""Gives a command `options: OptionDraft`: how the runs of a schedule are executed."""

takes_options_of_run = takes(
    "options",
    {
        **_typed(flags_of(RunOptions, of_one_run=True)),
        "dry_run": (Annotated[bool, _DRY_RUN], False),
    },
    _of_run,
)
"""Gives a command `options: RunOptions`: how a single run is executed."""


def _schema(file: str | None) -> str | None:
    """Return the text of the file, or 'none' as it is; raises InvalidInputError naming the file."""
    if file is None or file == "none":
        return file
    text = read_text_file(Path(file), most_bytes=_LARGEST_SCHEMA)
    try:
        JsonSchema(json_object(text, "The schema", "schema"))
    except InvalidInputError as error:
        raise InvalidInputError(f"{file}: {error.message}") from error
    return text
