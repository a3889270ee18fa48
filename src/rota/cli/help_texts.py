"""Help in rota's own layout and words: options under headings, values with readable names.

Completion of those values is in `rota.cli.completion`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

from typer.core import TyperArgument, TyperCommand

from rota.domain.errors import InvalidInputError

_HEADINGS: Final = {
    "When it fires": "every at start end jitter time-zone",
    "Days and hours": "active-hours active-days except except-calendar",
    "Changes of the clock": "dst-gap dst-overlap",
    "Overlap, missed fire times and failures": (
        "overlap catch-up catch-up-window max-runs pause-after-failures retries"
    ),
    "Limits": "max-time idle-time max-steps max-tokens max-cost day-tokens day-cost",
    "Approvals": "approvals approvals-expire approvals-remind approvals-most",
    "Before and after the model": "check quiet-answer precheck precheck-args output-schema section",
    "Options of every command": "data-dir database-url as json help",
}
_HEADING_OF: Final = {
    f"--{name}": heading for heading, names in _HEADINGS.items() for name in names.split()
}
_FEW: Final = 12
"""Options up to which one heading does for all but those of every command."""

_RANGE: Final = re.compile(r"; x?[\d<>=x]+\]|  \[[\d<>=x]*[<>]=[\d<>=x]*\]")
_VALUES: Final = {"str": "TEXT", "int": "N", "float": "NUMBER", "path": "FILE"}


class Command(TyperCommand):
    """A typer command whose help is written by this module."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for param in self.params:
            if param.metavar is None and not getattr(param, "is_flag", False):
                param.metavar = _metavar(param)
            if not getattr(param, "is_flag", False):
                param.shell_complete = partial(_complete, param)  # type: ignore[method-assign]  # ours

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse two flags that contradict each other; of them the parser takes the last."""
        end = args.index("--") if "--" in args else len(args)
        for param in self.params:
            yes = next((flag for flag in param.opts if flag in args[:end]), None)
            no = next((flag for flag in param.secondary_opts if flag in args[:end]), None)
            if yes is not None and no is not None:
                raise InvalidInputError(f"{yes} and {no} contradict each other. Give one of them.")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the command in its usage, arguments without braces."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options that have no heading of their own, then each heading."""
        params = self.get_params(ctx)
        is_short = sum(not isinstance(param, TyperArgument) for param in params) <= _FEW
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        sections |= {heading: [] for heading in _HEADINGS}
        for param in params:
            record = param.get_help_record(ctx)
            if record is not None:
                heading = _heading(param, is_short=is_short)
                sections[heading].append((record[0], _without_range(record[1])))
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _complete(param: Any, ctx: Any, incomplete: str) -> Any:
    """Offer what the parameter takes; what its type offers, where we know nothing better."""
    from rota.cli.completion import offers

    return offers(ctx, param, incomplete) or param.type.shell_complete(ctx, param, incomplete)


def _heading(param: Any, *, is_short: bool) -> str:
    if isinstance(param, TyperArgument):
        return "Arguments"
    heading = _HEADING_OF.get(param.opts[0], "Options")
    return "Options" if is_short and heading != "Options of every command" else heading


def _without_range(text: str) -> str:
    """Leave out a range as typer writes it (x>=1): a value outside of it is answered in words."""
    return _RANGE.sub(lambda found: "]" if found[0].startswith(";") else "", text)


def _metavar(param: Any) -> str | None:
    """Return the placeholder of a parameter's value in help."""
    if isinstance(param, TyperArgument):
        return str(param.name).upper().replace("_", "-")
    if choices := getattr(param.type, "choices", None):
        return "|".join(str(getattr(choice, "value", choice)) for choice in choices)
    return _VALUES.get(param.type.name.split()[0])
