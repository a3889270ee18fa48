"""The options that say how runs are executed: of a schedule, or of a single run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from rota.cli.groups import takes
from rota.domain.runs.option_drafts import DayLimitsDraft, LimitsDraft, OptionDraft
from rota.domain.runs.options import RunOptions
from rota.services.text_files import read_text_file

_LARGEST_SCHEMA: Final = 1_000_000

Model = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="provider:model, instead of the agent's."),
]
MaxTime = Annotated[
    str | None,
    typer.Option("--max-time", metavar="LENGTH", help="How long one run may take (1h): 10m, 90s."),
]
IdleTime = Annotated[
    str | None,
    typer.Option(
        "--idle-time",
        metavar="LENGTH",
        help="How long a run may go without any progress of a model or a tool (15m).",
    ),
]
MaxSteps = Annotated[
    str | None, typer.Option("--max-steps", metavar="N", help="Model calls that one run may make.")
]
MaxTokens = Annotated[
    str | None,
    typer.Option(
        "--max-tokens", metavar="N", help="Tokens of one run, input and output: 200k, 1.5M."
    ),
]
MaxCost = Annotated[
    str | None, typer.Option("--max-cost", metavar="USD", help="US dollars of one run: 0.50.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Call only tools that read; show what else would run, wait or be refused.",
    ),
]
DayTokens = Annotated[
    str | None,
    typer.Option(
        "--day-tokens", metavar="N", help="Tokens of all runs of this schedule in a day of yours."
    ),
]
DayCost = Annotated[
    str | None,
    typer.Option(
        "--day-cost", metavar="USD", help="US dollars of all runs of this schedule in such a day."
    ),
]
Check = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="TEXT",
        help="An item of the checklist that the agent goes through. May be repeated.",
    ),
]
QuietAnswer = Annotated[
    str | None,
    typer.Option(
        "--quiet-answer",
        metavar="TEXT",
        help="The answer that is stored and not announced; OK with a checklist.",
    ),
]
PrecheckOption = Annotated[
    str | None,
    typer.Option(
        "--precheck",
        metavar="TOOL",
        help="Ask this tool first, or callable:NAME; where it finds nothing, no model is asked.",
    ),
]
PrecheckArgs = Annotated[
    str | None,
    typer.Option("--precheck-args", metavar="JSON", help="What the tool is called with: {...}."),
]
OutputSchema = Annotated[
    str | None,
    typer.Option(
        "--output-schema",
        metavar="FILE",
        help="A JSON Schema that the answer has to match.",
    ),
]
Section = Annotated[
    list[str] | None,
    typer.Option(
        "--section",
        metavar="NAME",
        help="A heading that the answer has to have text under. May be repeated.",
    ),
]
Retries = Annotated[
    str | None,
    typer.Option(
        "--retries",
        metavar="N",
        help="How often a run is run again, later, that failed for a passing reason.",
    ),
]

Approvals = Annotated[
    str | None,
    typer.Option(
        "--approvals",
        metavar="queue|suspend",
        help="While a call waits for a yes, the agent goes on (queue), or its run parks (suspend).",
    ),
]
ApprovalsExpire = Annotated[
    str | None,
    typer.Option(
        "--approvals-expire",
        metavar="LENGTH",
        help="How long a call waits for a yes; 24h where nothing else is said.",
    ),
]
ApprovalsRemind = Annotated[
    str | None,
    typer.Option(
        "--approvals-remind",
        metavar="LENGTH",
        help="Tell its owner once more, and their deputies, when a call has waited for so long.",
    ),
]
ApprovalsMost = Annotated[
    str | None,
    typer.Option(
        "--approvals-most",
        metavar="N",
        help="How many approvals one run may ask for: 20 where nothing else is said, at most 100.",
    ),
]


_ONE_RUN: Final[Mapping[str, tuple[Any, object]]] = {
    "model": (Model, None),
    "max_time": (MaxTime, None),
    "idle_time": (IdleTime, None),
    "max_steps": (MaxSteps, None),
    "max_tokens": (MaxTokens, None),
    "max_cost": (MaxCost, None),
}
_SCHEDULE: Final[Mapping[str, tuple[Any, object]]] = {
    **_ONE_RUN,
    "day_tokens": (DayTokens, None),
    "day_cost": (DayCost, None),
    "check": (Check, None),
    "quiet_answer": (QuietAnswer, None),
    "precheck": (PrecheckOption, None),
    "precheck_args": (PrecheckArgs, None),
    "output_schema": (OutputSchema, None),
    "section": (Section, None),
    "retries": (Retries, None),
    "approvals": (Approvals, None),
    "approvals_expire": (ApprovalsExpire, None),
    "approvals_remind": (ApprovalsRemind, None),
    "approvals_most": (ApprovalsMost, None),
}


def _of_schedule(
    *, check: list[str] | None, section: list[str] | None, output_schema: str | None, **written: Any
) -> OptionDraft:
    limits = [written.pop(name) for name in list(_ONE_RUN)[1:]]
    return OptionDraft(
        limits=LimitsDraft(*limits),
        day_limits=DayLimitsDraft(written.pop("day_tokens"), written.pop("day_cost")),
        checklist=tuple(check) if check else None,
        sections=tuple(section) if section else None,
        output_schema=_schema(output_schema),
        **written,
    )


def _of_run(*, model: str | None, dry_run: bool, **limits: str | None) -> RunOptions:
    draft = OptionDraft(model=model, limits=LimitsDraft(*limits.values()))
    return replace(draft.for_one_run(), dry_run=dry_run)


takes_options = takes("options", _SCHEDULE, _of_schedule)
"""Gives a command `options: OptionDraft`: how the runs of a schedule are executed."""

takes_options_of_run = takes("options", {**_ONE_RUN, "dry_run": (DryRun, False)}, _of_run)
"""Gives a command `options: RunOptions`: how a single run is executed."""


def _schema(file: str | None) -> str | None:
    """Return the text of the file, or 'none' as it is."""
    if file is None or file == "none":
        return file
    return read_text_file(Path(file), most_bytes=_LARGEST_SCHEMA)
