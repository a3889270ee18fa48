"""The parts of an agent file that say how runs are executed: options of runs, and fallbacks."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rota.agents.models.providers import parse_model
from rota.domain.errors import InvalidInputError
from rota.domain.runs.option_drafts import read_options
from rota.domain.runs.option_kinds import options_of
from rota.domain.runs.options import RunOptions


class OptionFields(BaseModel):
    """The fields of a schedule in a file that RunOptions declare, as they were written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    run_options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "run_options" in values:
            return values
        declared = {name for name, option in options_of(RunOptions).items() if option.label}
        collected = {name: value for name, value in values.items() if name in declared}
        return {k: v for k, v in values.items() if k not in declared} | {"run_options": collected}

    def options(self) -> RunOptions:
        """Return the options; raises InvalidInputError naming the place."""
        return read_options(self.run_options)


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
