"""How runs of a schedule, or one run, are executed: model, limits, checks, output contract.

Each option is declared here once, or in `limits`. Rows, agent files, flags of the command line and
its output all use the declaration. To add an option, add a field with `option()`; then document it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rota.domain.approvals.actions import LONGEST_WAIT, MOST_REQUESTS_SET, ActionMode
from rota.domain.errors import InvalidInputError
from rota.domain.runs.contracts import parse_contract
from rota.domain.runs.limits import DayLimits, Limits
from rota.domain.runs.option_kinds import (
    Choice,
    Count,
    Flag,
    Kind,
    ModelName,
    Options,
    Seconds,
    Text,
    Texts,
    Written,
    YesNo,
    group,
    in_words,
    is_none,
    length,
    option,
    options_of,
)
from rota.domain.schedules.drafts import NONE
from rota.domain.text.json_values import json_object
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all

MOST_RETRIES: Final = 10
_PASSING_FAILURES: Final = "later, of runs that failed for a temporary reason"
_MODES: Final = {
    ActionMode.SUSPEND: "a run is suspended until its calls are decided",
    ActionMode.QUEUE: "the agent goes on meanwhile",
}

CALLABLE: Final = "callable:"
"""What a pre-check begins with that is a registered callable, and no tool."""


@dataclass(frozen=True, slots=True)
class Precheck:
    """A pre-check before the model: a tool that only reads, or a registered callable."""

    kind: Literal["tool", "callable"]
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        name = self.name if self.kind == "tool" else f"{CALLABLE}{self.name}"
        asked = json.dumps(dict(self.arguments), ensure_ascii=False) if self.arguments else ""
        return f"{name} {asked}".rstrip()


_PRECHECK_FIELDS: Final = frozenset({"tool", "callable", "arguments"})


class _PrecheckKind(Kind):
    """A pre-check: a mapping in rows and files; on the command line, its name and its arguments."""

    def parse(self, value: object, place: str) -> Precheck:
        if isinstance(value, Mapping):
            kinds = [kind for kind in ("tool", "callable") if kind in value]
            arguments = value.get("arguments", {})
            for unknown in value.keys() - _PRECHECK_FIELDS:
                raise InvalidInputError(
                    f"A pre-check has no field {quoted(str(unknown))}; "
                    f"{near_or_all(unknown, _PRECHECK_FIELDS)}",
                    field=place,
                )
            if len(kinds) == 1 and isinstance(arguments, Mapping):
                name = value[kinds[0]]
                if isinstance(name, str) and name:
                    kind: Literal["tool", "callable"] = "tool" if "tool" in kinds else "callable"
                    return Precheck(kind, name, arguments)
        raise InvalidInputError(
            "precheck is a mapping of `tool` or `callable` to a name, with `arguments` if there "
            "are any.",
            field=place,
        )

    def change(
        self, before: Precheck | None, written: Sequence[Written], place: str
    ) -> Precheck | None:
        name, arguments = written
        if isinstance(name, str):
            called = name.strip().removeprefix(CALLABLE)
            kind = "tool" if called == name.strip() else "callable"
            before = None if name.strip() in {"", NONE} else self.parse({kind: called}, place)
        if not isinstance(arguments, str):
            return before
        if before is None:
            raise InvalidInputError("Arguments are for a pre-check: name its tool.", field=place)
        given = {}
        if not is_none(arguments):
            given = json_object(arguments, "The arguments of a pre-check", place)
        return Precheck(before.kind, before.name, given)

    def as_json(self, value: Precheck) -> dict[str, Any]:
        arguments = {"arguments": value.arguments} if value.arguments else {}
        return {value.kind: value.name, **arguments}


class _OutputKind(Kind):
    """An output contract as JSON. domain/runs/contracts reads its contents."""

    def parse(self, value: object, place: str) -> Mapping[str, Any] | None:
        if not isinstance(value, Mapping):
            raise InvalidInputError(f"{place} is a mapping of `schema` or `sections`.", field=place)
        return value or None

    def change(
        self, before: Mapping[str, Any] | None, written: Sequence[Written], place: str
    ) -> Mapping[str, Any] | None:
        output = dict(before or {})
        schema, sections = written
        if isinstance(schema, str):
            output.pop("schema", None)
            if not is_none(schema):
                output["schema"] = json_object(schema, "The schema of an answer", f"{place}.schema")
        if sections is not None:
            output.pop("sections", None)
            if not is_none(sections):
                output["sections"] = list(sections)
        return output or None


def _demands(output: Mapping[str, Any]) -> str:
    contract = parse_contract(output)
    said = ["JSON that matches a schema"] if contract.schema is not None else []
    said += [f"text under {', '.join(contract.sections)}"] if contract.sections else []
    return " and ".join(said)


_WAIT: Final = Seconds(
    60, round(LONGEST_WAIT.total_seconds()), f"from 60 seconds to {LONGEST_WAIT.days} days"
)


@dataclass(frozen=True, slots=True)
class RunOptions(Options):
    """What a schedule, or one run, asks for beside its prompt. None and empty: nothing.

    `output` is an output contract as JSON (domain/runs/contracts); `approvals_expire` and
    `approvals_remind` are seconds. In a `dry_run` only tools that read are called.

    >>> rota.RunOptions.parse({"approvals": "suspend", "limits": {"steps": 5}}).limits.steps
    5
    """

    NOUN = "option"

    model: str | None = option(
        ModelName(),
        Flag("model", "MODEL", "The model to use instead of the agent's: provider:model."),
        label="Model",
        of_one_run=True,
    )
    limits: Limits = group(Limits, label="Each run", of_one_run=True)
    day_limits: DayLimits = group(DayLimits, label="Each day")
    checklist: tuple[str, ...] = option(
        Texts(100, 2_000),
        Flag(
            "check",
            "TEXT",
            "An item of the checklist that the agent works through. May be repeated.",
            repeated=True,
        ),
        label="Checklist",
        says=lambda items: "\n".join(f"{n}. {item}" for n, item in enumerate(items, start=1)),
    )
    quiet_answer: str | None = option(
        Text(100),
        Flag(
            "quiet_answer",
            "TEXT",
            'The answer that means "nothing to report". No notification is sent for '
            "it. With a checklist: OK.",
        ),
        label="Quiet",
        says=lambda answer: f"{answer} is stored and not announced",
    )
    precheck: Precheck | None = option(
        _PrecheckKind(),
        Flag(
            "precheck",
            "TOOL",
            "Call this tool first, or callable:NAME. If it finds nothing, the model is not called.",
        ),
        Flag("precheck_args", "JSON", "The arguments of the --precheck tool: {...}."),
        label="Pre-check",
    )
    output: Mapping[str, Any] | None = option(
        _OutputKind(),
        Flag("output_schema", "FILE", "A file with the JSON Schema that the answer must match."),
        Flag(
            "section",
            "NAME",
            "A heading that the answer must contain, with text under it. May be repeated.",
            repeated=True,
        ),
        label="Answer",
        says=_demands,
    )
    retries: int | None = option(
        Count(0, MOST_RETRIES, f"from 0 to {MOST_RETRIES}"),
        Flag(
            "retries",
            "N",
            "How often to try a run again later if it failed for a temporary reason.",
        ),
        label="Retries",
        says=lambda count: f"at most {count}, {_PASSING_FAILURES}",
    )
    approvals: ActionMode | None = option(
        Choice(ActionMode),
        Flag(
            "approvals",
            "queue|suspend",
            "While a call waits for approval, the run goes on (queue) or is suspended (suspend).",
        ),
        label="Approvals",
        says=lambda mode: _MODES[mode],
    )
    approvals_expire: int | None = option(
        _WAIT,
        Flag(
            "approvals_expire",
            "LENGTH",
            "How long a call waits for approval; 24h if not set.",
        ),
        label="Approvals",
        says=lambda seconds: f"a call waits for {length(seconds)}",
    )
    approvals_remind: int | None = option(
        _WAIT,
        Flag(
            "approvals_remind",
            "LENGTH",
            "Remind the owner, and tell the deputies, when a call has waited this long.",
        ),
        label="Approvals",
        says=lambda seconds: f"you are reminded after {length(seconds)}",
    )
    approvals_most: int | None = option(
        Count(1, MOST_REQUESTS_SET, f"from 1 to {MOST_REQUESTS_SET}"),
        Flag(
            "approvals_most",
            "N",
            "The most approvals that one run may ask for, up to 100. Default: 20.",
        ),
        label="Approvals",
        says=lambda count: f"a run may ask for {count}",
    )
    dry_run: bool = option(YesNo())

    @property
    def asks_of_agent(self) -> bool:
        """Whether these options hold only for agents of some kind, or with some tool."""
        return self.model is not None or self.precheck is not None or self.dry_run

    @property
    def quiet(self) -> str | None:
        """The answer that is stored but not announced: the one set, or OK with a checklist."""
        return self.quiet_answer or ("OK" if self.checklist else None)

    def in_words(self) -> list[tuple[str, str]]:
        """Say what is set, with a label each; a text may have several lines.

        Raises InvalidInputError for an output contract that cannot be read.
        """
        said: dict[str, list[str]] = {}
        for name, declared in options_of(RunOptions).items():
            value = self.quiet if name == "quiet_answer" else getattr(self, name)
            if declared.group is not None:
                text = in_words(value)
            else:
                text = "" if value == declared.kind.empty else declared.says(value)
            if text and declared.label:
                said.setdefault(declared.label, []).append(text)
        return [(label, "; ".join(texts)) for label, texts in said.items()]
