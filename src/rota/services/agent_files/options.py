"""The parts of an agent file that say how runs are executed: limits, models, what is demanded."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rota.agents.models.providers import parse_model
from rota.domain.errors import InvalidInputError
from rota.domain.runs.limits import DayLimits, Limits
from rota.domain.runs.option_drafts import DayLimitsDraft, LimitsDraft, OptionDraft, checked
from rota.domain.runs.options import RunOptions, parse_run_options


def _as_written(value: Any) -> Any:
    """Return a YAML number as its text, so that files and the command line are read alike."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(value) if isinstance(value, int) else f"{Decimal(repr(value)):f}".removesuffix(".0")


Written = Annotated[str, BeforeValidator(_as_written)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LimitsEntry(_Part):
    """Limits of one run in a file: `time: 10m`, `tokens: 200k`, `cost: 0.50`."""

    time: Written | None = None
    idle: Written | None = None
    steps: Written | None = None
    tokens: Written | None = None
    cost: Written | None = None

    def limits(self) -> Limits:
        """Return the limits; raises InvalidInputError naming the place."""
        return LimitsDraft(self.time, self.idle, self.steps, self.tokens, self.cost).limits()


class DayLimitsEntry(_Part):
    """Limits of a day in a file."""

    tokens: Written | None = None
    cost: Written | None = None

    def limits(self) -> DayLimits:
        """Return the limits; raises InvalidInputError naming the place."""
        return DayLimitsDraft(self.tokens, self.cost).limits()


class OptionFields(_Part):
    """The fields of a schedule in a file that say how its runs are executed."""

    model: str | None = None
    limits: LimitsEntry = LimitsEntry()
    day_limits: DayLimitsEntry = DayLimitsEntry()
    checklist: tuple[str, ...] = Field(default=(), strict=False)
    quiet_answer: str | None = None
    precheck: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    retries: int | None = None
    approvals: str | None = None
    approvals_expire: str | None = None
    approvals_remind: str | None = None
    approvals_most: int | None = None

    def options(self) -> RunOptions:
        """Return the options; raises InvalidInputError naming the place."""
        waits = OptionDraft(
            approvals_expire=self.approvals_expire, approvals_remind=self.approvals_remind
        ).options()
        return checked(
            parse_run_options(
                {
                    "model": self.model,
                    "limits": self.limits.limits().as_json(),
                    "day_limits": self.day_limits.limits().as_json(),
                    "checklist": self.checklist,
                    "quiet_answer": self.quiet_answer,
                    "precheck": self.precheck,
                    "output": self.output,
                    "retries": self.retries,
                    "approvals": self.approvals,
                    "approvals_expire": waits.approvals_expire,
                    "approvals_remind": waits.approvals_remind,
                    "approvals_most": self.approvals_most,
                }
            )
        )


def check_fallbacks(models: tuple[str, ...]) -> None:
    """Raise InvalidInputError, naming the place, for a model to fall back on that cannot be."""
    for index, model in enumerate(models):
        try:
            parse_model(model)
        except InvalidInputError as error:
            raise InvalidInputError(error.message, field=f"fallback_models.{index}") from error
        if model in models[:index]:
            raise InvalidInputError(
                f"The model {model} is named twice.", field=f"fallback_models.{index}"
            )
