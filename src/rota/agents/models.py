"""Chat models from rows: `provider:model`, checked settings, endpoints by name, keys from outside.

A row names a model and how to use it. It never names an address or a key: the operator registers
endpoints, and keys come from the environment or from connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Annotated, Any, Final, Literal, NamedTuple

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from rota.agents.model_failures import FailureKind, ModelFailure, classify_model_error
from rota.agents.scripted import ScriptedChatModel, validate_script
from rota.domain.agents import AgentConfiguration
from rota.domain.errors import InvalidInputError, SetupRequiredError

__all__ = [
    "PROVIDERS",
    "ChatModels",
    "FailureKind",
    "ModelFailure",
    "Provider",
    "build_chat_model",
    "classify_model_error",
]

SCRIPTED: Final = "scripted"
_TIMEOUT_SECONDS: Final = 300.0
"""A model call that takes longer is given up, where nothing else is set: nobody is watching."""

_COMMON: Final = frozenset(
    {"temperature", "max_tokens", "timeout", "max_retries", "top_p", "stream", "endpoint"}
)
_SETTINGS: Final[Mapping[str, frozenset[str]]] = {
    "anthropic": _COMMON | {"thinking", "reasoning_effort", "top_k"},
    "openai": _COMMON | {"reasoning", "reasoning_effort", "use_responses_api", "seed"},
    "ollama": (_COMMON | {"reasoning", "top_k", "seed", "num_ctx"}) - {"max_retries"},
    SCRIPTED: frozenset(),
}
_EXTRAS: Final = frozenset({"anthropic", "openai", "ollama"})


class Provider(NamedTuple):
    """The Python module of a provider, and the variable of its key if one key is all it needs."""

    module: str
    key_variable: str | None = None


PROVIDERS: Final[Mapping[str, Provider]] = {
    "anthropic": Provider("langchain_anthropic", "ANTHROPIC_API_KEY"),
    "anthropic_bedrock": Provider("langchain_aws"),
    "azure_ai": Provider("langchain_azure_ai"),
    "azure_openai": Provider("langchain_openai", "AZURE_OPENAI_API_KEY"),
    "baseten": Provider("langchain_baseten", "BASETEN_API_KEY"),
    "bedrock": Provider("langchain_aws"),
    "bedrock_converse": Provider("langchain_aws"),
    "bedrock_mantle_anthropic": Provider("langchain_aws"),
    "bedrock_mantle_openai": Provider("langchain_aws"),
    "cohere": Provider("langchain_cohere", "COHERE_API_KEY"),
    "deepseek": Provider("langchain_deepseek", "DEEPSEEK_API_KEY"),
    "fireworks": Provider("langchain_fireworks", "FIREWORKS_API_KEY"),
    "google_anthropic_vertex": Provider("langchain_google_vertexai"),
    "google_genai": Provider("langchain_google_genai", "GOOGLE_API_KEY"),
    "google_vertexai": Provider("langchain_google_vertexai"),
    "groq": Provider("langchain_groq", "GROQ_API_KEY"),
    "huggingface": Provider("langchain_huggingface"),
    "ibm": Provider("langchain_ibm"),
    "langsmith": Provider("langchain_openai"),
    "litellm": Provider("langchain_litellm"),
    "meta": Provider("langchain_meta"),
    "mistralai": Provider("langchain_mistralai", "MISTRAL_API_KEY"),
    "nvidia": Provider("langchain_nvidia_ai_endpoints", "NVIDIA_API_KEY"),
    "ollama": Provider("langchain_ollama"),
    "openai": Provider("langchain_openai", "OPENAI_API_KEY"),
    "openrouter": Provider("langchain_openrouter", "OPENROUTER_API_KEY"),
    "perplexity": Provider("langchain_perplexity", "PPLX_API_KEY"),
    "together": Provider("langchain_together", "TOGETHER_API_KEY"),
    "upstage": Provider("langchain_upstage", "UPSTAGE_API_KEY"),
    "xai": Provider("langchain_xai", "XAI_API_KEY"),
}
"""The providers of LangChain's `init_chat_model`; a test keeps the list equal to its own."""


class ModelSettings(BaseModel):
    """The settings that a row may hold for its model; times are seconds."""

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


@dataclass(frozen=True, slots=True)
class ChatModels:
    """Builds the models of agents from the operator's endpoints and keys (by provider's name).

    An endpoint has a key of its own, under the endpoint's name: a provider's key goes nowhere else.
    """

    endpoints: Mapping[str, str] = field(default_factory=dict)
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, configuration: AgentConfiguration, now: datetime) -> BaseChatModel:
        """Build a configuration's model; `now` is the clock of a scripted one."""
        return build_chat_model(
            configuration.model,
            configuration.model_settings,
            api_keys=self.api_keys,
            endpoints=self.endpoints,
            script=configuration.script,
            now=now,
        )


def build_chat_model(
    spec: str,
    settings: Mapping[str, Any],
    *,
    api_keys: Mapping[str, str],
    endpoints: Mapping[str, str],
    script: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> BaseChatModel:
    """Build the model that `provider:model` names.

    Raises InvalidInputError for a bad name, setting or script, and SetupRequiredError where a
    package or a key is missing. Keys in `api_keys` are by the names of providers and endpoints.
    """
    provider, model = _parse_spec(spec)
    chosen = _parse_settings(provider, settings)
    if provider == SCRIPTED:
        return _scripted(model, script, now)
    options = _options(provider, chosen)
    if chosen.endpoint is not None:
        options["base_url"] = _address(chosen.endpoint, endpoints)
    _require_package(provider)
    key = _key(provider, chosen.endpoint, api_keys)
    if key is not None:
        options["api_key"] = SecretStr(key)
    try:
        built: BaseChatModel = init_chat_model(model, model_provider=provider, **options)
    except ImportError as error:
        raise _package_missing(provider) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInputError(
            f"The model {spec!r} cannot be set up: {first['msg']}.", field="model"
        ) from error
    return built


def _scripted(model: str, script: Mapping[str, Any] | None, now: datetime | None) -> BaseChatModel:
    if script is None:
        raise InvalidInputError("An agent with a scripted model needs a script.", field="script")
    if now is None:
        raise ValueError("A scripted model needs the time of its run.")
    return ScriptedChatModel(script=validate_script(script), now=now, model_name=model)


def _parse_spec(spec: str) -> tuple[str, str]:
    named, colon, model = spec.strip().partition(":")
    provider = named.strip().lower().replace("-", "_")
    if not colon or not provider or not model.strip():
        raise InvalidInputError(
            f"The model {spec!r} is not of the form provider:model, "
            f"such as anthropic:claude-sonnet-5.",
            field="model",
        )
    if provider != SCRIPTED and provider not in PROVIDERS:
        near = get_close_matches(provider, [*PROVIDERS, SCRIPTED], n=1)
        hint = f" (perhaps {near[0]})" if near else ""
        raise InvalidInputError(
            f"There is no model provider {named!r}{hint}; "
            f"there are {', '.join(sorted([*PROVIDERS, SCRIPTED]))}.",
            field="model",
        )
    return provider, model.strip()


def _parse_settings(provider: str, settings: Mapping[str, Any]) -> ModelSettings:
    allowed = _SETTINGS.get(provider, _COMMON)
    for name in settings:
        if name in {"base_url", "api_base", "openai_api_base", "anthropic_api_url"}:
            raise InvalidInputError(
                f"A model's address is not written in its settings ({name}): name an endpoint "
                f"that the operator registered, as `endpoint`.",
                field=f"model_settings.{name}",
            )
        if name not in allowed:
            there_are = ", ".join(sorted(allowed)) or "none"
            raise InvalidInputError(
                f"Models of {provider} have no setting {name!r}; there are: {there_are}.",
                field=f"model_settings.{name}",
            )
    try:
        return ModelSettings.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = f"model_settings.{first['loc'][0]}"
        said = first["msg"]
        raise InvalidInputError(f"{place}: {said[0].lower()}{said[1:]}.", field=place) from error


def _options(provider: str, chosen: ModelSettings) -> dict[str, Any]:
    options = chosen.model_dump(exclude_none=True, exclude={"stream", "endpoint"})
    if chosen.stream is not None:
        options["disable_streaming"] = not chosen.stream
        if provider in {"anthropic", "openai"}:
            options["streaming"] = chosen.stream
    if provider in {"anthropic", "openai"}:
        options.setdefault("timeout", _TIMEOUT_SECONDS)
    if provider == "openai":
        options["stream_usage"] = True  # langchain-openai counts tokens at its own address only
    if provider == "ollama":
        options["client_kwargs"] = {"timeout": options.pop("timeout", _TIMEOUT_SECONDS)}
        if "max_tokens" in options:
            options["num_predict"] = options.pop("max_tokens")
    return options


def _address(name: str, endpoints: Mapping[str, str]) -> str:
    if name not in endpoints:
        registered = ", ".join(sorted(endpoints)) or "none yet"
        raise InvalidInputError(
            f"There is no model endpoint {name!r}; the operator has registered: {registered}.",
            field="model_settings.endpoint",
        )
    return endpoints[name]


def _key(provider: str, endpoint: str | None, api_keys: Mapping[str, str]) -> str | None:
    variable = PROVIDERS[provider].key_variable
    if endpoint is not None:
        # Never the provider's key, which would go to whoever runs the endpoint. Clients insist on
        # some key, and servers of one's own mostly ask for none.
        return api_keys.get(endpoint) or ("none" if variable else None)
    key = api_keys.get(provider)
    if variable is not None and not key:
        raise SetupRequiredError(
            f"Models of {provider} need an API key: set {variable}.", what="model_key"
        )
    return key if variable else None


def _require_package(provider: str) -> None:
    if find_spec(PROVIDERS[provider].module) is None:
        raise _package_missing(provider)


def _package_missing(provider: str) -> SetupRequiredError:
    package = PROVIDERS[provider].module.replace("_", "-")
    install = f"'rota[{provider}]'" if provider in _EXTRAS else package
    return SetupRequiredError(
        f"Models of {provider} need a package that is not installed: pip install {install}.",
        what="model_package",
    )
