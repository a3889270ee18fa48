"""Options for a schedule's rule and policy: the same for adding, editing and previewing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from rota.cli.groups import takes
from rota.domain.errors import InvalidInputError
from rota.domain.schedules.drafts import Draft

Zone = Annotated[
    str | None,
    typer.Option(
        "--time-zone", help="The IANA time zone, such as Europe/Berlin. Default: your own."
    ),
]
ExceptCalendar = Annotated[
    list[str] | None,
    typer.Option(
        "--except-calendar",
        metavar="NAME",
        help="Do not fire on the days off of this calendar (`rota calendars`). May be repeated.",
    ),
]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        metavar="POLICY",
        help="What to do while a run is unfinished: skip (default), buffer_one, buffer_all, "
        "cancel_other, allow_all.",
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
    "--at", metavar="TIME", help="Fire once at this time: 2026-12-24 18:00. May be repeated."
)
_RULE: Final[Mapping[str, tuple[Any, None]]] = {
    "when": (_When, None),
    "every": _text("--every", "LENGTH", "Fire at this interval of real time: 90m, 1h30m, 3d."),
    "at": (Annotated[list[str] | None, _AT], None),
    "start": _text(
        "--start", "TIME", "Do not fire before this time. An interval is counted from it."
    ),
    "end": _text("--end", "TIME", "Do not fire after this time. A date includes the whole day."),
    "jitter": _text("--jitter", "LENGTH", "Delay each fire by a random time, at most this long."),
    "active_hours": _text("--active-hours", "HOURS", "Fire only in these hours: 08:00-18:00."),
    "active_days": _text("--active-days", "DAYS", "Fire only on these days: mon-fri."),
    "excluded_days": _text(
        "--except", "DAYS", "Do not fire on these days: 2026-12-24..2027-01-01, 2027-05-01."
    ),
    "dst_gap": _text(
        "--dst-gap",
        "vixie|skip|shift",
        "What to do with a time that a clock change skips: as Vixie cron, no run, or "
        "shifted later.",
    ),
    "dst_overlap": _text(
        "--dst-overlap",
        "vixie|once|twice",
        "What to do with a time that a clock change repeats: as Vixie cron, fire once, or twice.",
    ),
}
_POLICY: Final[Mapping[str, tuple[Any, None]]] = {
    "overlap": (Overlap, None),
    "catch_up": _text(
        "--catch-up", "latest|all", "Which missed fire times within the catch-up window run late."
    ),
    "catch_up_window": _text(
        "--catch-up-window",
        "LENGTH",
        "The catch-up window: how late a missed fire time may still run (1h).",
    ),
    "max_runs": _text("--max-runs", "N", "End the schedule after N runs."),
    "pause_after_failures": _text(
        "--pause-after-failures", "N", "Pause the schedule after N failed runs in a row."
    ),
}


def _draft(*, at: list[str] | None, **written: Any) -> Draft:
    if [bool(at), written["every"] is not None, written["when"] is not None].count(True) > 1:
        raise InvalidInputError("Give one rule: cron or a phrase, or --every, or --at.")
    return Draft(at=tuple(at or ()), **written)


def need_rule(draft: Draft) -> None:
    """Raise InvalidInputError where a command line has no rule, in the words of its options."""
    if draft.when is None and draft.every is None and not draft.at:
        raise InvalidInputError(
            "Say when: a cron expression or a phrase such as 'weekdays at 7:30', or --every, or "
            "--at."
        )


takes_rule = takes("draft", _RULE, _draft)
"""Gives a command `draft: Draft`, of which it takes the rule."""

takes_draft = takes("draft", {**_RULE, **_POLICY}, _draft)
"""Gives a command `draft: Draft`: rule and policy."""
