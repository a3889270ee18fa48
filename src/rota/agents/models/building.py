"""Builds chat models from rows: `provider:model`, checked settings, endpoints by name.

A row names a model and its settings. It never holds an address or a key: the operator registers
endpoints, and keys come from the environment or from connections. Where possible, clients are
built without retries of their own: `retries` makes and reports each attempt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, ValidationError

from rota.agents.models.clients import LoopClients
from rota.agents.models.providers import PROVIDERS, SCRIPTED, parse_model
from rota.agents.models.settings import ModelSettings, parse_settings, settings_of
from rota.agents.scripted.checking import validate_script
from rota.agents.scripted.model import ScriptedChatModel
from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.agents.retries import RetryPolicy
from rota.domain.agents.script import Script
from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.domain.text.sentences import sentence

_TIMEOUT_SECONDS: Final = 300.0
"""A model call that takes longer is given up, where nothing else is set: nobody is watching."""

_EXTRAS: Final = frozenset({"anthropic", "openai", "ollama"})
_FOR_ANY_MODEL: Final = frozenset({"max_tokens", "timeout", "max_retries", "stream", "temperature"})
"""Settings that a fallback of another provider takes over: bounds, and how creative to be."""

_HIGHEST_TEMPERATURE_OF_ALL: Final = 1.0


class BuiltModels(NamedTuple):
    """Models by their `provider:model`, the preferred first, and a sentence for each left out."""

    models: list[tuple[str, BaseChatModel]]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class ChatModels:
    """Builds the models of agents from the operator's endpoints and keys (by provider's name).

    An endpoint has its own key, under the endpoint's name. A provider's key is never sent to an
    endpoint. Building reads certificates and imports packages: on a busy machine it takes seconds.
    """

    endpoints: Mapping[str, str] = field(default_factory=dict)
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    clients: LoopClients = field(default_factory=LoopClients, repr=False)

    def __call__(self, configuration: AgentConfiguration, now: datetime) -> BuiltModels:
        """Build a configuration's model and its fallbacks; `now` is the clock of a scripted one.

        A fallback of the same provider takes all settings, its endpoint included; one of another
        provider takes over what any model has (`_FOR_ANY_MODEL`) and uses its own key at its own
        address. Models that lack a key or a package are left out with a warning. Raises the first
        one's SetupRequiredError where none is left, InvalidInputError for a bad name or setting.
        """
        main = configuration.model
        built = BuiltModels([], [])
        missing: list[SetupRequiredError] = []
        for spec in dict.fromkeys([main, *configuration.fallback_models]):
            try:
                model = build_chat_model(
                    spec,
                    _settings_for(spec, main, configuration.model_settings),
                    api_keys=self.api_keys,
                    endpoints=self.endpoints,
                    script=configuration.script,
                    now=now,
                    clients=self.clients,
                )
            except SetupRequiredError as error:
                missing.append(error)
                built.warnings.append(f"The model {spec} was left out. {error.message}")
            else:
                built.models.append((spec, model))
        if missing and not built.models:
            raise missing[0]
        return built


def with_model(configuration: AgentConfiguration, model: str) -> AgentConfiguration:
    """Return the agent on another model, with those of its settings that this one has.

    Models that the agent falls back on at an endpoint are left out with a model of another
    provider, which does not have the endpoint: they would be asked at their provider's own address.
    """
    given, provider = configuration.model_settings, parse_model(configuration.model)[0]
    fallbacks = configuration.fallback_models
    if "endpoint" in given and parse_model(model)[0] != provider:
        fallbacks = tuple(spec for spec in fallbacks if parse_model(spec)[0] != provider)
    settings = _settings_for(model, configuration.model, given)
    return replace(configuration, model=model, model_settings=settings, fallback_models=fallbacks)


def retry_policy(settings: Mapping[str, Any]) -> RetryPolicy:
    """Return how often a model call is retried, by `max_retries` of a model's settings."""
    retries = settings.get("max_retries")
    return RetryPolicy() if retries is None else RetryPolicy(max_retries=int(retries))


def _settings_for(spec: str, main: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a fallback: nothing that its provider may not know or refuse."""
    provider = parse_model(spec)[0]
    if provider == parse_model(main)[0]:
        return settings
    allowed = _FOR_ANY_MODEL & settings_of(provider)
    taken = {name: value for name, value in settings.items() if name in allowed}
    temperature = taken.get("temperature")
    if isinstance(temperature, int | float) and temperature > _HIGHEST_TEMPERATURE_OF_ALL:
        del taken["temperature"]
    return taken


def build_chat_model(
    spec: str,
    settings: Mapping[str, Any],
    *,
    api_keys: Mapping[str, str],
    endpoints: Mapping[str, str],
    script: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    clients: LoopClients | None = None,
) -> BaseChatModel:
    """Build the model that `provider:model` names.

    Raises InvalidInputError for a bad name, setting or script, and SetupRequiredError where a
    package or a key is missing. Keys in `api_keys` are by the names of providers and endpoints.
    """
    provider, model = parse_model(spec)
    chosen = parse_settings(provider, settings)
    if provider == SCRIPTED:
        return _scripted(model, script, now)
    options = _options(provider, chosen)
    if chosen.endpoint is not None:
        options["base_url"] = _address(chosen.endpoint, endpoints)
    if find_spec(PROVIDERS[provider].module) is None:
        raise _package_missing(provider)
    key = _key(provider, chosen.endpoint, api_keys)
    if key is not None:
        options["api_key"] = SecretStr(key)
    clients = clients or LoopClients()
    try:
        options |= clients.options(provider)
        built = _made(provider, model, options)
        clients.furnish(provider, built)
    except ImportError as error:
        raise _package_missing(provider) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInputError(
            sentence(f"The model {spec!r} cannot be set up: {first['msg']}"), field="model"
        ) from error
    return built


def _made(provider: str, model: str, options: Mapping[str, Any]) -> BaseChatModel:
    if provider == "openai":
        from rota.agents.models.openai_chat import OpenAIChat  # noqa: PLC0415  an optional package

        return OpenAIChat(model=model, **options)
    made: BaseChatModel = init_chat_model(model, model_provider=provider, **options)
    return made


def _scripted(model: str, script: Mapping[str, Any] | None, now: datetime | None) -> BaseChatModel:
    if script is None:
        raise InvalidInputError("An agent with a scripted model needs a script.", field="script")
    if now is None:
        raise ValueError("A scripted model needs the time of its run.")
    return ScriptedChatModel(
        script=_script(json.dumps(script, sort_keys=True)), now=now, model_name=model
    )


@lru_cache(maxsize=128)
def _script(text: str) -> Script:
    """Return a script that was checked; the same text is the same script for every run."""
    return validate_script(json.loads(text))


def _options(provider: str, chosen: ModelSettings) -> dict[str, Any]:
    options = chosen.model_dump(exclude_none=True, exclude={"stream", "endpoint", "max_retries"})
    if (retries := PROVIDERS[provider].retries) is not None:
        options["max_retries"] = retries
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
            f"Models of {provider} need an API key. Set {variable}, for example in "
            "~/.config/rota/.env, then start rota again.",
            what="model_key",
        )
    return key if variable else None


def _package_missing(provider: str) -> SetupRequiredError:
    package = PROVIDERS[provider].module.replace("_", "-")
    install = f"'rota[{provider}]'" if provider in _EXTRAS else package
    return SetupRequiredError(
        f"Models of {provider} need a package that is not installed: pip install {install}.",
        what="model_package",
    )
