"""The options that make a schedule's rule and policy: the same for adding, editing, previewing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from rota.cli.groups import takes
from rota.domain.schedules.drafts import Draft

Zone = Annotated[
    str | None, typer.Option("--time-zone", help="IANA zone, as Europe/Berlin; yours if left out.")
]
ExceptCalendar = Annotated[
    list[str] | None,
    typer.Option(
        "--except-calendar",
        metavar="NAME",
        help="Days off by a calendar (`rota calendars`). May be repeated.",
    ),
]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        metavar="POLICY",
        help="While a run is unfinished: skip (default), buffer_one, buffer_all, cancel_other, "
        "allow_all.",
    ),
]
_When = Annotated[
    str | None,
    typer.Argument(
        metavar="[WHEN]",
        help="Cron ('30 7 * * mon-fri', '@daily', several with ';') or a plain phrase "
        "('weekdays at 7:30', 'first monday of the month at 9', 'tomorrow at 18:00').",
    ),
]


def _text(flag: str, metavar: str, help: str) -> tuple[Any, None]:  # noqa: A002  typer's word for it
    return Annotated[str | None, typer.Option(flag, metavar=metavar, help=help)], None


_AT: Final = typer.Option(
    "--at", metavar="TIME", help="A single time: 2026-12-24 18:00. May be repeated."
)
_RULE: Final[Mapping[str, tuple[Any, None]]] = {
    "when": (_When, None),
    "every": _text("--every", "LENGTH", "Interval in real time: 90m, 1h30m, 3d."),
    "at": (Annotated[list[str] | None, _AT], None),
    "start": _text("--start", "TIME", "Not before; an interval is counted from it."),
    "end": _text("--end", "TIME", "Not after; a day is meant as a whole."),
    "jitter": _text("--jitter", "LENGTH", "Delay each fire by up to so much."),
    "active_hours": _text("--active-hours", "HOURS", "Fire only within 08:00-18:00."),
    "active_days": _text("--active-days", "DAYS", "Fire only on mon-fri."),
    "excluded_days": _text("--except", "DAYS", "Days off: 2026-12-24..2027-01-01, 2027-05-01."),
    "dst_gap": _text(
        "--dst-gap",
        "vixie|skip|shift",
        "A time that the clock jumps over: as Vixie cron has it, not at all, or shifted.",
    ),
    "dst_overlap": _text(
        "--dst-overlap",
        "vixie|once|twice",
        "A time that comes twice: as Vixie cron has it, once, or twice.",
    ),
}
_POLICY: Final[Mapping[str, tuple[Any, None]]] = {
    "overlap": (Overlap, None),
    "catch_up": _text("--catch-up", "latest|all", "Which fires missed within the window run late."),
    "catch_up_window": _text(
        "--catch-up-window", "LENGTH", "How late a missed fire still runs (1h)."
    ),
    "max_runs": _text("--max-runs", "N", "End after N runs."),
    "pause_after_failures": _text(
        "--pause-after-failures", "N", "Pause after N failed runs in a row."
    ),
}


def _draft(*, at: list[str] | None, **written: Any) -> Draft:
    return Draft(at=tuple(at or ()), **written)


takes_rule = takes("draft", _RULE, _draft)
"""Gives a command `draft: Draft`, of which it takes the rule."""

takes_draft = takes("draft", {**_RULE, **_POLICY}, _draft)
"""Gives a command `draft: Draft`: rule and policy."""
