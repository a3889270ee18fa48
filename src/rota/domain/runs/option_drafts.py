"""How runs are executed, as a person writes it: on the command line, or in a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from rota.domain.approvals.actions import ActionMode
from rota.domain.errors import InvalidInputError
from rota.domain.runs.contracts import parse_contract
from rota.domain.runs.limits import DayLimits, Limits, parse_money
from rota.domain.runs.options import Precheck, RunOptions, parse_run_options
from rota.domain.schedules.drafts import NONE
from rota.domain.schedules.written_time import parse_duration
from rota.domain.text.json_values import json_object
from rota.domain.text.storable import storable_json

CALLABLE: Final = "callable:"
"""What a pre-check begins with that is a registered callable, and no tool."""

LARGEST: Final = 100_000
"""Characters of all options of a schedule as JSON: what the column takes."""

_COUNT: Final = re.compile(r"(\d{1,13})(?:\.(\d{1,6}))?\s*([kKmM]?)", re.ASCII)
_MONEY: Final = re.compile(r"\$?\s*(\d{1,12}(?:\.\d{1,12})?|\.\d{1,12})", re.ASCII)
_TIMES: Final = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class LimitsDraft:
    """Limits of one run as written. None leaves one as it is, "none" or 0 takes it away.

    `time` and `idle` are lengths (`10m`), `steps` and `tokens` counts (`20`, `200k`, `1.5M`),
    `cost` US dollars (`0.50`, `$0.50`).
    """

    time: str | None = None
    idle: str | None = None
    steps: str | None = None
    tokens: str | None = None
    cost: str | None = None

    def limits(self, before: Limits | None = None) -> Limits:
        """Return the limits that this makes of `before`; raises InvalidInputError."""
        was = before or Limits()
        return Limits(
            wall_seconds=_seconds(self.time, "limits.time", was.wall_seconds),
            idle_seconds=_seconds(self.idle, "limits.idle", was.idle_seconds),
            steps=_count(self.steps, "limits.steps", was.steps),
            tokens=_count(self.tokens, "limits.tokens", was.tokens),
            cost_usd=_money(self.cost, "limits.cost", was.cost_usd),
        )


@dataclass(frozen=True, slots=True)
class DayLimitsDraft:
    """Limits of a day as written, like those of a run."""

    tokens: str | None = None
    cost: str | None = None

    def limits(self, before: DayLimits | None = None) -> DayLimits:
        """Return the limits that this makes of `before`; raises InvalidInputError."""
        was = before or DayLimits()
        return DayLimits(
            tokens=_count(self.tokens, "day_limits.tokens", was.tokens),
            cost_usd=_money(self.cost, "day_limits.cost", was.cost_usd),
        )


@dataclass(frozen=True, slots=True)
class OptionDraft:
    """Options as written: None leaves a value as it is, "none" takes it away.

    `checklist` and `sections` replace the whole list; ("none",) takes it away. `precheck` is a
    tool's name or `callable:NAME`, `precheck_args` and `output_schema` are JSON.
    """

    model: str | None = None
    limits: LimitsDraft = field(default_factory=LimitsDraft)
    day_limits: DayLimitsDraft = field(default_factory=DayLimitsDraft)
    checklist: tuple[str, ...] | None = None
    quiet_answer: str | None = None
    precheck: str | None = None
    precheck_args: str | None = None
    output_schema: str | None = None
    sections: tuple[str, ...] | None = None
    retries: str | None = None
    approvals: str | None = None
    approvals_expire: str | None = None
    approvals_remind: str | None = None
    approvals_most: str | None = None

    def __bool__(self) -> bool:
        return self != OptionDraft()

    def options(self, before: RunOptions | None = None) -> RunOptions:
        """Return the options that this makes of `before`; raises InvalidInputError.

        That the model's provider and the pre-check's tool are there is for others to say.
        """
        was = before or RunOptions()
        return checked(
            replace(
                was,
                model=_text(self.model, was.model),
                limits=self.limits.limits(was.limits),
                day_limits=self.day_limits.limits(was.day_limits),
                checklist=_list(self.checklist, was.checklist),
                quiet_answer=_text(self.quiet_answer, was.quiet_answer),
                precheck=self._precheck(was.precheck),
                output=self._output(was.output or {}),
                retries=_count(self.retries, "retries", was.retries),
                approvals=_mode(self.approvals, was.approvals),
                approvals_expire=_seconds(
                    self.approvals_expire, "approvals_expire", was.approvals_expire
                ),
                approvals_remind=_seconds(
                    self.approvals_remind, "approvals_remind", was.approvals_remind
                ),
                approvals_most=_count(self.approvals_most, "approvals_most", was.approvals_most),
            )
        )

    def for_one_run(self) -> RunOptions:
        """Return the options of a single run, which go before those of its schedule.

        Raises InvalidInputError, also for "none" and 0: one run cannot take away what its agent or
        its schedule sets.
        """
        options = self.options()
        limits = [self.limits.time, self.limits.idle, self.limits.steps]
        limits += [self.limits.tokens, self.limits.cost]
        written = sum(text is not None for text in (self.model, *limits))
        if len(options.limits.as_set()) + (options.model is not None) < written:
            raise InvalidInputError(
                "One run cannot take away a model or a limit that its agent or its schedule sets; "
                "name another one.",
                field="limits",
            )
        return options

    def _precheck(self, before: Precheck | None) -> Precheck | None:
        name = _text(self.precheck, _written(before) if before else None)
        if name is None:
            if self.precheck_args is not None:
                raise InvalidInputError(
                    "Arguments are for a pre-check: name its tool.", field="precheck"
                )
            return None
        arguments: Mapping[str, Any] = before.arguments if before else {}
        if self.precheck is not None:
            arguments = {}
        if self.precheck_args is not None:
            arguments = (
                {}
                if self.precheck_args.strip() == NONE
                else json_object(self.precheck_args, "The arguments of a pre-check", "precheck")
            )
        called = name.removeprefix(CALLABLE)
        return Precheck("tool" if called == name else "callable", called, arguments)

    def _output(self, before: Mapping[str, Any]) -> Mapping[str, Any] | None:
        output = dict(before)
        if self.output_schema is not None:
            output.pop("schema", None)
            if self.output_schema.strip() != NONE:
                output["schema"] = json_object(
                    self.output_schema, "The schema of an answer", "output.schema"
                )
        if self.sections is not None:
            output.pop("sections", None)
            if sections := _list(self.sections, ()):
                output["sections"] = list(sections)
        return output or None


def checked(options: RunOptions) -> RunOptions:
    """Return options as a row may have them; raises InvalidInputError naming the place."""
    written = options.as_json()
    read = parse_run_options(written)
    if read.output is not None:
        parse_contract(read.output)
    if storable_json(written) != written:
        raise InvalidInputError("The options hold characters that cannot be stored.")
    if len(json.dumps(written, ensure_ascii=False)) > LARGEST:
        raise InvalidInputError(f"The options are longer than {LARGEST} characters in all.")
    return read


def _written(precheck: Precheck) -> str:
    return precheck.name if precheck.kind == "tool" else f"{CALLABLE}{precheck.name}"


def _text(text: str | None, before: str | None) -> str | None:
    if text is None:
        return before
    return None if text.strip() in {"", NONE} else text.strip()


def _list(items: tuple[str, ...] | None, before: tuple[str, ...]) -> tuple[str, ...]:
    if items is None:
        return before
    return () if [item.strip() for item in items] in ([], [NONE]) else items


def _mode(text: str | None, before: ActionMode | None) -> ActionMode | None:
    written = _text(text, before.value if before else None)
    return parse_run_options({"approvals": written}).approvals


def _seconds(text: str | None, place: str, before: int | None) -> int | None:
    if text is None:
        return before
    length = timedelta(0) if text.strip() == NONE else parse_duration(text, field=place)
    return round(length.total_seconds()) or None


def _count(text: str | None, place: str, before: int | None) -> int | None:
    if text is None:
        return before
    if text.strip() == NONE:
        return None
    found = _COUNT.fullmatch(text.strip())
    size = Decimal(f"{found[1]}.{found[2] or 0}") * _TIMES[found[3].lower()] if found else None
    if size is None or size != int(size):
        raise InvalidInputError(
            f"The number {text[:60]!r} is not understood; write a whole number such as 20, 200k or "
            "1.5M.",
            field=place,
        )
    return int(size) or None


def _money(text: str | None, place: str, before: Decimal | None) -> Decimal | None:
    if text is None:
        return before
    if text.strip() == NONE:
        return None
    found = _MONEY.fullmatch(text.strip())
    if found is None:
        raise InvalidInputError(
            f"The amount {text[:60]!r} is not understood; write US dollars, such as 0.50 or $0.50.",
            field=place,
        )
    return parse_money(found[1], where=place) if Decimal(found[1]) else None
