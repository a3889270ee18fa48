"""How runs of a schedule, or one run, are executed: model, limits, checks, what is demanded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from rota.domain.approvals.actions import LONGEST_WAIT, MOST_REQUESTS_SET, ActionMode
from rota.domain.errors import InvalidInputError
from rota.domain.runs.limits import DayLimits, Limits

MOST_RETRIES: Final = 10
_MOST_ITEMS: Final = 100
_LONGEST_ITEM: Final = 2_000
_LONGEST_QUIET: Final = 100
_NAMES: Final = frozenset(
    {
        "model",
        "limits",
        "day_limits",
        "checklist",
        "quiet_answer",
        "precheck",
        "output",
        "retries",
        "approvals",
        "approvals_expire",
        "approvals_remind",
        "approvals_most",
        "dry_run",
    }
)


@dataclass(frozen=True, slots=True)
class Precheck:
    """What is asked before the model is: a tool that only reads, or a registered callable."""

    kind: Literal["tool", "callable"]
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as a row has it."""
        return {self.kind: self.name, **({"arguments": self.arguments} if self.arguments else {})}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a schedule, or one run, asks for beside its prompt. None and empty: nothing.

    `output` is an output contract as JSON (domain/contracts). `retries` is how often a run that
    failed for a passing reason is run again, later. `approvals` is what the agent does while a call
    waits for a yes, `approvals_expire` the seconds that it waits at most, `approvals_remind` those
    after which its owner is told once more, `approvals_most` how many a run may ask for. In a
    `dry_run` only tools that read are called.
    """

    model: str | None = None
    limits: Limits = field(default_factory=Limits)
    day_limits: DayLimits = field(default_factory=DayLimits)
    checklist: tuple[str, ...] = ()
    quiet_answer: str | None = None
    precheck: Precheck | None = None
    output: Mapping[str, Any] | None = None
    retries: int | None = None
    approvals: ActionMode | None = None
    approvals_expire: int | None = None
    approvals_remind: int | None = None
    approvals_most: int | None = None
    dry_run: bool = False

    @property
    def asks_of_agent(self) -> bool:
        """Whether these options hold only for agents of some kind, or with some tool."""
        return self.model is not None or self.precheck is not None or self.dry_run

    @property
    def quiet(self) -> str | None:
        """The answer that is stored but not announced: the one set, or OK with a checklist."""
        return self.quiet_answer or ("OK" if self.checklist else None)

    def overridden_by(self, other: RunOptions) -> RunOptions:
        """Return these options with what `other` sets in their place."""
        return RunOptions(
            model=other.model or self.model,
            limits=self.limits.overridden_by(other.limits),
            day_limits=self.day_limits.overridden_by(other.day_limits),
            checklist=other.checklist or self.checklist,
            quiet_answer=other.quiet_answer or self.quiet_answer,
            precheck=other.precheck or self.precheck,
            output=other.output or self.output,
            retries=self.retries if other.retries is None else other.retries,
            approvals=other.approvals or self.approvals,
            approvals_expire=other.approvals_expire or self.approvals_expire,
            approvals_remind=other.approvals_remind or self.approvals_remind,
            approvals_most=other.approvals_most or self.approvals_most,
            dry_run=other.dry_run or self.dry_run,
        )

    def as_json(self) -> dict[str, Any]:
        """Return what is set, as a row has it."""
        values: dict[str, Any] = {
            "model": self.model,
            "limits": self.limits.as_json(),
            "day_limits": self.day_limits.as_json(),
            "checklist": list(self.checklist),
            "quiet_answer": self.quiet_answer,
            "precheck": self.precheck.as_json() if self.precheck else None,
            "output": dict(self.output) if self.output else None,
            "retries": self.retries,
            "approvals": self.approvals.value if self.approvals else None,
            "approvals_expire": self.approvals_expire,
            "approvals_remind": self.approvals_remind,
            "approvals_most": self.approvals_most,
            "dry_run": self.dry_run or None,
        }
        return {name: value for name, value in values.items() if value or value == 0}


def parse_run_options(value: object) -> RunOptions:
    """Read options from a row's JSON; raises InvalidInputError naming the place.

    The output contract is not looked into: that is for domain/contracts.
    """
    if value is None:
        return RunOptions()
    if not isinstance(value, Mapping):
        raise InvalidInputError("The options of a run are a mapping.", field="options")
    for name in value:
        if name not in _NAMES:
            raise InvalidInputError(
                f"There is no option {str(name)[:60]!r}; there are {', '.join(sorted(_NAMES))}.",
                field=str(name)[:60],
            )
    output = value.get("output")
    if output is not None and not isinstance(output, Mapping):
        raise InvalidInputError("output is a mapping of `schema` or `sections`.", field="output")
    options = RunOptions(
        limits=Limits.parse(value.get("limits")),
        day_limits=DayLimits.parse(value.get("day_limits")),
        checklist=_checklist(value.get("checklist")),
        precheck=_precheck(value.get("precheck")),
        output=output or None,
    )
    return replace(
        options,
        model=_model(value.get("model")),
        quiet_answer=_quiet(value.get("quiet_answer")),
        retries=_retries(value.get("retries")),
        approvals=_approvals(value.get("approvals")),
        approvals_expire=_wait(value, "approvals_expire"),
        approvals_remind=_wait(value, "approvals_remind"),
        approvals_most=_most_requests(value.get("approvals_most")),
        dry_run=_dry_run(value.get("dry_run")),
    )


def _model(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or ":" not in value.strip(":") or len(value) > 200:
        raise InvalidInputError(
            f"model is of the form provider:model, not {str(value)[:60]!r}.", field="model"
        )
    return value


def _checklist(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > _MOST_ITEMS:
        raise InvalidInputError(
            f"checklist is a list of at most {_MOST_ITEMS} texts.", field="checklist"
        )
    for item in value:
        if not isinstance(item, str) or not item.strip() or len(item) > _LONGEST_ITEM:
            raise InvalidInputError(
                f"Each item of a checklist is a text of 1 to {_LONGEST_ITEM} characters.",
                field="checklist",
            )
    return tuple(item.strip() for item in value)


def _quiet(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_QUIET:
        raise InvalidInputError(
            f"quiet_answer is a text of 1 to {_LONGEST_QUIET} characters.", field="quiet_answer"
        )
    return value.strip()


def _precheck(value: object) -> Precheck | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        kinds = [kind for kind in ("tool", "callable") if kind in value]
        arguments = value.get("arguments", {})
        unknown = set(value) - {"tool", "callable", "arguments"}
        if len(kinds) == 1 and not unknown and isinstance(arguments, Mapping):
            name = value[kinds[0]]
            if isinstance(name, str) and name:
                kind: Literal["tool", "callable"] = "tool" if kinds[0] == "tool" else "callable"
                return Precheck(kind, name, arguments)
    raise InvalidInputError(
        "precheck is a mapping of `tool` or `callable` to a name, with `arguments` if there are "
        "any.",
        field="precheck",
    )


def _approvals(value: object) -> ActionMode | None:
    if value is None:
        return None
    try:
        return ActionMode(str(value))
    except ValueError:
        modes = " or ".join(mode.value for mode in ActionMode)
        raise InvalidInputError(f"approvals is {modes}.", field="approvals") from None


def _wait(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    most = round(LONGEST_WAIT.total_seconds())
    if isinstance(value, bool) or not isinstance(value, int) or not 60 <= value <= most:
        raise InvalidInputError(
            f"{name} is from 60 seconds to {LONGEST_WAIT.days} days.", field=name
        )
    return value


def _most_requests(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_REQUESTS_SET:
        raise InvalidInputError(
            f"approvals_most is from 1 to {MOST_REQUESTS_SET}.", field="approvals_most"
        )
    return value


def _dry_run(value: object) -> bool:
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError("dry_run is true or false.", field="dry_run")
    return bool(value)


def _retries(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise InvalidInputError(f"retries is from 0 to {MOST_RETRIES}.", field="retries")
    return value
