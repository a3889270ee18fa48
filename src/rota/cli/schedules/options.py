"""The options that make a schedule's rule and policy: the same for adding, editing, previewing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from rota.cli.groups import takes
from rota.domain.schedules.drafts import Draft

When = Annotated[
    str | None,
    typer.Argument(
        metavar="[WHEN]",
        help="Cron ('30 7 * * mon-fri', '@daily', several with ';') or a plain phrase "
        "('weekdays at 7:30', 'first monday of the month at 9', 'tomorrow at 18:00').",
    ),
]
Zone = Annotated[
    str | None, typer.Option("--time-zone", help="IANA zone, as Europe/Berlin; yours if left out.")
]
Every = Annotated[
    str | None,
    typer.Option("--every", metavar="LENGTH", help="Interval in real time: 90m, 1h30m, 3d."),
]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="TIME", help="A single time: 2026-12-24 18:00. May be repeated."),
]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="Not before; an interval is counted from it."),
]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Not after.")]
MaxRuns = Annotated[
    int | None, typer.Option("--max-runs", min=0, metavar="N", help="End after N runs.")
]
Jitter = Annotated[
    str | None,
    typer.Option("--jitter", metavar="LENGTH", help="Delay each fire by up to so much."),
]
ActiveHours = Annotated[
    str | None,
    typer.Option("--active-hours", metavar="HOURS", help="Fire only within 08:00-18:00."),
]
ActiveDays = Annotated[
    str | None, typer.Option("--active-days", metavar="DAYS", help="Fire only on mon-fri.")
]
Except = Annotated[
    str | None,
    typer.Option("--except", metavar="DAYS", help="Days off: 2026-12-24..2027-01-01, 2027-05-01."),
]
ExceptCalendar = Annotated[
    list[str] | None,
    typer.Option(
        "--except-calendar",
        metavar="NAME",
        help="Days off by a calendar (`rota calendars`). May be repeated.",
    ),
]
DstGap = Annotated[
    str | None,
    typer.Option(
        "--dst-gap",
        metavar="vixie|skip|shift",
        help="A time that the clock jumps over: as Vixie cron has it, not at all, or shifted.",
    ),
]
DstOverlap = Annotated[
    str | None,
    typer.Option(
        "--dst-overlap",
        metavar="vixie|once|twice",
        help="A time that comes twice: as Vixie cron has it, once, or twice.",
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
CatchUp = Annotated[
    str | None,
    typer.Option(
        "--catch-up", metavar="latest|all", help="Which fires missed within the window run late."
    ),
]
CatchUpWindow = Annotated[
    str | None,
    typer.Option(
        "--catch-up-window", metavar="LENGTH", help="How late a missed fire still runs (1h)."
    ),
]
PauseAfterFailures = Annotated[
    int | None,
    typer.Option(
        "--pause-after-failures", min=0, metavar="N", help="Pause after N failed runs in a row."
    ),
]

_RULE: Final[Mapping[str, tuple[Any, object]]] = {
    "when": (When, None),
    "every": (Every, None),
    "at": (At, None),
    "start": (Start, None),
    "end": (End, None),
    "jitter": (Jitter, None),
    "active_hours": (ActiveHours, None),
    "active_days": (ActiveDays, None),
    "excluded_days": (Except, None),
    "dst_gap": (DstGap, None),
    "dst_overlap": (DstOverlap, None),
}
_POLICY: Final[Mapping[str, tuple[Any, object]]] = {
    "overlap": (Overlap, None),
    "catch_up": (CatchUp, None),
    "catch_up_window": (CatchUpWindow, None),
    "max_runs": (MaxRuns, None),
    "pause_after_failures": (PauseAfterFailures, None),
}


def _draft(*, at: list[str] | None, **written: Any) -> Draft:
    return Draft(at=tuple(at or ()), **written)


takes_rule = takes("draft", _RULE, _draft)
"""Gives a command `draft: Draft`, of which it takes the rule."""

takes_draft = takes("draft", {**_RULE, **_POLICY}, _draft)
"""Gives a command `draft: Draft`: rule and policy."""
