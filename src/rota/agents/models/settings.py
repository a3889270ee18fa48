"""The settings of a model that a row or an agent file may hold. Loads no LangChain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rota.agents.models.providers import SCRIPTED
from rota.domain.errors import InvalidInputError
from rota.domain.text.sentences import sentence
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all, problem_in_words

_COMMON: Final = frozenset(
    {"temperature", "max_tokens", "timeout", "max_retries", "top_p", "stream", "endpoint"}
)
_SETTINGS: Final[Mapping[str, frozenset[str]]] = {
    "anthropic": _COMMON | {"thinking", "reasoning_effort", "top_k"},
    "openai": _COMMON | {"reasoning", "reasoning_effort", "use_responses_api", "seed"},
    "ollama": _COMMON | {"reasoning", "top_k", "seed", "num_ctx"},
    SCRIPTED: frozenset(),
}


class ModelSettings(BaseModel):
    """The settings that a row may hold for its model; times are seconds.

    `max_retries` is rota's own count (see `retry_policy`), for any provider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    timeout: Annotated[float, Field(gt=0, le=3600)] | None = None
    max_retries: Annotated[int, Field(ge=0, le=10)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    endpoint: str | None = None
    thinking: dict[str, Any] | None = None
    reasoning: dict[str, Any] | bool | str | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    use_responses_api: bool | None = None
    seed: int | None = None
    num_ctx: Annotated[int, Field(ge=1)] | None = None


def settings_of(provider: str) -> frozenset[str]:
    """Return the names of the settings that models of a provider have."""
    return _SETTINGS.get(provider, _COMMON)


def parse_settings(provider: str, settings: Mapping[str, Any]) -> ModelSettings:
    """Read the settings of a model of this provider; raises InvalidInputError naming the place."""
    allowed = settings_of(provider)
    for name in settings:
        if name in {"base_url", "api_base", "openai_api_base", "anthropic_api_url"}:
            raise InvalidInputError(
                f"A model's address is not written in its settings ({name}): name an endpoint "
                f"that the operator registered, as `endpoint`.",
                field=f"model_settings.{name}",
            )
        if name not in allowed:
            raise InvalidInputError(
                f"Models of {provider} have no setting {quoted(name)}; "
                f"{near_or_all(name, allowed)}",
                field=f"model_settings.{name}",
            )
    try:
        return ModelSettings.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"model_settings.{first['loc'][0]}"
        said = problem_in_words(first)
        raise InvalidInputError(
            sentence(f"{place}: {said[0].lower()}{said[1:]}"), field=place
        ) from error
